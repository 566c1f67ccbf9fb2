"""Rules: which objects start what, decided with a reason for each verdict. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from dispatcher.core.extensions import ExtensionSet
    from dispatcher.core.location import Location


class Reason(StrEnum):
    """What one rule says of one object."""

    MATCHED = "MATCHED"
    BUCKET = "BUCKET"
    PREFIX = "PREFIX"
    EXTENSION = "EXTENSION"
    FOLDER_MARKER = "FOLDER_MARKER"
    EMPTY = "EMPTY"
    NEVER_TRIGGER = "NEVER_TRIGGER"
    EXCLUDED = "EXCLUDED"
    EVENT_TYPE = "EVENT_TYPE"


class MatchMode(StrEnum):
    """How the bound path is read: see `design`, Matching, and documentation example 5."""

    DOCUMENTED = "documented"
    PREFIX = "prefix"


class OnUncertain(StrEnum):
    """What happens once an unanswered call is proven not to have started a task."""

    RETRY = "retry"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Existing:
    """What a rule does with objects older than itself: nothing, all, or those since a time.

    `dispatch=False`: nothing. `dispatch=True` with `since=None`: all of them.
    """

    dispatch: bool = False
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class WorkflowAction:
    """Start an IMS workflow with the object as its input.

    `media_url` is a template; the string values inside `user_data` may be templates too.
    """

    workflow_id: str
    media_url: str = "oss://{bucket}/{key}"
    skip_input_verification: bool = False
    user_data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the configuration, resolved. `budget` is starts of live objects per UTC day."""

    id: str
    name: str
    input: Location
    extensions: ExtensionSet
    action: WorkflowAction
    was: tuple[str, ...] = ()
    match: MatchMode = MatchMode.DOCUMENTED
    match_written: bool = False
    exclude: tuple[str, ...] = ()
    min_size: int = 1
    settle: timedelta | None = None
    existing: Existing = Existing()
    budget: int | None = 10_000
    on_uncertain: OnUncertain = OnUncertain.RETRY

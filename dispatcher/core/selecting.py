"""The words that select dispatches, understood: ids and URLs told apart, and times. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dispatcher.core.dispatch import parse_attempt_token
from dispatcher.core.location import parse_object
from dispatcher.core.quantities import parse_duration
from dispatcher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dispatcher.core.location import Names

_ID = re.compile(r"[a-z2-7]{26}")


@dataclass(frozen=True, slots=True)
class Picked:
    """The arguments of a selection, told apart."""

    ids: tuple[str, ...] = ()
    objects: tuple[tuple[str, str], ...] = field(default=())


def is_id(text: str) -> bool:
    """Tell whether a text has the form of a dispatch id."""
    return _ID.fullmatch(text) is not None


def pick(which: Iterable[str] | None, names: Names) -> Picked:
    """Tell dispatch ids (also as `<id>.<attempt>`, as UserData carries them) from object URLs.

    Raises LocationError for an argument that is neither.
    """
    ids: list[str] = []
    objects: list[tuple[str, str]] = []
    for text in which or ():
        token = parse_attempt_token(text)
        if token is not None:
            ids.append(token[0])
        elif is_id(text):
            ids.append(text)
        else:
            objects.append(parse_object(text, names))
    return Picked(tuple(ids), tuple(objects))


def parse_time(text: str, option: str, now: datetime) -> datetime:
    """Return the time that `24h`, `2026-01-31` or an RFC 3339 time means; a date is its UTC midnight.

    Raises UsageError naming the option.
    """
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text}: not a time",
            hint="write a duration (24h, 7d), a date (2026-01-31), or 2026-01-31T08:00:00Z",
        ) from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)

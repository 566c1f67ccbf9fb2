"""Jobs as the service lists them: editing jobs and quick-production jobs, and the filters of both lists. Pure.

Two kinds, two calls: ListMediaProducingJobs has the jobs of SubmitMediaProducingJob,
ListBatchMediaProducingJobs those of quick production. Their filters take different values, and a
value that the documentation of the call does not name is refused before anything is sent.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn, TypeAlias, TypeVar

from dispatcher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"

LONGEST_WINDOW = timedelta(days=30)
"""Between StartTime and EndTime of ListMediaProducingJobs, as documented."""
PAGE_LIMIT = 100
_DEPTH = 100


class JobType(StrEnum):
    """JobType of ListMediaProducingJobs."""

    EDITING = "EditingJob"
    LIVE_EDITING = "LiveEditingJob"
    TEMPLATE = "VETemplateJob"


class JobStatus(StrEnum):
    """Status that ListMediaProducingJobs takes as a filter; a job may also be `Queuing`."""

    INIT = "Init"
    PROCESSING = "Processing"
    SUCCESS = "Success"
    FAILED = "Failed"


class QuickJobType(StrEnum):
    """JobType of ListBatchMediaProducingJobs."""

    SCRIPT = "Script"
    SMART_MIX = "Smart_Mix"


class QuickJobStatus(StrEnum):
    """Status of ListBatchMediaProducingJobs."""

    INIT = "Init"
    PROCESSING = "Processing"
    FINISHED = "Finished"
    FAILED = "Failed"


class Order(StrEnum):
    """By creation time."""

    ASC = "asc"
    DESC = "desc"


@dataclass(frozen=True, slots=True)
class Window:
    """From `since` to `until`, both included, as the service reads them: whole seconds of UTC."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What ListMediaProducingJobs can be asked for, apart from the time. None: not asked."""

    job_type: JobType | None = None
    status: JobStatus | None = None
    keyword: str | None = None
    project_id: str | None = None
    master_job_id: str | None = None
    order: Order = Order.DESC
    page_size: int = PAGE_LIMIT


@dataclass(frozen=True, slots=True)
class QuickJobFilter:
    """What ListBatchMediaProducingJobs can be asked for. None: not asked."""

    job_id: str | None = None
    job_type: QuickJobType | None = None
    status: QuickJobStatus | None = None
    since: datetime | None = None
    until: datetime | None = None
    order: Order = Order.DESC
    page_size: int = PAGE_LIMIT


@dataclass(frozen=True, slots=True)
class EditingJob:
    """One job of SubmitMediaProducingJob. `status` is the service's own word, `duration` in seconds.

    `timeline`, `vod_media_id`, `progress` (per cent) and `sub_job_materials` are told by
    GetMediaProducingJob only. Texts that may be JSON are as the service sent them.
    """

    job_id: str
    status: str
    user_data: str | None = None
    project_id: str | None = None
    template_id: str | None = None
    clips_param: str | None = None
    timeline: str | None = None
    media_id: str | None = None
    media_url: str | None = None
    vod_media_id: str | None = None
    duration: float | None = None
    progress: int | None = None
    code: str | None = None
    message: str | None = None
    sub_job_materials: str | None = None
    created_at: datetime | None = None
    modified_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class QuickJob:
    """One quick-production job. Texts that may be JSON are as the service sent them."""

    job_id: str
    job_type: str | None
    status: str
    input_config: str | None = None
    editing_config: str | None = None
    output_config: str | None = None
    extend: str | None = None
    user_data: str | None = None
    created_at: datetime | None = None
    modified_at: datetime | None = None
    completed_at: datetime | None = None


Choice = TypeVar("Choice", bound=StrEnum)


def read_choice(kind: type[Choice], text: str, option: str) -> Choice:
    """Return the documented value that was written, in any case.

    Raises UsageError with the values that there are.
    """
    for member in kind:
        if member.value.lower() == text.lower():
            return member
    raise UsageError(f"{option} {text}: no such value", hint=f"write one of {', '.join(kind)}")


def check_window(since: datetime | None, until: datetime | None) -> None:
    """Raise UsageError for a window that ends before it begins."""
    if since is not None and until is not None and since > until:
        raise UsageError("--until is earlier than --since", hint="exchange the two, or leave one out")


def windows(since: datetime, until: datetime, order: Order) -> Iterator[Window]:
    """Yield windows of at most 30 days that together cover the whole, in the order of the listing.

    Neighbours share the second at their edge: whether the service includes it is not documented.
    """
    first, last = whole_second(since), whole_second(until, up=True)
    edges = [first]
    while edges[-1] + LONGEST_WINDOW < last:
        edges.append(edges[-1] + LONGEST_WINDOW)
    edges.append(last)
    found = [Window(start, end) for start, end in pairwise(edges)]
    yield from found if order is Order.ASC else reversed(found)


def whole_second(at: datetime, *, up: bool = False) -> datetime:
    """Return the time in UTC as whole seconds: those that have begun, or `up` to the next."""
    whole = at.astimezone(UTC).replace(microsecond=0)
    return whole + timedelta(seconds=1) if up and whole < at else whole


def parsed(text: str | None) -> JsonValue:
    """Return the JSON object or list that a text holds; any other text as it is, an empty one as None.

    The text is a stranger's: nested too deeply, or with numbers that JSON does not have, it stays text.
    """
    if not text:
        return None
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict | list) and _is_shallow(value, _DEPTH) else text


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _is_shallow(value: object, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_shallow(each, depth - 1) for each in inner)

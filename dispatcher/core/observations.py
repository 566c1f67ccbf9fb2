"""What the services tell of their work while they do it: values for whoever counts (`Meter`). Pure.

A meter is handed in by assembly; without one nothing is counted (`unmetered`). What the ledger knows is not
told here: it is read from the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, assert_never

from dispatcher.core.outcomes import (
    NotSent,
    Outcome,
    Registered,
    Rejected,
    Started,
    Throttled,
    Unauthorized,
    Uncertain,
)

if TYPE_CHECKING:
    from datetime import timedelta

    from dispatcher.core.dispatch import DispatchState

LISTING = "listing"
"""`form` of a sighting that a listing brought, and no notification."""
FILE = "file"
"""`form` of a sighting in a folder."""
NO_RULE = ""
"""`rule` of a judgement of an object under no rule's prefix."""


class CallEnd(StrEnum):
    """How a request to a service ended. ANSWERED: a read that brought what was asked for."""

    ANSWERED = "answered"
    STARTED = "started"
    REGISTERED = "registered"
    THROTTLED = "throttled"
    NOT_SENT = "not_sent"
    REJECTED = "rejected"
    UNAUTHORIZED = "unauthorized"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Sighted:
    """A source brought so many events, read as this format."""

    source: str
    form: str
    count: int


@dataclass(frozen=True, slots=True)
class LetGo:
    """A source brought something understood that is no sighting."""

    source: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Judged:
    """A rule said this of so many sightings whose keys have its prefix; or no rule has it (`NO_RULE`)."""

    rule: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A source brought so many bodies, or parts of one, that mean nothing."""

    source: str
    count: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """A new row. `lag` is from the object's time until it was committed; None where nobody waited for it."""

    rule: str
    source: str
    lag: timedelta | None


@dataclass(frozen=True, slots=True)
class Granted:
    """Permits taken of the quota of one API in one region."""

    region: str
    api: str
    permits: int


@dataclass(frozen=True, slots=True)
class Called:
    """One HTTP request to a service. `code` is the service's, of an error."""

    api: str
    end: CallEnd
    code: str | None
    took: timedelta


@dataclass(frozen=True, slots=True)
class Became:
    """What a call of ours made of its row. `age` of a started one: from the object's time until the answer;
    None where nobody waited for it.
    """

    rule: str
    state: DispatchState
    age: timedelta | None


@dataclass(frozen=True, slots=True)
class PassEnded:
    """One pass over the listing of a root; `complete` only if it came to the end."""

    source: str
    requests: int
    bytes: int
    listed: int
    segments_skipped: int
    segments_parsed: int
    took: timedelta
    complete: bool


@dataclass(frozen=True, slots=True)
class SourceAnswered:
    """A source was heard of: a batch, or the answer that there is nothing."""

    source: str


@dataclass(frozen=True, slots=True)
class SourceFailed:
    """A source refused or failed."""

    source: str


Observation = (
    Sighted
    | LetGo
    | Judged
    | Quarantined
    | Recorded
    | Granted
    | Called
    | Became
    | PassEnded
    | SourceAnswered
    | SourceFailed
)


class Meter(Protocol):
    """Takes observations. Thread-safe; never blocks or raises."""

    def __call__(self, seen: Observation, /) -> None: ...


def unmetered(_seen: Observation, /) -> None:
    """Count nothing."""


def end_of(outcome: Outcome) -> tuple[CallEnd, str | None]:  # noqa: PLR0911 - one for each case of the union
    """Return how a call ended, and the code of its error. A reason in our own words is no code."""
    match outcome:
        case Started():
            return CallEnd.STARTED, None
        case Registered():
            return CallEnd.REGISTERED, None
        case Throttled(code=code):
            return CallEnd.THROTTLED, code
        case NotSent():
            return CallEnd.NOT_SENT, None
        case Rejected(code=code):
            return CallEnd.REJECTED, code
        case Unauthorized(code=code):
            return CallEnd.UNAUTHORIZED, code
        case Uncertain():
            return CallEnd.UNCERTAIN, None
        case _:
            assert_never(outcome)

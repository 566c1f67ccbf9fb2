"""`status --fail-if`: conditions that make a simple monitor raise its alarm."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from dispatcher.cli.moments import parse_span
from dispatcher.core.quantities import format_duration
from dispatcher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from dispatcher.service.documents.status import Status

OPTION = "--fail-if"
EXAMPLE = "dead,failed,uncertain,held,lag=15m"
LATELY = timedelta(days=1)
"""Tasks that failed longer ago are history: the same alarm for 90 days would be heard by nobody."""


@dataclass(frozen=True, slots=True)
class Dead:
    """Rows that were given up, until somebody decides."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Tasks that ended badly within the last `during`."""

    during: timedelta = LATELY


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Calls whose answer is not known."""


@dataclass(frozen=True, slots=True)
class Held:
    """Rules that wait for an operator, and a ledger that must be brought up to date."""


@dataclass(frozen=True, slots=True)
class Lag:
    """A row that has waited longer than `most`."""

    most: timedelta


FailIf = Dead | Failed | Uncertain | Held | Lag


@dataclass(frozen=True, slots=True)
class Alarm:
    """A condition that is true: its name as it is written, and what was found."""

    condition: str
    detail: str


def parse_conditions(text: str) -> tuple[FailIf, ...]:
    """Return the conditions of `dead,failed=7d,lag=15m`. Raises UsageError."""
    return tuple(_parse(each.strip()) for each in text.split(","))


def _parse(text: str) -> FailIf:
    name, separator, value = text.partition("=")
    match name, bool(separator):
        case "dead", False:
            return Dead()
        case "failed", False:
            return Failed()
        case "failed", True:
            return Failed(parse_span(value, OPTION))
        case "uncertain", False:
            return Uncertain()
        case "held", False:
            return Held()
        case "lag", True:
            return Lag(parse_span(value, OPTION))
        case "lag", False:
            raise UsageError(f"{OPTION}: lag needs the longest wait", hint="write for example lag=15m")
        case _:
            raise UsageError(f"{OPTION}: {text!r} is no condition", hint=f"write some of {EXAMPLE}")


def alarms(tx: Connection, found: Status, conditions: Sequence[FailIf]) -> list[Alarm]:
    """Return which of the conditions are true, in their order."""
    return [alarm for condition in conditions for alarm in _alarm(tx, found, condition)]


def _alarm(tx: Connection, found: Status, condition: FailIf) -> Iterator[Alarm]:
    from dispatcher.ledger import counting  # noqa: PLC0415 - SQLAlchemy

    match condition:
        case Dead():
            yield from _counted("dead", _in_state(found, "dead"), "are dead")
        case Failed(during):
            since = found.at - during
            what = f"have a task that failed in the last {format_duration(during)}"
            yield from _counted("failed", counting.failed_since(tx, since), what)
        case Uncertain():
            yield from _counted("uncertain", _in_state(found, "uncertain"), "are uncertain")
        case Held():
            for hold in found.holds.values():
                yield Alarm("held", f"rule {hold.rule_id}: {hold.reason}: {hold.detail}")
            for notice in found.notices:
                yield Alarm("held", f"{notice.code.value}: {notice.detail}")
        case Lag(most):
            oldest = found.oldest
            if oldest is not None and found.at - oldest.first_seen_at > most:
                waited = format_duration(timedelta(seconds=int((found.at - oldest.first_seen_at).total_seconds())))
                yield Alarm("lag", f"dispatch {oldest.dispatch_id} of rule {oldest.rule_id} has waited for {waited}")
        case _:
            assert_never(condition)


def _counted(name: str, count: int, what: str) -> Iterator[Alarm]:
    if count:
        yield Alarm(name, f"{count} dispatches {what}")


def _in_state(found: Status, state: str) -> int:
    return sum(each.count for each in found.states if each.state.value == state)

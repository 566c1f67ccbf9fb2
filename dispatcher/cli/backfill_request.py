"""What an operator wrote behind `backfill`, understood: which objects, how fast, how many."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.cli.invocation import Invocation
from dispatcher.cli.ledgers import now
from dispatcher.cli.moments import parse_moment, parse_span, parsed
from dispatcher.errors import UsageError

if TYPE_CHECKING:
    from dispatcher.core.backfilling import Pace
    from dispatcher.core.estimates import Estimate
    from dispatcher.core.scope import Scope
    from dispatcher.core.settings import Settings


@dataclass(frozen=True, slots=True)
class Request:
    """What the operator wrote, understood."""

    scope: "Scope"
    pace: "Pace"
    most: int | None

    @property
    def narrow(self) -> bool:
        return self.scope.narrow or self.most is not None

    def starts(self, estimate: "Estimate") -> int:
        """Return how many starts it would be."""
        return estimate.starts if self.most is None else min(self.most, estimate.starts)


def scope_of(  # noqa: PLR0913, PLR0917 - as written on the command line
    asked: Invocation,
    settings: "Settings",
    rules: list[str] | None,
    prefix: str | None,
    since: str | None,
    until: str | None,
    slack: str,
    again: str | None,
    inventory: str | None,
) -> "Scope":
    """Return what is covered, and say what times were understood. Raises UsageError or LocationError."""
    from dispatcher.core.location import parse_location  # noqa: PLC0415 - with the rest of the work
    from dispatcher.core.scope import Period, Scope  # noqa: PLC0415 - as above

    at = now()
    by_name = {rule.name: rule.id for rule in settings.rules.rules}
    period = Period(
        None if since is None else parse_moment(since, "--since", at),
        None if until is None else parse_moment(until, "--until", at),
        parse_span(slack, "--slack"),
    )
    _echo(asked, period.since, "--since", f", and {slack} before it (--slack)")
    _echo(asked, period.until, "--until", "")
    if again is not None and not again.strip():
        raise UsageError("--again: a run needs a name", hint="write for example --again new-template")
    return Scope(
        rules=tuple(dict.fromkeys(by_name.get(each, each) for each in rules or ())),
        place=None if prefix is None else parse_location(prefix, settings.names).location,
        period=period,
        run=again or "",
        inventory=_inventory_place(inventory),
    )


def _inventory_place(text: str | None) -> str | None:
    """Return where the manifest is; a relative path is made absolute, so that the backfill can be resumed elsewhere."""
    from pathlib import Path  # noqa: PLC0415 - only here

    from dispatcher.core.location import is_bare  # noqa: PLC0415 - as above

    return str(Path(text).absolute()) if text is not None and is_bare(text) else text


def _echo(asked: Invocation, moment: object, option: str, more: str) -> None:
    from dispatcher.core.scope import Moment  # noqa: PLC0415 - as above

    if isinstance(moment, Moment):
        asked.say(f"{option} {moment.text}: {moment.at.astimezone().isoformat(timespec='seconds')}{more}")


def pace_of(max_rate: str | None, max_running: int | None, window: str | None) -> "Pace":
    """Return how fast it may go. Raises UsageError."""
    from dispatcher.core.backfilling import Pace  # noqa: PLC0415 - as above
    from dispatcher.core.quantities import parse_rate  # noqa: PLC0415 - as above

    return Pace(
        None if max_rate is None else parsed(parse_rate, max_rate, "--max-rate"),
        max_running,
        None if window is None else parse_span(window, "--for"),
    )

"""From what an operator asks for to a backfill that runs: the same request continues what it began."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dispatcher.core.backfilling import BackfillKind, BackfillState, Pace
from dispatcher.core.scope import Scope, scope_from_text, scope_text
from dispatcher.errors import UsageError
from dispatcher.ledger import backfills
from dispatcher.ledger.backfills import NewBackfill
from dispatcher.service.assembly import open_buckets
from dispatcher.service.backfilling.matching import Matching
from dispatcher.service.backfilling.objects import Objects, open_objects
from dispatcher.service.backfilling.running import Ended, Reporter, Running
from dispatcher.service.backfilling.sending import Sending
from dispatcher.service.routes import targets_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from dispatcher.core.rules import RuleSet
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.backfills import Backfill
    from dispatcher.ledger.engine import Ledger
    from dispatcher.sources.store import StoreBucket


@dataclass(frozen=True)
class Prepared:
    """A scope with what it needs of the configuration. Nothing is requested yet."""

    settings: Settings
    matching: Matching
    stores: Mapping[str, StoreBucket]

    @property
    def rules(self) -> RuleSet:
        return self.matching.rules

    def objects(self, stop: threading.Event) -> Objects:
        """Return where its objects are found; of an inventory the manifest is read. Raises DispatcherError."""
        return open_objects(self.settings, self.matching.scope, self.rules, self.stores, stop)


def prepare(settings: Settings, scope: Scope) -> Prepared:
    """Return a scope ready to be looked at. Raises UsageError where it covers nothing of the configuration."""
    unknown = [rule for rule in scope.rules if rule not in settings.rules.by_id]
    if unknown:
        raise UsageError(
            f"the configuration has no rule {', '.join(unknown)}",
            hint=f"it has {', '.join(settings.rules.by_id)}",
        )
    rules = scope.of(settings.rules)
    place = scope.place
    if place is not None and not scope.roots(rules, place.bucket):
        raise UsageError(
            f"no rule in question reads anything under {place}",
            hint="name a location under a rule's input, or one that covers it; see: oss-dispatcher rules list",
        )
    stores = open_buckets(settings)
    return Prepared(settings, Matching(rules, scope, stores), stores)


def request(tx: Connection, scope: Scope, pace: Pace, most: int | None, now: datetime) -> tuple[Backfill, bool]:
    """Return the backfill of this request, and whether it was begun before: then it goes on.

    What `pace` and `most` say replaces what was said before; what they leave out stays.
    """
    known = backfills.unfinished(tx, scope.fingerprint())
    if known is not None:
        return go_on(tx, known, pace, most, now), True
    new = NewBackfill(
        BackfillKind.BACKFILL, scope.fingerprint(), scope_text(scope), run=scope.run, most=most, pace=pace
    )
    return backfills.create(tx, new, now), False


def go_on(tx: Connection, known: Backfill, pace: Pace, most: int | None, now: datetime) -> Backfill:
    """Let a backfill that has not ended go on. Raises UsageError for one that has."""
    if known.state.ended:
        again = "run its command again" if known.state is BackfillState.DONE else "begin a new one"
        raise UsageError(
            f"backfill {known.number} ({known.name}) is {known.state}: there is nothing to resume",
            hint=f"to look again at what it covers, {again}; rows that were skipped: dispatches retry --state skipped",
        )
    merged = replace(
        known.pace,
        max_rate=pace.max_rate or known.pace.max_rate,
        max_running=pace.max_running or known.pace.max_running,
        window=pace.window or known.pace.window,
    )
    return backfills.resume(tx, known.number, now, pace=merged, most=most)


def run(  # noqa: PLR0913 - what it works with, by name
    settings: Settings,
    ledger: Ledger,
    backfill: Backfill,
    *,
    reporter: Reporter,
    clock: Callable[[], datetime],
    stop: threading.Event,
) -> Ended:
    """Run a backfill as the ledger has it, until its last row has ended or `stop`. Raises DispatcherError."""
    prepared = None if backfill.kind is BackfillKind.RERUN else prepare(settings, scope_from_text(backfill.scope))
    rules = settings.rules if prepared is None else prepared.rules
    running = Running(
        ledger=ledger,
        number=backfill.number,
        sending=Sending(settings, ledger, tuple(rules.by_id), clock, reporter.say),
        reporter=reporter,
        clock=clock,
        stop=stop,
        targets=frozenset(target for rule in rules.rules for target in targets_of(settings, rule)),
        matching=None if prepared is None else prepared.matching,
        objects=None if prepared is None else prepared.objects(stop),
    )
    return running.run()

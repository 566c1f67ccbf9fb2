"""Upkeep: everything that happens to rows without a new sighting and without a call of ours.

Each `tick` does what is due and returns; it never waits for more work. All of it is idempotent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.core.outputs import loops
from dispatcher.core.tracing import input_of
from dispatcher.errors import DispatcherError, LedgerError
from dispatcher.ledger import following, holds, pruning, rulesets, settling, sightings
from dispatcher.ledger.holds import HoldReason
from dispatcher.ports import Batch
from dispatcher.service.logs import get_logger
from dispatcher.service.sweeping import FOLLOW_FOR, task_found, tell_evidence

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from dispatcher.core.events import ObjectEvent
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ledger.following import OutputCheck
    from dispatcher.ledger.sightings import Sighting
    from dispatcher.ports import Tasks
    from dispatcher.service.intake import Intake
    from dispatcher.service.sweeping import Sweeper
    from dispatcher.sources.store import ObjectHead, StoreBucket

STRAGGLERS = 50
"""Old unfinished tasks asked for in one tick, one call each."""
STRAGGLER_EVERY = timedelta(minutes=10)
UNDECIDED = 100
"""Sightings decided by HEAD in one tick."""
SWEEPS_KEPT = timedelta(days=7)


@dataclass(frozen=True)
class Upkeep:
    """The parts of upkeep, in the order of a tick."""

    settings: Settings
    ledger: Ledger
    tasks: Tasks
    stores: Mapping[str, StoreBucket]
    intake: Intake
    sweeper: Sweeper
    clock: Callable[[], datetime]
    stop: threading.Event

    def tick(self) -> None:
        """Do what is due. Raises LedgerError only; what a service refuses is logged and tried again later."""
        for part in (
            self.decide_sightings,
            self.sweeper.sweep_due,
            self.ask_for_stragglers,
            self.guard_loops,
        ):
            if self.stop.is_set():
                return
            try:
                part()
            except LedgerError:
                raise
            except DispatcherError as error:
                get_logger().warning("upkeep.failed", part=part.__name__, error=error.message, hint=error.hint)

    def clean(self) -> None:
        """Do what is due now and then: end the rows of removed rules, shrink what is old. Raises LedgerError."""
        self._repeat(self._end_some)
        self._repeat(self._prune_some)

    # -- sightings without content -------------------------------------------------------------------

    def decide_sightings(self) -> None:
        """Ask the store for the content of objects whose sighting did not tell it."""
        with self.ledger.read() as tx:
            due = sightings.due(tx, self.clock(), limit=UNDECIDED)
        for sighting in due:
            if self.stop.is_set():
                return
            self._decide(sighting)

    def _decide(self, sighting: Sighting) -> None:
        event = sighting.event
        store = self.stores.get(event.bucket)
        try:
            found = store.head(event.key, self.stop) if store is not None else None
        except DispatcherError as error:
            with self.ledger.write() as tx:
                sightings.postpone(tx, sighting, self.clock())
            get_logger().warning("sighting.postponed", bucket=event.bucket, key=event.key, error=error.message)
            return
        if found is None:
            with self.ledger.write() as tx:
                gone = sightings.missing(tx, sighting, self.clock())
            if gone:
                get_logger().warning("sighting.gone", bucket=event.bucket, key=event.key, source=event.source)
            return
        # Recorded first, then resolved: a crash between the two only repeats the first.
        self.intake.take(Batch([_decided(event, found)]))
        with self.ledger.write() as tx:
            sightings.resolve(tx, sighting)

    # -- tasks ---------------------------------------------------------------------------------------

    def ask_for_stragglers(self) -> None:
        """Ask for single tasks that are older than sweeps look back."""
        now = self.clock()
        with self.ledger.read() as tx:
            old = following.stragglers(tx, now, follow_since=now - FOLLOW_FOR, limit=STRAGGLERS)
        for each in old:
            if self.stop.is_set():
                return
            task = self.tasks.get_task(each.endpoint, each.task_id)
            found = None if task is None else task_found(task)
            with self.ledger.write() as tx:
                told = settling.settle_evidence(tx, [] if found is None else [found], self.clock())
                following.follow_later(tx, [each.dispatch_id], self.clock() + STRAGGLER_EVERY)
            tell_evidence(told)

    def guard_loops(self) -> None:
        """Read the outputs of each rule's first finished task; hold the rule if one would start a rule again."""
        with self.ledger.read() as tx:
            checks = following.outputs_to_check(tx)
        for check in checks:
            if self.stop.is_set():
                return
            self._guard(check)

    def _guard(self, check: OutputCheck) -> None:
        task = self.tasks.get_task(check.endpoint, check.task_id)
        found = None
        if task is not None and task.activity_results is not None:
            found = loops(
                task.activity_results,
                input_of(task.task_input, self.settings.names),
                self.settings.names,
                self.settings.rules,
            )
        now = self.clock()
        with self.ledger.write() as tx:
            following.mark_outputs_checked(tx, check.rule_id, now)
            if found is None:
                return
            bucket, key, rule = found
            detail = f"task {check.task_id} wrote oss://{bucket}/{key}, which lies under rule {rule.id}"
            news = holds.hold(tx, check.rule_id, HoldReason.LOOP, detail, now)
        if news:
            get_logger().error(
                "rule.held",
                rule=check.rule_id,
                reason=HoldReason.LOOP,
                detail=detail,
                hint=f"put the output's folder under never_trigger:, then: rules resume {check.rule_id}",
            )

    # -- rows whose time is over -----------------------------------------------------------------------

    def _end_some(self) -> int:
        with self.ledger.write() as tx:
            moved = rulesets.move_renamed(tx)
            skipped = rulesets.skip_removed(tx, self.clock())
        for each in skipped:
            get_logger().info("dispatch.skipped", dispatch=each, reason="RULE_REMOVED")
        return moved + len(skipped)

    def _prune_some(self) -> int:
        now = self.clock()
        with self.ledger.write() as tx:
            pruned = pruning.prune(tx, now - self.settings.ledger.keep, now=now)
            return pruned + pruning.prune_sweeps(tx, now - SWEEPS_KEPT)

    def _repeat(self, some: Callable[[], int]) -> None:
        """Do one bounded transaction after another until nothing is left; others write in between."""
        while not self.stop.is_set() and some():
            pass


def _decided(event: ObjectEvent, found: ObjectHead) -> ObjectEvent:
    """Return the sighting with the content that the store told."""
    growing = event.growing or found.growing
    return replace(event, etag=found.etag, size=found.size, modified_at=found.modified_at, growing=growing)

"""Upkeep: everything that happens to rows without a new sighting and without a call of ours.

Each `tick` does what is due and returns; it never waits for more work. All of it is idempotent.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.core.calls import Api, ServiceTask
from dispatcher.core.jobs import EditingJob
from dispatcher.core.outputs import loops, loops_by_job
from dispatcher.core.tracing import input_of
from dispatcher.errors import DispatcherError, LedgerError
from dispatcher.ledger import announcing, backfills, following, holds, pruning, rulesets, settling
from dispatcher.ledger.holds import HoldReason
from dispatcher.service.logs import get_logger
from dispatcher.service.sweeping import FOLLOW_FOR, evidence_of, task_found, tell_evidence

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from datetime import datetime

    from dispatcher.core.calls import Endpoint
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ledger.following import OutputCheck, Straggler
    from dispatcher.ledger.settling import TaskFound
    from dispatcher.ports import Jobs, Tasks
    from dispatcher.service.hints import Hints
    from dispatcher.service.sweeping import Sweeper

STRAGGLERS = 50
"""Old unfinished tasks asked for in one tick, one call each."""
HINTS = 20
"""Tasks asked for in one tick because somebody said that they ended."""
STRAGGLER_EVERY = timedelta(minutes=10)
SWEEPS_KEPT = timedelta(days=7)
REST = timedelta(seconds=30)
"""How long a part is left alone after a service refused or failed."""


@dataclass(frozen=True)
class Upkeep:
    """The parts of upkeep, in the order of a tick."""

    settings: Settings
    ledger: Ledger
    tasks: Tasks
    jobs: Jobs
    hints: Hints
    sweeper: Sweeper
    clock: Callable[[], datetime]
    stop: threading.Event

    _resting: dict[str, datetime] = field(default_factory=dict, init=False)

    def tick(self) -> None:
        """Do what is due. Raises LedgerError only; what a service refuses is logged and tried again 30 s later."""
        for part in (
            self.follow_hints,
            self.sweeper.sweep_due,
            self.ask_for_stragglers,
            self.guard_loops,
        ):
            if self.stop.is_set():
                return
            if self._resting.get(part.__name__, self.clock()) > self.clock():
                continue
            try:
                part()
            except LedgerError:
                raise
            except DispatcherError as error:
                self._resting[part.__name__] = self.clock() + REST
                get_logger().warning("upkeep.failed", part=part.__name__, error=error.message, hint=error.hint)

    def clean(self) -> None:
        """Do what is due now and then: end the rows of removed rules, shrink what is old. Raises LedgerError."""
        self._repeat(self._end_some)
        self._repeat(self._prune_some)

    # -- tasks ---------------------------------------------------------------------------------------

    def follow_hints(self) -> None:
        """Look at tasks of which a callback said that they ended, where something could come of it.

        What the service then says of them is evidence, as in a sweep. A hint is looked at once: what it led
        to is found by the sweeps as well.
        """
        for hint in self.hints.take(HINTS):
            if self.stop.is_set():
                return
            with self.ledger.read() as tx:
                places = following.worth_asking(tx, hint)
            for endpoint in places:
                task = self._read(endpoint, hint.api, hint.task_id)
                self._take(None if task is None else task_found(task))

    def ask_for_stragglers(self) -> None:
        """Ask for single tasks that are older than sweeps look back."""
        now = self.clock()
        with self.ledger.read() as tx:
            old = following.stragglers(tx, now, follow_since=now - FOLLOW_FOR, limit=STRAGGLERS)
        for each in old:
            if self.stop.is_set():
                return
            # First put back in the queue: one that the service cannot answer does not keep the others waiting.
            with self.ledger.write() as tx:
                following.follow_later(tx, [each.dispatch_id], self.clock() + STRAGGLER_EVERY)
            task = self._read(each.endpoint, each.api, each.task_id)
            self._take(None if task is None else task_found(task) or _adopted(each, task))

    def _read(self, endpoint: Endpoint, api: Api, task_id: str) -> ServiceTask | EditingJob | None:
        if api is Api.SUBMIT_MEDIA_PRODUCING_JOB:
            return self.jobs.get_job(endpoint, task_id)
        return self.tasks.get_task(endpoint, task_id)

    def _take(self, found: TaskFound | None) -> None:
        if found is not None:
            with self.ledger.write() as tx:
                told = settling.settle_evidence(tx, [found], self.clock())
            tell_evidence(told)

    def guard_loops(self) -> None:
        """Read the outputs of each rule's first finished task; hold the rule if one would start a rule again."""
        with self.ledger.read() as tx:
            checks = following.outputs_to_check(tx)
        failure: DispatcherError | None = None
        for check in checks:
            if self.stop.is_set():
                return
            try:
                self._guard(check)
            except LedgerError:
                raise
            except DispatcherError as error:
                failure = error  # the other rules are looked at all the same
        if failure is not None:
            raise failure

    def _guard(self, check: OutputCheck) -> None:
        task = self._read(check.endpoint, check.api, check.task_id)
        names = self.settings.names
        found = None
        match task:
            case ServiceTask(activity_results=str(results)):
                found = loops(results, input_of(task.task_input, names), names, self.settings.rules)
            case EditingJob(media_url=str(media_url)):
                found = loops_by_job(media_url, names, self.settings.rules)
            case _:
                pass  # it names no output
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

    # -- what notifications missed ---------------------------------------------------------------------

    def count_missed(self) -> None:
        """Count the objects that only a listing brought, and of which no notification came in ten minutes."""
        found: Counter[str] = Counter()

        def some() -> int:
            with self.ledger.write() as tx:
                missed = announcing.count_missed(tx, self.clock())
            found.update(bucket for bucket, _ in missed)
            for bucket, key in missed:
                get_logger().debug("notification.missed", bucket=bucket, key=key)
            return len(missed)

        self._repeat(some)
        for bucket, number in found.items():
            get_logger().warning(
                "notifications.missed",
                bucket=bucket,
                found_by_listing_only=number,
                hint="no notification came of these objects within ten minutes; the listing found them, so nothing"
                " is lost: look at the bucket's event rules and the queue",
            )

    # -- rows whose time is over -----------------------------------------------------------------------

    def _end_some(self) -> int:
        with self.ledger.write() as tx:
            moved = rulesets.move_renamed(tx)
            skipped = rulesets.skip_removed(tx, self.clock())
            cancelled = backfills.skip_cancelled(tx, self.clock())
            backfills.end_finished(tx, self.clock())
        for each in skipped:
            get_logger().info("dispatch.skipped", dispatch=each, reason="RULE_REMOVED")
        return moved + len(skipped) + cancelled

    def _prune_some(self) -> int:
        now = self.clock()
        with self.ledger.write() as tx:
            pruned = pruning.prune(tx, now - self.settings.ledger.keep, now=now)
            return pruned + pruning.prune_sweeps(tx, now - SWEEPS_KEPT)

    def _repeat(self, some: Callable[[], int]) -> None:
        """Do one bounded transaction after another until nothing is left; others write in between."""
        while not self.stop.is_set() and some():
            pass


def _adopted(row: Straggler, task: ServiceTask | EditingJob) -> TaskFound | None:
    """Return what a task tells of the row that took it over from another starter; it carries no id of ours."""
    if row.attempt > 0:
        return None
    return evidence_of(row.dispatch_id, row.attempt, task)

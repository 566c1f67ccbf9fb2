"""The sweep: one paging of the service's task list settles, follows, and finds what is not ours.

Its three uses share one listing. Only a complete sweep counts as absence: one failed page, and
nothing is concluded from what was not seen; what was seen is evidence all the same.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher import crashpoints
from dispatcher.core.calls import TaskQuery
from dispatcher.core.dispatch import attempt_token
from dispatcher.core.outcomes import Decision, decide_absent
from dispatcher.core.rules import OnUncertain
from dispatcher.core.tracing import media_of, started_by_rule, token_of
from dispatcher.errors import DispatcherError, LedgerError
from dispatcher.ledger import absence, following, settling
from dispatcher.ledger.absence import Absent, Hold
from dispatcher.ledger.following import ForeignStart
from dispatcher.ledger.settling import TaskFound
from dispatcher.service.logs import get_logger

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from dispatcher.core.calls import ServiceTask
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ledger.following import SweepNeed
    from dispatcher.ledger.settling import Evidenced
    from dispatcher.ports import Tasks

CLOCK_SLACK = timedelta(minutes=20)
"""How far the service's clock may be from ours: the window of a sweep is wider by this on both sides."""
FOLLOW_FOR = timedelta(hours=6)
"""Tasks younger than this are followed by sweeps, older ones one by one."""
PAGE = 100
"""Tasks taken together: one page of ListWorkflowTasks."""


@dataclass(frozen=True)
class Sweeper:
    """Sweeps what needs it. Idempotent; one thread at a time."""

    settings: Settings
    ledger: Ledger
    tasks: Tasks
    clock: Callable[[], datetime]
    stop: threading.Event
    chance: Callable[[], float] = field(default=random.random)

    def sweep_due(self) -> int:
        """Sweep every workflow that has rows to settle or to follow; return how many were swept completely."""
        now = self.clock()
        with self.ledger.read() as tx:
            needs = following.sweeps_needed(tx, now, follow_since=now - FOLLOW_FOR)
            due = [
                need
                for need in needs
                if self._is_due(following.last_sweep_at(tx, need.endpoint, need.workflow_id), now)
            ]
        complete = 0
        for need in due:
            if self.stop.is_set():
                break
            complete += self._sweep(need)
        return complete

    def _is_due(self, last: datetime | None, now: datetime) -> bool:
        return last is None or now - last >= self.settings.uncertain.every

    def _sweep(self, need: SweepNeed) -> bool:
        begun = self.clock()
        query = TaskQuery(need.endpoint, need.workflow_id, need.earliest_intent_at - CLOCK_SLACK, begun + CLOCK_SLACK)
        # The calls of a sender that died may still be under way: absence counts only after their time-out.
        called_until = begun - self.settings.call_timeout - self.settings.uncertain.after
        with self.ledger.read() as tx:
            expected = set(following.expected(tx, query, begun, called_until=called_until))
        complete = False
        seen: set[str] = set()
        try:
            for page in self._pages(query):
                seen |= self._take(page)
                crashpoints.reach("sweep_page")
            complete = not self.stop.is_set()
        except LedgerError:
            raise
        except DispatcherError as error:
            get_logger().warning(
                "sweep.failed",
                workflow=need.workflow_id,
                error=error.message,
                hint=error.hint,
                uncertain=need.uncertain,
            )
        with self.ledger.write() as tx:
            following.record_sweep(tx, query, complete=complete, now=self.clock())
        crashpoints.reach("before_absence")
        if complete:
            self._settle_absent(sorted(expected - seen), called_until)
        return complete

    def _pages(self, query: TaskQuery) -> Iterator[list[ServiceTask]]:
        """Yield the tasks in pages; where the listing fails, first what it showed until then."""
        page: list[ServiceTask] = []
        try:
            for task in self.tasks.list_tasks(query):
                page.append(task)
                if len(page) == PAGE:
                    yield page
                    page = []
                    if self.stop.is_set():
                        return
        except DispatcherError:
            if page:
                yield page
            raise
        if page:
            yield page

    # -- what tasks tell ---------------------------------------------------------------------------

    def _take(self, page: Sequence[ServiceTask]) -> set[str]:
        """Write what a page proves; return the dispatch ids that were seen."""
        ours: list[TaskFound] = []
        others: list[ServiceTask] = []
        for task in page:
            found = task_found(task)
            if found is None:
                others.append(task)
            else:
                ours.append(found)
        now = self.clock()
        by_id = {task.task_id: task for task in page}
        with self.ledger.write() as tx:
            told = settling.settle_evidence(tx, ours, now)
            strangers = [*others, *(by_id[task.task_id] for task in told.foreign)]
            starts = [start for task in strangers if (start := self._foreign(task, now)) is not None]
            news = following.record_foreign(tx, starts)
        tell_evidence(told)
        _tell_foreign(news)
        return {task.dispatch_id for task in ours}

    def _foreign(self, task: ServiceTask, now: datetime) -> ForeignStart | None:
        """Return the start of a task that this ledger did not make, if its input lies under a rule."""
        found = started_by_rule(task.task_input, task.workflow_id, self.settings.rules, self.settings.names)
        if found is None:
            return None
        (bucket, key), rules = found
        token = token_of(task.user_data)
        return ForeignStart(
            task_id=task.task_id,
            workflow_id=task.workflow_id,
            media_url=media_of(task.task_input) or "",
            bucket=bucket,
            key=key,
            rule_id=rules[0].id,
            created_at=task.created_at,
            token=None if token is None else attempt_token(*token),
            seen_at=now,
        )

    # -- what is proven absent -----------------------------------------------------------------------

    def _settle_absent(self, absent: Sequence[str], called_until: datetime) -> None:
        uncertain = self.settings.uncertain
        log = get_logger()
        for start in range(0, len(absent), 500):
            now = self.clock()
            with self.ledger.write() as tx:
                proven = absence.note_absence(
                    tx,
                    absent[start : start + 500],
                    now,
                    every=uncertain.every,
                    sweeps=uncertain.sweeps,
                    called_until=called_until,
                )
                became = [
                    (each, absence.settle_absent(tx, each.dispatch_id, self._decide_absent(each, now), now))
                    for each in proven
                ]
            for each, (state, reason) in ((each, now_is) for each, now_is in became if now_is is not None):
                log.warning("dispatch.absent", dispatch=each.dispatch_id, rule=each.rule_id, state=state, reason=reason)

    def _decide_absent(self, absent: Absent, now: datetime) -> Decision | Hold:
        rule = self.settings.rules.by_id.get(absent.rule_id)
        if rule is not None and rule.on_uncertain is OnUncertain.HOLD:
            return Hold()
        return decide_absent(
            now=now, failures=absent.failures, first_attempt_at=absent.first_attempt_at, chance=self.chance()
        )


def task_found(task: ServiceTask) -> TaskFound | None:
    """Return what a task proves about a dispatch of ours, None if it carries no id of our form."""
    token = token_of(task.user_data)
    if token is None:
        return None
    dispatch, attempt = token
    return TaskFound(dispatch, attempt, task.task_id, task.status, task.created_at, task.finished_at)


def tell_evidence(told: Evidenced) -> None:
    """Log what tasks changed."""
    log = get_logger()
    for task in told.settled:
        log.info(
            "dispatch.started", dispatch=task.dispatch_id, attempt=task.attempt, task_id=task.task_id, outcome="found"
        )
    for task in told.finished:
        write = log.info if task.status == "Succeed" else log.warning
        write("task.finished", dispatch=task.dispatch_id, task_id=task.task_id, status=task.status)
    for task in told.double_starts:
        log.error("dispatch.double_start", dispatch=task.dispatch_id, task_id=task.task_id)


def _tell_foreign(news: Sequence[ForeignStart]) -> None:
    for start in news:
        get_logger().warning(
            "foreign_start",
            rule=start.rule_id,
            bucket=start.bucket,
            key=start.key,
            task_id=start.task_id,
            workflow=start.workflow_id,
            hint="somebody else starts this workflow: in its OSS binding set Trigger mode to Manual",
        )

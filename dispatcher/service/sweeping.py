"""The sweep: one paging of the service's list of tasks, or of jobs, settles, follows, and finds what is not ours.

Its three uses share one listing. Only a complete sweep counts as absence: one failed page, and
nothing is concluded from what was not seen; what was seen is evidence all the same.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from dispatcher import crashpoints
from dispatcher.core.calls import JobQuery, ServiceTask, TaskQuery
from dispatcher.core.dispatch import TaskStatus, attempt_token
from dispatcher.core.jobs import EditingJob, JobFilter, Order, windows
from dispatcher.core.outcomes import REPEAT_FOR, Assets, Decision, decide_absent
from dispatcher.core.printable import printable
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

    from dispatcher.core.calls import SweepQuery
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ledger.following import SweepNeed
    from dispatcher.ledger.settling import Evidenced
    from dispatcher.ports import Jobs, Tasks

    Listed = ServiceTask | EditingJob

CLOCK_SLACK = timedelta(minutes=20)
"""How far the service's clock may be from ours: the window of a sweep is wider by this on both sides."""
FOLLOW_FOR = timedelta(hours=6)
"""Tasks younger than this are followed by sweeps, older ones one by one."""
PAGE = 100
"""Tasks taken together: one page of the service's list."""
ERROR_LIMIT = 300
"""Characters that are kept of what a failed job said."""


@dataclass(frozen=True)
class Sweeper:
    """Sweeps what needs it. Idempotent; one thread at a time."""

    settings: Settings
    ledger: Ledger
    tasks: Tasks
    jobs: Jobs
    clock: Callable[[], datetime]
    stop: threading.Event
    chance: Callable[[], float] = field(default=random.random)

    def sweep_due(self) -> int:
        """Sweep whatever has rows to settle or to follow; return how many sweeps were complete."""
        now = self.clock()
        with self.ledger.read() as tx:
            needs = following.sweeps_needed(tx, now, follow_since=now - FOLLOW_FOR)
            due = [need for need in needs if self._is_due(following.last_sweep_at(tx, need), now)]
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
        # What a row became may be as old as the first of the calls that were repeated for it.
        earliest = need.earliest_intent_at - (REPEAT_FOR if need.workflow_id is None else timedelta())
        query = need.query(earliest - CLOCK_SLACK, begun + CLOCK_SLACK)
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
                workflow=need.workflow_id or "editing jobs",
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

    def _listed(self, query: SweepQuery) -> Iterator[Listed]:
        match query:
            case TaskQuery():
                yield from self.tasks.list_tasks(query)
            case JobQuery(endpoint, since, until):
                for window in windows(since, until, Order.ASC):
                    yield from self.jobs.list_jobs(endpoint, JobFilter(order=Order.ASC), window)
            case _:
                assert_never(query)

    def _pages(self, query: SweepQuery) -> Iterator[list[Listed]]:
        """Yield what is listed in pages; where the listing fails, first what it showed until then."""
        page: list[Listed] = []
        try:
            for task in self._listed(query):
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

    def _take(self, page: Sequence[Listed]) -> set[str]:
        """Write what a page proves; return the dispatch ids that were seen.

        Foreign starts are told of workflows alone: they have a trigger of their own, and their input is listed.
        """
        ours: list[TaskFound] = []
        others: list[ServiceTask] = []
        for task in page:
            found = task_found(task)
            if found is not None:
                ours.append(found)
            elif isinstance(task, ServiceTask):
                others.append(task)
        now = self.clock()
        by_id = {task.task_id: task for task in page if isinstance(task, ServiceTask)}
        with self.ledger.write() as tx:
            told = settling.settle_evidence(tx, ours, now)
            strangers = [*others, *(by_id[task.task_id] for task in told.foreign if task.task_id in by_id)]
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


def task_found(task: Listed) -> TaskFound | None:
    """Return what a task or job proves about a dispatch of ours, None if it carries no id of our form."""
    token = token_of(task.user_data or "")
    return None if token is None else evidence_of(*token, task)


def evidence_of(dispatch: str, attempt: int, task: Listed) -> TaskFound:
    """Return what a task or job proves about a dispatch that it is known to belong to."""
    match task:
        case ServiceTask():
            return TaskFound(dispatch, attempt, task.task_id, task.status, task.created_at, task.finished_at)
        case EditingJob():
            return TaskFound(
                dispatch_id=dispatch,
                attempt=attempt,
                task_id=task.job_id,
                status=task.status,
                created_at=task.created_at,
                finished_at=task.completed_at,
                error=_said(task) if task.status == TaskStatus.FAILED else None,
                assets=Assets(task.media_id, task.vod_media_id, task.project_id),
            )
        case _:
            assert_never(task)


def _said(job: EditingJob) -> str | None:
    """Return code and message of a failed job, None if it has neither. The words are the service's."""
    return printable(": ".join(each for each in (job.code, job.message) if each))[:ERROR_LIMIT] or None


def tell_evidence(told: Evidenced) -> None:
    """Log what tasks changed."""
    log = get_logger()
    for task in told.settled:
        log.info(
            "dispatch.started", dispatch=task.dispatch_id, attempt=task.attempt, task_id=task.task_id, outcome="found"
        )
    for task in told.finished:
        write = log.info if TaskStatus(task.status).succeeded else log.warning
        error = {} if task.error is None else {"error": task.error}
        write("task.finished", dispatch=task.dispatch_id, task_id=task.task_id, status=task.status, **error)
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

"""`explain --live`: the object as it is now, all that the ledger knows of its key, and why it has not started.

What cannot be looked at (a store that refuses, a ledger that is not there yet) is said in its place; the
rest is still told.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dispatcher.core.calls import Api
from dispatcher.core.dispatch import DispatchState, TaskStatus
from dispatcher.errors import DispatcherError
from dispatcher.ledger import browse, following, holds, rulesets, snapshots
from dispatcher.ledger.browse import Selector
from dispatcher.ledger.engine import Ledger
from dispatcher.service.assembly import keys_of
from dispatcher.service.explaining import Content, explain
from dispatcher.service.waiting import why_no_row, why_not_started
from dispatcher.sources.opening import open_bucket
from dispatcher.targets.alibaba import AlibabaClients
from dispatcher.targets.jobs import AlibabaJobs
from dispatcher.targets.tasks import AlibabaTasks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from dispatcher.core.rules import Rule
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.browse import DispatchView
    from dispatcher.ledger.following import ForeignStart
    from dispatcher.ports import Jobs, Tasks
    from dispatcher.service.explaining import Explanation, Judgement
    from dispatcher.sources.store import ObjectHead

_TRIES = 2
_MOST_TASKS = 20
"""Unfinished tasks of one key that are asked for; more would take the daemon's share of the quota."""


@dataclass(frozen=True, slots=True)
class WhyNot:
    """Of one matching rule and the present content: the row if there is one, and why there is no task (or which)."""

    rule: str
    dispatch_id: str
    why: str


@dataclass(frozen=True, slots=True)
class LiveExplanation:
    """An explanation with what is true now.

    `head` is None when there is no such object, or it could not be looked at: `notes` tell. `dispatches`
    are all rows of the key, the newest first, with the task's status as the service says it now.
    """

    explanation: Explanation
    head: ObjectHead | None
    dispatches: tuple[DispatchView, ...]
    foreign: tuple[ForeignStart, ...]
    why_not: tuple[WhyNot, ...]
    notes: tuple[str, ...]


def explain_live(settings: Settings, places: Sequence[tuple[str, str, str]], now: datetime) -> list[LiveExplanation]:
    """Look at each (url, bucket, key) in the store, the ledger and the service. Changes nothing."""
    with closing(AlibabaClients(settings.credentials, call_timeout=settings.call_timeout)) as clients:
        tasks, jobs = AlibabaTasks(clients), AlibabaJobs(clients)
        return [_Look(settings, tasks, jobs, now, place).explanation() for place in places]


@dataclass
class _Look:
    """One look at one object; collects what could not be seen."""

    settings: Settings
    tasks: Tasks
    jobs: Jobs
    now: datetime
    place: tuple[str, str, str]
    notes: list[str] = field(default_factory=list)

    def explanation(self) -> LiveExplanation:
        url, bucket, key = self.place
        head = self._head(bucket, key)
        content = Content(head.etag, head.size) if head is not None else None
        explained = explain(self.settings, url, bucket, key, content)
        rows: tuple[DispatchView, ...] = ()
        foreign: tuple[ForeignStart, ...] = ()
        why_not: tuple[WhyNot, ...] = ()
        with self._ledger() as tx:
            if tx is not None:
                selector = Selector(objects=((bucket, key),))
                rows = tuple(browse.select(tx, selector, self.now))
                foreign = tuple(following.foreign_of(tx, bucket, key))
                why_not = tuple(self._why_not(tx, each, content) for each in explained.matches) if content else ()
        rows = self._with_task_statuses(rows)
        return LiveExplanation(explained, head, rows, foreign, why_not, tuple(self.notes))

    # -- the store ------------------------------------------------------------------------------------

    def _head(self, name: str, key: str) -> ObjectHead | None:
        bucket = self.settings.buckets.get(name)
        if bucket is None:
            self.notes.append(f"bucket {name} is not in the configuration: the object was not looked at")
            return None
        try:
            with closing(open_bucket(bucket, keys_of(self.settings, bucket), attempts=_TRIES)) as store:
                head = store.head(key, threading.Event())
        except DispatcherError as error:
            self.notes.append(f"the object could not be looked at: {error.message} ({error.hint})")
            return None
        if head is None:
            self.notes.append("there is no such object now")
        return head

    # -- the ledger -----------------------------------------------------------------------------------

    @contextmanager
    def _ledger(self) -> Iterator[Connection | None]:
        """Yield a reading connection, None where the ledger cannot be read (a note says why)."""
        with ExitStack() as stack:
            tx = None
            try:
                ledger = stack.enter_context(closing(Ledger.open(self.settings.ledger.url, readonly=True)))
                tx = stack.enter_context(ledger.read())
            except DispatcherError as error:
                self.notes.append(f"the ledger could not be read: {error.message} ({error.hint})")
            yield tx

    def _why_not(self, tx: Connection, judgement: Judgement, content: Content) -> WhyNot:
        rule = judgement.verdict.rule
        dispatch_id = judgement.dispatch_id or ""
        detail = browse.show(tx, dispatch_id, self.now)
        if detail is None:
            why = self._why_no_row(tx, rule, content)
        elif detail.view is None:
            task = f": task {detail.task_id}" if detail.task_id else ""
            why = f"it ended as {detail.state} long ago{task}; the detail was pruned"
        else:
            why = why_not_started(detail.view, holds.held_rule(tx, rule.id))
        return WhyNot(rule.id, dispatch_id, why)

    def _why_no_row(self, tx: Connection, rule: Rule, content: Content) -> str:
        _, bucket, key = self.place
        revision = snapshots.revision_of(tx, bucket, key, content.etag, content.size)
        return why_no_row(rule, revision, rulesets.first_revisions(tx).get(rule.id))

    # -- the service ----------------------------------------------------------------------------------

    def _with_task_statuses(self, rows: tuple[DispatchView, ...]) -> tuple[DispatchView, ...]:
        """Return the rows with the status that unfinished tasks have now."""
        final = {status.value for status in TaskStatus if status.final}
        asked = [
            row
            for row in rows
            if row.state is DispatchState.STARTED and row.task_id is not None and row.task_status not in final
        ]
        now: dict[str, str] = {}
        try:
            for row in asked[:_MOST_TASKS]:
                rule = self.settings.rules.by_id.get(row.rule)
                if rule is None or row.task_id is None:
                    continue
                endpoint = self.settings.buckets[rule.input.bucket].ims
                edited = row.api is Api.SUBMIT_MEDIA_PRODUCING_JOB
                ask = self.jobs.get_job if edited else self.tasks.get_task
                task = ask(endpoint, row.task_id)
                if task is not None:
                    now[row.dispatch_id] = task.status
        except DispatcherError as error:
            self.notes.append(f"tasks could not be asked for: {error.message} ({error.hint})")
        return tuple(replace(row, task_status=now.get(row.dispatch_id, row.task_status)) for row in rows)

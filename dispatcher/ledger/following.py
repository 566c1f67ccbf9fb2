"""Following: which workflows must be swept now, and what sweeps found that is not ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, case, func, insert, literal_column, select, union_all, update

from dispatcher.core.calls import Api, Endpoint, JobQuery, TaskQuery
from dispatcher.core.dispatch import DispatchState
from dispatcher.core.events import decode_key, encode_key
from dispatcher.ledger.calls import api_of_attempt
from dispatcher.ledger.tables import dispatches, double_starts, foreign_starts, in_state, rule_progress, sweeps
from dispatcher.ledger.writing import BATCH, insert_new

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row, Select

    from dispatcher.core.calls import SweepQuery, TaskHint

_JOBS = Api.LIST_MEDIA_PRODUCING_JOBS.value
"""What stands for a workflow id where an endpoint's producing jobs are swept."""
_IS_JOB = func.coalesce(dispatches.c.api, "") == Api.SUBMIT_MEDIA_PRODUCING_JOB.value
_SUBJECT = case((_IS_JOB, literal_column(f"'{_JOBS}'")), else_=dispatches.c.workflow_id).label("workflow_id")


@dataclass(frozen=True, slots=True)
class SweepNeed:
    """What to sweep: rows due for a look, rows being followed, and the earliest intent of them.

    `workflow_id` None means the producing jobs of the endpoint.
    """

    endpoint: Endpoint
    workflow_id: str | None
    earliest_intent_at: datetime
    uncertain: int
    following: int

    def query(self, since: datetime, until: datetime) -> SweepQuery:
        """Return the sweep of this over a window."""
        if self.workflow_id is None:
            return JobQuery(self.endpoint, since, until)
        return TaskQuery(self.endpoint, self.workflow_id, since, until)


@dataclass(frozen=True, slots=True)
class Straggler:
    """A started row whose task must be asked for by itself."""

    dispatch_id: str
    attempt: int
    task_id: str
    endpoint: Endpoint
    api: Api


@dataclass(frozen=True, slots=True)
class ForeignStart:
    """A task on an input under one of our rules that this ledger did not start.

    `token` is what its UserData carries as DispatchId, None if nothing.
    """

    task_id: str
    workflow_id: str
    media_url: str
    bucket: str
    key: str
    rule_id: str | None
    created_at: datetime | None
    token: str | None
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class DoubleStart:
    """A second task of one dispatch."""

    dispatch_id: str
    task_id: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class OutputCheck:
    """The first finished task of a rule, whose outputs the loop guard reads."""

    rule_id: str
    dispatch_id: str
    task_id: str
    endpoint: Endpoint
    api: Api


def sweeps_needed(tx: Connection, now: datetime, *, follow_since: datetime) -> list[SweepNeed]:
    """Return the workflows, and endpoints of producing jobs, with uncertain rows due at `now` or unfinished tasks.

    Of started rows those with an intent since `follow_since` count; older ones are `stragglers`.
    """
    table = dispatches.c
    uncertain = _by_workflow(in_state(DispatchState.UNCERTAIN) & (table.next_at <= now), uncertain=True)
    following = _by_workflow(table.follow_at.is_not(None) & (table.intent_at >= follow_since), uncertain=False)
    both = union_all(uncertain, following).subquery()
    rows = tx.execute(
        select(
            both.c.region,
            both.c.endpoint,
            both.c.workflow_id,
            func.min(both.c.earliest).label("earliest"),
            func.sum(both.c.uncertain).label("uncertain"),
            func.sum(both.c.following).label("following"),
        )
        .group_by(both.c.region, both.c.endpoint, both.c.workflow_id)
        .order_by(both.c.region, both.c.endpoint, both.c.workflow_id)
    )
    return [
        SweepNeed(
            endpoint=Endpoint(row.region, row.endpoint),
            workflow_id=None if row.workflow_id == _JOBS else row.workflow_id,
            earliest_intent_at=row.earliest,
            uncertain=row.uncertain,
            following=row.following,
        )
        for row in rows
    ]


def expected(
    tx: Connection, query: SweepQuery, now: datetime, *, called_until: datetime, limit: int = 10 * BATCH
) -> list[str]:
    """Return the uncertain rows that a complete sweep of `query`, begun at `now`, would show if started.

    Ask before the sweep: a row that becomes uncertain meanwhile is not judged by it. Those due longest come
    first; intents before `query.since` are left out, and so are those after `called_until`: their call may
    still be on its way, or its task not be listed yet.
    """
    table = dispatches.c
    return list(
        tx.scalars(
            select(table.dispatch_id)
            .where(
                in_state(DispatchState.UNCERTAIN),
                table.next_at <= now,
                table.region == query.endpoint.region,
                table.endpoint == query.endpoint.url,
                _IS_JOB if isinstance(query, JobQuery) else table.workflow_id == query.workflow_id,
                table.intent_at >= query.since,
                table.intent_at <= called_until,
            )
            .order_by(table.next_at)
            .limit(limit)
        )
    )


def stragglers(tx: Connection, now: datetime, *, follow_since: datetime, limit: int) -> list[Straggler]:
    """Return started rows without a final status, older than sweeps look back, that are due for a look."""
    table = dispatches.c
    rows = tx.execute(
        select(table.dispatch_id, table.attempt, table.task_id, table.region, table.endpoint, table.api)
        .where(table.follow_at <= now, table.intent_at < follow_since)
        .order_by(table.follow_at)
        .limit(limit)
    )
    return [
        Straggler(
            row.dispatch_id, row.attempt, row.task_id, Endpoint(row.region, row.endpoint), api_of_attempt(row.api)
        )
        for row in rows
    ]


def follow_later(tx: Connection, dispatch_ids: Sequence[str], at: datetime) -> None:
    """Let these stragglers be looked at again from `at` on. At most 1,000 a call."""
    if dispatch_ids:
        tx.execute(
            update(dispatches)
            .where(dispatches.c.dispatch_id == bindparam("of"), dispatches.c.follow_at.is_not(None))
            .values(follow_at=at),
            [{"of": each} for each in dispatch_ids],
        )


def record_sweep(tx: Connection, query: SweepQuery, *, complete: bool, now: datetime) -> None:
    """Keep that a sweep was made, and whether every page came."""
    tx.execute(
        insert(sweeps).values(
            endpoint=query.endpoint.url,
            workflow_id=_JOBS if isinstance(query, JobQuery) else query.workflow_id,
            since=query.since,
            until=query.until,
            complete=complete,
            at=now,
        )
    )


def last_sweep_at(tx: Connection, need: SweepNeed) -> datetime | None:
    """Return when this was last swept, whether completely or not."""
    subject = _JOBS if need.workflow_id is None else need.workflow_id
    at: datetime | None = tx.scalar(
        select(func.max(sweeps.c.at)).where(sweeps.c.endpoint == need.endpoint.url, sweeps.c.workflow_id == subject)
    )
    return at


def worth_asking(tx: Connection, hint: TaskHint) -> list[Endpoint]:
    """Return where a task is asked for of which somebody says that it ended; nowhere if nothing could come of it.

    Something can if it is followed, or if it may be what an unanswered call of ours became.
    """
    table = dispatches.c
    of_kind = _IS_JOB if hint.api is Api.SUBMIT_MEDIA_PRODUCING_JOB else ~_IS_JOB
    followed = (table.follow_at.is_not(None)) & (table.task_id == hint.task_id)
    unanswered = in_state(DispatchState.UNCERTAIN) & of_kind
    if hint.token is not None:
        unanswered &= table.dispatch_id == hint.token[0]
    for condition in (followed, unanswered):
        places = tx.execute(select(table.region, table.endpoint).where(condition).distinct()).all()
        if places:
            return [Endpoint(place.region, place.endpoint) for place in places]
    return []


def record_foreign(tx: Connection, found: Sequence[ForeignStart]) -> list[ForeignStart]:
    """Keep starts that are not ours; return those that are news. At most 1,000 a call."""
    if not found:
        return []
    known = set(
        tx.scalars(
            select(foreign_starts.c.task_id).where(foreign_starts.c.task_id.in_([each.task_id for each in found]))
        )
    )
    news = list({each.task_id: each for each in found if each.task_id not in known}.values())
    insert_new(
        tx,
        foreign_starts,
        [
            {
                "task_id": each.task_id,
                "workflow_id": each.workflow_id,
                "media_url": each.media_url,
                "bucket": each.bucket,
                "key": encode_key(each.key),
                "rule_id": each.rule_id,
                "created_at": each.created_at,
                "token": each.token,
                "seen_at": each.seen_at,
            }
            for each in news
        ],
    )
    return news


def foreign(tx: Connection, *, limit: int = 100) -> list[ForeignStart]:
    """Return the foreign starts seen last."""
    rows = tx.execute(select(foreign_starts).order_by(foreign_starts.c.seen_at.desc()).limit(limit))
    return [_foreign(row) for row in rows]


def foreign_of(tx: Connection, bucket: str, key: str) -> list[ForeignStart]:
    """Return the foreign starts of one object."""
    table = foreign_starts.c
    rows = tx.execute(
        select(foreign_starts).where(table.bucket == bucket, table.key == encode_key(key)).order_by(table.seen_at)
    )
    return [_foreign(row) for row in rows]


def doubles(tx: Connection, *, limit: int = 100) -> list[DoubleStart]:
    """Return the double starts seen last."""
    rows = tx.execute(select(double_starts).order_by(double_starts.c.seen_at.desc()).limit(limit))
    return [DoubleStart(row.dispatch_id, row.task_id, row.seen_at) for row in rows]


def outputs_to_check(tx: Connection) -> list[OutputCheck]:
    """Return, for each rule whose outputs were never checked, its first finished task."""
    progress, table = rule_progress.c, dispatches.c
    rows = tx.execute(
        select(
            progress.rule_id,
            progress.output_dispatch_id,
            progress.output_task_id,
            table.region,
            table.endpoint,
            table.api,
        )
        .join_from(rule_progress, dispatches, table.dispatch_id == progress.output_dispatch_id)
        .where(progress.output_task_id.is_not(None), progress.outputs_checked_at.is_(None))
    )
    return [
        OutputCheck(
            rule_id=row.rule_id,
            dispatch_id=row.output_dispatch_id,
            task_id=row.output_task_id,
            endpoint=Endpoint(row.region, row.endpoint),
            api=api_of_attempt(row.api),
        )
        for row in rows
    ]


def mark_outputs_checked(tx: Connection, rule_id: str, now: datetime) -> None:
    """Remember that the outputs of a rule were checked. Idempotent."""
    tx.execute(update(rule_progress).where(rule_progress.c.rule_id == rule_id).values(outputs_checked_at=now))


def _by_workflow(where: ColumnElement[bool], *, uncertain: bool) -> Select[Any]:
    table = dispatches.c
    zero = func.count() * 0
    return (
        select(
            table.region,
            table.endpoint,
            _SUBJECT,
            func.min(table.intent_at).label("earliest"),
            (func.count() if uncertain else zero).label("uncertain"),
            (zero if uncertain else func.count()).label("following"),
        )
        .where(where, _SUBJECT.is_not(None))
        .group_by(table.region, table.endpoint, _SUBJECT)
    )


def _foreign(row: Row[tuple[object, ...]]) -> ForeignStart:
    return ForeignStart(
        task_id=row.task_id,
        workflow_id=row.workflow_id,
        media_url=row.media_url,
        bucket=row.bucket,
        key=decode_key(row.key),
        rule_id=row.rule_id,
        created_at=row.created_at,
        token=row.token,
        seen_at=row.seen_at,
    )

"""The tables of the ledger, apart from those of the snapshots.

Only indexes that a query of this package uses; `tests/ledger/test_plans.py` holds each to it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    literal_column,
)

from dispatcher.core.calls import Api
from dispatcher.core.dispatch import DispatchState
from dispatcher.ledger.metadata import UtcTime, metadata

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement


class Lane(IntEnum):
    """Which queue of its rule a waiting dispatch stands in.

    BUDGETED: live, not yet counted against the day's budget. EXEMPT: live and already counted, or
    an existing object the operator asked for. BACKFILL: goes after everything live.
    """

    BUDGETED = 0
    EXEMPT = 1
    BACKFILL = 2


dispatches = Table(
    "dispatches",
    metadata,
    Column("dispatch_id", Text, primary_key=True),
    Column("rule_id", Text, nullable=False),
    Column("bucket", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),  # the bytes of the key: not every key is valid text
    Column("etag", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("run", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("source", Text, nullable=False),
    Column("lane", Integer, nullable=False),
    Column("modified_at", UtcTime),
    Column("first_seen_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("next_at", UtcTime),  # when a pending row may be called, or an uncertain one be looked for
    Column("attempts", Integer, nullable=False, default=0),  # calls that failed and count
    Column("attempt", Integer, nullable=False, default=0),  # number of the last attempt
    Column("incarnation", Integer),  # the lease: which sender is sending it
    Column("first_attempt_at", UtcTime),
    Column("intent_at", UtcTime),  # of the last attempt
    Column("region", Text),  # of the last attempt, as the two that follow
    Column("endpoint", Text),
    Column("workflow_id", Text),
    Column("started_at", UtcTime),
    Column("task_id", Text),
    Column("task_status", Text),
    Column("task_error", Text),
    Column("task_finished_at", UtcTime),
    Column("follow_at", UtcTime),  # set while the task of a started row has no final status
    Column("request_id", Text),
    Column("last_error_code", Text),
    Column("last_error_message", Text),
    Column("last_error_request_id", Text),
    Column("absent_sweeps", Integer, nullable=False, default=0),
    Column("last_absent_at", UtcTime),
    Column("api", Text),  # of the last attempt; None in rows of the first version: StartWorkflow
    Column("input_media_id", Text),  # of the object itself, once it is registered as a media asset
    Column("media_id", Text),  # of what a producing job makes, as the two that follow
    Column("vod_media_id", Text),
    Column("project_id", Text),
    Column("repeat_attempt", Integer),  # an unanswered attempt whose request is sent again as it was
    Column("repeat_at", UtcTime),  # when
    Column("repeat_until", UtcTime),  # until when the service surely knows its client token
    Column("backfill", Integer),  # number of the backfill that recorded it; such rows stand in Lane.BACKFILL
)


def in_state(*states: DispatchState) -> ColumnElement[bool]:
    """Return `state is one of`, written as literals: partial indexes are found only by literals."""
    if len(states) == 1:
        return dispatches.c.state == literal_column(f"'{states[0].value}'")
    return dispatches.c.state.in_([literal_column(f"'{state.value}'") for state in states])


def _partial(name: str, *columns: str, where: ColumnElement[bool]) -> Index:
    return Index(name, *(dispatches.c[each] for each in columns), sqlite_where=where, postgresql_where=where)


Index("ix_dispatches_object", dispatches.c.rule_id, dispatches.c.bucket, dispatches.c.key)
Index("ix_dispatches_seen", dispatches.c.first_seen_at)
_partial(
    "ix_dispatches_pending",
    "rule_id",
    "lane",
    "next_at",
    "first_seen_at",
    where=in_state(DispatchState.PENDING),
)
_partial("ix_dispatches_sending", "incarnation", where=in_state(DispatchState.SENDING))
_partial("ix_dispatches_uncertain", "next_at", where=in_state(DispatchState.UNCERTAIN))
_partial("ix_dispatches_repeating", "rule_id", "repeat_until", where=dispatches.c.repeat_until.is_not(None))
_partial("ix_dispatches_dead", "updated_at", where=in_state(DispatchState.DEAD))
_partial("ix_dispatches_following", "follow_at", where=dispatches.c.follow_at.is_not(None))
_partial("ix_dispatches_followed_task", "task_id", where=dispatches.c.follow_at.is_not(None))
_partial("ix_dispatches_finished", "updated_at", where=in_state(DispatchState.STARTED, DispatchState.SKIPPED))

_OF_BACKFILL = dispatches.c.backfill.is_not(None)
_partial(
    "ix_dispatches_backfill_pending",
    "backfill",
    "rule_id",
    "next_at",
    "first_seen_at",
    where=in_state(DispatchState.PENDING) & _OF_BACKFILL,
)
_partial("ix_dispatches_backfill_state", "backfill", "state", where=_OF_BACKFILL)
_partial("ix_dispatches_backfill_running", "backfill", where=dispatches.c.follow_at.is_not(None) & _OF_BACKFILL)

EDITING_JOB = dispatches.c.api == literal_column(f"'{Api.SUBMIT_MEDIA_PRODUCING_JOB.value}'")
_partial("ix_dispatches_job", "task_id", where=EDITING_JOB)

attempts = Table(
    "attempts",
    metadata,
    Column("dispatch_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("incarnation", Integer, nullable=False),
    Column("intent_at", UtcTime, nullable=False),
    Column("region", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("request", Text, nullable=False),  # JSON of what was sent
    Column("api", Text),  # None in rows of the first version: StartWorkflow
    sqlite_with_rowid=False,
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("outcome_id", Integer, primary_key=True),  # the order of arrival
    Column("dispatch_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("code", Text),
    Column("message", Text),
    Column("request_id", Text),
    Column("task_id", Text),
    Column("evidence", Text, nullable=False),  # what told it: the call, a sweep, the death of a sender
    Column("ended_at", UtcTime, nullable=False),
    Column("recorded_at", UtcTime, nullable=False),
    Index("ix_outcomes_dispatch", "dispatch_id"),
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("state", Text, nullable=False),
    Column("task_id", Text),
    sqlite_with_rowid=False,
)

sightings = Table(
    "sightings",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("event", Text, nullable=False),
    Column("version", Integer, nullable=False),  # grows with each repetition: what was read is what is resolved
    Column("first_seen_at", UtcTime, nullable=False),
    Column("due_at", UtcTime, nullable=False),
    Column("missing_since", UtcTime),
    Column("tries", Integer, nullable=False),
    Index("ix_sightings_due", "due_at"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("source", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # of the body: one that is brought again is no second row
    Column("body", LargeBinary, nullable=False),
    Column("format", Text),  # as which it was read; None: told by its marks
    Column("reason", Text, nullable=False),
    Column("times", Integer, nullable=False),
    Column("first_seen_at", UtcTime, nullable=False),
    Column("last_seen_at", UtcTime, nullable=False),
    Index("ix_quarantine_body", "source", "digest", unique=True),
)

unannounced = Table(
    "unannounced",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("listed_at", UtcTime, nullable=False),  # when a listing brought it, and no notification had
    Index("ix_unannounced_at", "listed_at"),
    sqlite_with_rowid=False,
)

missed_notifications = Table(
    "missed_notifications",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("found_by_listing_only", BigInteger, nullable=False),
    Column("last_at", UtcTime, nullable=False),
)

backfills = Table(
    "backfills",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),  # what was asked for: the same again is the same backfill
    Column("scope", Text, nullable=False),  # JSON of what it covers
    Column("run", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("until_at", UtcTime),  # nothing of it is sent any more from then on
    Column("window_seconds", Integer),  # how long it may send each time it is resumed
    Column("max_rate", Text),  # as it is written: 10/s
    Column("max_running", Integer),
    Column("most", BigInteger),  # rows that it may record at most, over all its runs
    Column("recorded_at", UtcTime),  # when all that it covers was recorded; None: not yet
    Column("listed", BigInteger, nullable=False),  # of the last look, as the three that follow
    Column("matched", BigInteger, nullable=False),
    Column("known", BigInteger, nullable=False),
    Column("gone", BigInteger, nullable=False),
    Column("recorded", BigInteger, nullable=False),  # over all its runs
    Column("reached", LargeBinary),  # the key looked at last; shown, and never where a look goes on
    Column("error", Text),  # why its last look broke off
    Column("served_at", UtcTime),  # when it last had its turn
)

rule_sets = Table(
    "rule_sets",
    metadata,
    Column("revision", Integer, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

rules = Table(
    "rules",
    metadata,
    Column("rule_id", Text, primary_key=True),
    Column("input", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("first_revision", Integer, nullable=False),
    Column("removed_revision", Integer),
    Column("renamed_to", Text),
    Column("existing_wanted", Boolean(create_constraint=False), nullable=False),
    Column("existing_done", Boolean(create_constraint=False), nullable=False),
    Column("budget", BigInteger),
    Column("target", Text),  # of the call that starts: key of `rates` and `target_health`
    Column("first_target", Text),  # of the call that a dispatch begins with
)

rule_progress = Table(
    "rule_progress",
    metadata,
    Column("rule_id", Text, primary_key=True),
    Column("served_at", UtcTime),  # when the rule last had its turn
    Column("rejected_code", Text),
    Column("rejected_count", Integer, nullable=False, default=0),
    Column("output_task_id", Text),  # first finished task, to be read by the loop guard
    Column("output_dispatch_id", Text),
    Column("outputs_checked_at", UtcTime),
)

rule_hits = Table(
    "rule_hits",
    metadata,
    Column("rule_id", Text, primary_key=True),
    Column("hits", BigInteger, nullable=False),  # rows ever recorded; pruning does not lessen them
    Column("last_at", UtcTime, nullable=False),
)

holds = Table(
    "holds",
    metadata,
    Column("rule_id", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since", UtcTime, nullable=False),
    Column("detail", Text, nullable=False),
)

budgets = Table(
    "budgets",
    metadata,
    Column("rule_id", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("used", BigInteger, nullable=False),
    Column("released", BigInteger, nullable=False),
)

rates = Table(
    "rates",
    metadata,
    Column("target", Text, primary_key=True),
    Column("next_at", UtcTime),
    Column("share_millionths", Integer, nullable=False),
    Column("share_at", UtcTime),
)

target_health = Table(
    "target_health",
    metadata,
    Column("target", Text, primary_key=True),
    Column("uncertain_streak", Integer, nullable=False),
    Column("paused_since", UtcTime),
    Column("pause_reason", Text),
    Column("trial_at", UtcTime),
)

foreign_starts = Table(
    "foreign_starts",
    metadata,
    Column("task_id", Text, primary_key=True),
    Column("workflow_id", Text, nullable=False),
    Column("media_url", Text, nullable=False),
    Column("bucket", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("rule_id", Text),
    Column("created_at", UtcTime),
    Column("token", Text),
    Column("seen_at", UtcTime, nullable=False),
)

double_starts = Table(
    "double_starts",
    metadata,
    Column("dispatch_id", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),
    Column("seen_at", UtcTime, nullable=False),
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("sweep_id", Integer, primary_key=True),
    Column("endpoint", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("since", UtcTime, nullable=False),
    Column("until", UtcTime, nullable=False),
    Column("complete", Boolean(create_constraint=False), nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("ix_sweeps_at", "at"),
)

notices = Table(
    "notices",
    metadata,
    Column("code", Text, primary_key=True),
    Column("detail", Text, nullable=False),
    Column("since", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),  # when it was last found to be true
)

incarnations = Table(
    "incarnations",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("started_at", UtcTime, nullable=False),
    Column("pid", Integer, nullable=False),
)

"""Status: everything that waits, failed or is held, read in one moment, and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.core.documents import Json, rfc3339
from dispatcher.ledger import (
    announcing,
    backfills,
    budgeting,
    counting,
    following,
    holds,
    notices,
    quarantine,
    rates,
    sightings,
    snapshots,
)
from dispatcher.ledger.notices import NoticeCode
from dispatcher.service.documents.backfills import backfill_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from dispatcher.core.dispatch import DispatchState
    from dispatcher.core.outcomes import TargetHealth
    from dispatcher.ledger.announcing import Missed
    from dispatcher.ledger.backfills import Backfill, RowCounts
    from dispatcher.ledger.budgeting import Budget
    from dispatcher.ledger.counting import OldestWaiting, StateCount
    from dispatcher.ledger.following import DoubleStart, ForeignStart
    from dispatcher.ledger.holds import Hold
    from dispatcher.ledger.notices import Notice
    from dispatcher.ledger.snapshots import RootStatistics

SHOWN_STARTS = 20
"""Foreign and double starts that are listed; all are counted."""


@dataclass(frozen=True, slots=True)
class Status:
    """Everything `status` shows, read in one moment."""

    at: datetime
    notices: Sequence[Notice]
    states: Sequence[StateCount]
    pruned: Mapping[DispatchState, int]
    tasks: Mapping[str | None, int]
    dead_codes: Mapping[str, int]
    undecided: int
    quarantined: Mapping[str, int]
    missed: Mapping[str, Missed]
    oldest: OldestWaiting | None
    paused: Mapping[str, TargetHealth]
    holds: Mapping[str, Hold]
    budgets: Mapping[str, Budget]
    backfills: Sequence[tuple[Backfill, RowCounts]]
    roots: Sequence[RootStatistics]
    foreign: Sequence[ForeignStart]
    foreign_count: int
    doubles: Sequence[DoubleStart]
    double_count: int


def read_status(tx: Connection, at: datetime) -> Status:
    """Read everything that `status` shows."""
    return Status(
        at=at,
        notices=list(notices.standing(tx).values()),
        states=counting.state_counts(tx, at),
        pruned=counting.pruned(tx),
        tasks=counting.task_status_counts(tx),
        dead_codes=counting.dead_codes(tx),
        undecided=sightings.waiting(tx),
        quarantined=quarantine.counts(tx),
        missed=announcing.missed(tx),
        oldest=counting.oldest_waiting(tx),
        paused={target: each for target, each in rates.healths(tx).items() if each.paused_since is not None},
        holds=holds.held(tx),
        budgets=budgeting.budgets_today(tx, at),
        backfills=[(each, backfills.counts(tx, each.number)) for each in backfills.active(tx)],
        roots=snapshots.statistics(tx),
        foreign=following.foreign(tx, limit=SHOWN_STARTS),
        foreign_count=counting.foreign_count(tx),
        doubles=following.doubles(tx, limit=SHOWN_STARTS),
        double_count=counting.double_count(tx),
    )


def by_state(found: Status) -> dict[tuple[str, str | None], int]:
    """Return all rows by state and reason, the rules added up."""
    total: dict[tuple[str, str | None], int] = {}
    for each in found.states:
        place = (each.state.value, each.reason.value if each.reason is not None else None)
        total[place] = total.get(place, 0) + each.count
    return dict(sorted(total.items(), key=lambda item: (item[0][0], item[0][1] or "")))


def status_json(found: Status) -> dict[str, Json]:
    """Return the status for programs."""
    counts = by_state(found)
    oldest = found.oldest
    return {
        "at": rfc3339(found.at),
        "notices": [
            {
                "code": each.code.value,
                "detail": each.detail,
                "since_at": rfc3339(each.since),
                "seen_at": rfc3339(each.seen_at),
                "hint": hint_of(each),
            }
            for each in found.notices
        ],
        "states": [{"state": state, "reason": reason, "count": count} for (state, reason), count in counts.items()],
        "pruned": {state.value: count for state, count in found.pruned.items()},
        "task_statuses": [{"task_status": status, "count": count} for status, count in found.tasks.items()],
        "dead_codes": dict(found.dead_codes),
        "uncertain": sum(count for (state, _), count in counts.items() if state == "uncertain"),
        "undecided_sightings": found.undecided,
        "quarantined": [{"source": source, "count": count} for source, count in found.quarantined.items()],
        "found_by_listing_only": [
            {"bucket": bucket, "count": each.found_by_listing_only, "last_at": rfc3339(each.last_at)}
            for bucket, each in found.missed.items()
        ],
        "oldest_waiting": None
        if oldest is None
        else {
            "dispatch_id": oldest.dispatch_id,
            "rule": oldest.rule_id,
            "first_seen_at": rfc3339(oldest.first_seen_at),
            "age_seconds": round((found.at - oldest.first_seen_at).total_seconds(), 3),
        },
        "paused_targets": [
            {
                "target": target,
                "reason": each.pause_reason,
                "paused_since_at": rfc3339(each.paused_since),
                "next_trial_at": rfc3339(each.trial_at),
            }
            for target, each in found.paused.items()
        ],
        "holds": [
            {"rule": each.rule_id, "reason": each.reason.value, "since_at": rfc3339(each.since), "detail": each.detail}
            for each in found.holds.values()
        ],
        "budgets": [
            {"rule": rule, "limit": each.limit, "used": each.used, "released": each.released, "left": each.left}
            for rule, each in found.budgets.items()
        ],
        "backfills": [backfill_json(each, counted, found.at) for each, counted in found.backfills],
        "sources": [root_json(each) for each in found.roots],
        "foreign_starts": {"count": found.foreign_count, "last": [_foreign_json(each) for each in found.foreign]},
        "double_starts": {
            "count": found.double_count,
            "last": [
                {"dispatch_id": each.dispatch_id, "task_id": each.task_id, "seen_at": rfc3339(each.seen_at)}
                for each in found.doubles
            ],
        },
    }


def root_json(root: RootStatistics) -> Json:
    """Return what is known of the listing of a root."""
    return {
        "bucket": root.bucket,
        "root": root.root,
        "listed": root.entries,
        "passes": root.passes,
        "baseline_started_at": rfc3339(root.started_at),
        "baseline_completed_at": rfc3339(root.completed_at),
        "last_complete_pass_at": rfc3339(root.listed_at),
        "suspect": None
        if root.suspect_pass is None
        else {"pass": root.suspect_pass, "missing": root.suspect_missing, "at": rfc3339(root.suspect_at)},
    }


def _foreign_json(start: ForeignStart) -> Json:
    return {
        "task_id": start.task_id,
        "workflow": start.workflow_id,
        "rule": start.rule_id,
        "bucket": start.bucket,
        "key": start.key,
        "created_at": rfc3339(start.created_at),
        "token": start.token,
        "seen_at": rfc3339(start.seen_at),
    }


def hint_of(notice: Notice) -> str:
    """Return what to do about it."""
    match notice.code:
        case NoticeCode.NOT_COMPARED:
            return "nothing is called until the service tells what it has started; it is asked again by itself"
        case NoticeCode.LEDGER_BEHIND:
            return "nothing is called until `oss-dispatcher db adopt` has recorded what was started"

"""`status`: now, from the ledger: what waits and why, what is held or paused, what the listings saw."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from dispatcher.cli.backfill_showing import backfill_json, shown_state
from dispatcher.cli.invocation import invocation
from dispatcher.cli.ledgers import now, reading
from dispatcher.cli.output import Format, Json, brief_time, print_document, print_line, print_table, rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    notices: "Sequence[Notice]"
    states: "Sequence[StateCount]"
    pruned: "Mapping[DispatchState, int]"
    tasks: "Mapping[str | None, int]"
    dead_codes: "Mapping[str, int]"
    undecided: int
    quarantined: "Mapping[str, int]"
    missed: "Mapping[str, Missed]"
    oldest: "OldestWaiting | None"
    paused: "Mapping[str, TargetHealth]"
    holds: "Mapping[str, Hold]"
    budgets: "Mapping[str, Budget]"
    backfills: "Sequence[tuple[Backfill, RowCounts]]"
    roots: "Sequence[RootStatistics]"
    foreign: "Sequence[ForeignStart]"
    foreign_count: int
    doubles: "Sequence[DoubleStart]"
    double_count: int


def status(ctx: typer.Context) -> None:
    """Show what waits, what failed, and why.

    From the ledger: the daemon need not run.
    """
    asked = invocation(ctx)
    with reading(asked.settings()) as ledger, ledger.read() as tx:
        found = _read(tx, now())
    if asked.output is Format.TABLE:
        _print(found)
    else:
        print_document(_json(found), asked.output)


def _read(tx: "Connection", at: datetime) -> Status:
    from dispatcher.ledger import (  # noqa: PLC0415 - SQLAlchemy
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


def _by_state(found: Status) -> dict[tuple[str, str | None], int]:
    """Return all rows by state and reason, the rules added up."""
    total: dict[tuple[str, str | None], int] = {}
    for each in found.states:
        place = (each.state.value, each.reason.value if each.reason is not None else None)
        total[place] = total.get(place, 0) + each.count
    return dict(sorted(total.items(), key=lambda item: (item[0][0], item[0][1] or "")))


# -- JSON -----------------------------------------------------------------------------------------


def _json(found: Status) -> dict[str, Json]:
    by_state = _by_state(found)
    oldest = found.oldest
    return {
        "at": rfc3339(found.at),
        "notices": [
            {
                "code": each.code.value,
                "detail": each.detail,
                "since_at": rfc3339(each.since),
                "seen_at": rfc3339(each.seen_at),
                "hint": _hint(each),
            }
            for each in found.notices
        ],
        "states": [{"state": state, "reason": reason, "count": count} for (state, reason), count in by_state.items()],
        "pruned": {state.value: count for state, count in found.pruned.items()},
        "task_statuses": [{"task_status": status, "count": count} for status, count in found.tasks.items()],
        "dead_codes": dict(found.dead_codes),
        "uncertain": sum(count for (state, _), count in by_state.items() if state == "uncertain"),
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
        "backfills": [backfill_json(each, counts, found.at) for each, counts in found.backfills],
        "sources": [_root_json(each) for each in found.roots],
        "foreign_starts": {"count": found.foreign_count, "last": [_foreign_json(each) for each in found.foreign]},
        "double_starts": {
            "count": found.double_count,
            "last": [
                {"dispatch_id": each.dispatch_id, "task_id": each.task_id, "seen_at": rfc3339(each.seen_at)}
                for each in found.doubles
            ],
        },
    }


def _root_json(root: "RootStatistics") -> Json:
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


def _foreign_json(start: "ForeignStart") -> Json:
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


# -- tables ---------------------------------------------------------------------------------------


def _hint(notice: "Notice") -> str:
    from dispatcher.ledger.notices import NoticeCode  # noqa: PLC0415 - SQLAlchemy

    match notice.code:
        case NoticeCode.LEDGER_BEHIND:
            return "nothing is called until `oss-dispatcher db adopt` has recorded what was started"


def _print(found: Status) -> None:
    for each in found.notices:
        print_line(f"{each.code.value} since {brief_time(each.since)}: {each.detail}")
        print_line(f"  {_hint(each)}")
    rows = [(state, reason, count) for (state, reason), count in _by_state(found).items()]
    rows += [(f"{state} (pruned)", None, count) for state, count in found.pruned.items()]
    print_table(["state", "reason", "dispatches"], rows or [("none yet", None, 0)], title="dispatches")
    print_line()
    for line in _lines(found):
        print_line(line)
    _print_if(
        "tasks", ["status", "tasks"], [(status or "not seen yet", count) for status, count in found.tasks.items()]
    )
    _print_if("dead, by code", ["code", "dispatches"], list(found.dead_codes.items()))
    paused = [(target, each.pause_reason, brief_time(each.trial_at)) for target, each in found.paused.items()]
    _print_if(
        "in quarantine (quarantine list)", ["source", "bodies that meant nothing"], list(found.quarantined.items())
    )
    missed = [(bucket, each.found_by_listing_only, brief_time(each.last_at)) for bucket, each in found.missed.items()]
    _print_if("found by listing only: no notification came", ["bucket", "objects", "last counted"], missed)
    _print_if("paused targets", ["target", "why", "next trial"], paused)
    held = [(each.rule_id, each.reason, brief_time(each.since), each.detail) for each in found.holds.values()]
    _print_if("held rules (rules resume RULE)", ["rule", "reason", "since", "what was seen"], held)
    used = [(rule, each.used, each.limit, each.released) for rule, each in found.budgets.items() if each.used]
    _print_if("budgets today (UTC)", ["rule", "used", "limit", "released"], used)
    going_on = [
        (each.number, each.name, shown_state(each, counts, found.at), counts.unfinished)
        for each, counts in found.backfills
    ]
    _print_if("backfills (backfill list)", ["number", "name", "state", "rows left"], going_on)
    _print_if("listings", ["bucket", "root", "listed", "last complete pass", "suspect"], map(_root_row, found.roots))
    foreign = [(each.rule_id, f"{each.bucket}/{each.key}", each.task_id, each.workflow_id) for each in found.foreign]
    _print_if("last foreign starts: set Trigger mode to Manual", ["rule", "object", "task", "workflow"], foreign)
    doubles = [(each.dispatch_id, each.task_id, brief_time(each.seen_at)) for each in found.doubles]
    _print_if("last double starts", ["dispatch", "second task", "seen"], doubles)


def _lines(found: Status) -> Iterator[str]:
    if found.oldest is not None:
        age = str(found.at - found.oldest.first_seen_at).split(".", maxsplit=1)[0]
        yield f"oldest waiting: {age}, rule {found.oldest.rule_id}, dispatch {found.oldest.dispatch_id}"
    else:
        yield "nothing waits"
    if found.undecided:
        yield f"objects whose content is not known yet: {found.undecided}"
    yield f"foreign starts: {found.foreign_count}; double starts: {found.double_count}"


def _root_row(root: "RootStatistics") -> tuple[object, ...]:
    listed = brief_time(root.listed_at) if root.completed_at is not None else "first listing not complete"
    suspect = f"pass {root.suspect_pass}: {root.suspect_missing} missing" if root.suspect_pass is not None else None
    return root.bucket, root.root or "(whole bucket)", root.entries, listed, suspect


def _print_if(
    title: str, columns: "Sequence[str]", rows: "Iterator[Sequence[object]] | Sequence[Sequence[object]]"
) -> None:
    some = list(rows)
    if some:
        print_line()
        print_table(columns, some, title=title)

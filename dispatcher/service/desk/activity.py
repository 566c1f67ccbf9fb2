"""How it is going: the overview and the sources as documents, from the ledger, the board and what parts told."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher import __version__
from dispatcher.core.dispatch import DispatchState, TaskStatus
from dispatcher.core.documents import Json, Record, rfc3339
from dispatcher.core.quantities import format_rate
from dispatcher.core.settings import FolderSettings, SmqSettings, SqsSettings
from dispatcher.ledger import counting, deadlines, holds, quarantine, rates, sightings, snapshots, viewing
from dispatcher.ledger.deadlines import LedgerSlowError
from dispatcher.service.board import Seen
from dispatcher.service.documents.status import root_json
from dispatcher.service.routes import routes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from dispatcher.core.health import Condition, ProbeAnswer
    from dispatcher.core.settings import Settings, SourceSettings
    from dispatcher.errors import DispatcherError
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ledger.snapshots import RootStatistics
    from dispatcher.ledger.viewing import Changed
    from dispatcher.service.board import Board
    from dispatcher.service.health import Health

DAY = timedelta(days=1)
SLOT = timedelta(minutes=30)
SLOTS = DAY // SLOT
_KINDS = ("started", "failed", "dead", "skipped")
LAST_HOUR = timedelta(hours=1) // SLOT


def overview_json(  # noqa: PLR0913 - where each part of it comes from
    settings: Settings,
    ledger: Ledger,
    now: datetime,
    health: Health,
    board: Board,
    *,
    within: float,
    shadow: bool,
) -> Record:
    """Return the overview. What cannot be counted in time is null in it."""
    with ledger.read() as tx, deadlines.within(tx, within):
        oldest = counting.oldest_waiting(tx)
        known: dict[str, Json] = {
            "at": rfc3339(now),
            "version": __version__,
            "running_since_at": rfc3339(viewing.running_since(tx)),
            "shadow": shadow,
            "now": {state.value: count for state, count in counting.by_open_state(tx).items()},
            "oldest_waiting": None
            if oldest is None
            else {
                "dispatch_id": oldest.dispatch_id,
                "rule": oldest.rule_id,
                "first_seen_at": rfc3339(oldest.first_seen_at),
                "age_seconds": round((now - oldest.first_seen_at).total_seconds(), 3),
            },
            "held_rules": len(holds.held(tx)),
            "undecided_sightings": sightings.waiting(tx),
            "quarantined": sum(quarantine.counts(tx).values()),
            "foreign_starts": counting.foreign_count(tx),
            "double_starts": counting.double_count(tx),
            "rates": _rates(tx, settings, board, now),
        }
    return {**known, **_health(health), **_lately(ledger, now, within)}


def _health(health: Health) -> dict[str, Json]:
    return {
        "summary": health.summary,
        "live": _answer(health.live()),
        "ready": _answer(health.ready()),
        "notes": _conditions(health.notes),
    }


def _answer(answer: ProbeAnswer) -> Json:
    return {"ok": answer.ok, "reasons": _conditions(answer.reasons)}


def _conditions(conditions: Iterable[Condition]) -> list[Json]:
    return [asdict(each) for each in conditions]


def _rates(tx: Connection, settings: Settings, board: Board, now: datetime) -> list[Json]:
    shares, healths = rates.allowed_shares(tx, now), rates.healths(tx)
    found: dict[str, Json] = {}
    for route in routes(settings):
        health = healths.get(route.target)
        share = shares.get(route.target, 1.0)
        found[route.target] = {
            "target": route.target,
            "region": route.endpoint.region,
            "action": route.api.value,
            "limit": format_rate(route.rate),
            "limit_per_second": round(route.rate.per_second, 6),
            "allowed_share": round(share, 4),
            "used_per_second": round(board.used(route.endpoint.region, route.api.value) / 60, 3),
            "paused": None
            if health is None or health.paused_since is None
            else {
                "reason": health.pause_reason,
                "since_at": rfc3339(health.paused_since),
                "next_trial_at": rfc3339(health.trial_at),
            },
        }
    return list(found.values())


def _lately(ledger: Ledger, now: datetime, within: float) -> dict[str, Json]:
    """Return what changed in the last hour and day, and a day in slots; null where that is too much to count."""
    since = now - DAY
    try:
        with ledger.read() as tx, deadlines.within(tx, within):
            changed = viewing.changed(tx, since, SLOT)
    except LedgerSlowError:
        return {"hour": None, "day": None, "slots": None}
    return {
        "hour": _period([each for each in changed if each.slot >= SLOTS - LAST_HOUR]),
        "day": _period(changed),
        "slots": _slots(changed, since),
    }


def _period(changed: Sequence[Changed]) -> Json:
    states: Counter[str] = Counter()
    tasks: Counter[str] = Counter()
    for each in changed:
        states[each.state.value] += each.count
        if each.state is DispatchState.STARTED:
            tasks[each.task_status or ""] += each.count
    return {
        "states": {state: states[state] for state in ("started", "dead", "skipped")},
        "task_statuses": [{"task_status": status or None, "count": tasks[status]} for status in sorted(tasks)],
    }


def _slots(changed: Sequence[Changed], since: datetime) -> list[Json]:
    counts: list[Counter[str]] = [Counter() for _ in range(SLOTS)]
    for each in changed:
        counts[max(0, min(each.slot, SLOTS - 1))][_kind(each)] += each.count
    return [
        {
            "from_at": rfc3339(since + place * SLOT),
            **{kind: each[kind] for kind in ("started", "failed", "dead", "skipped")},
        }
        for place, each in enumerate(counts)
    ]


def _kind(each: Changed) -> str:
    failed = each.task_status in {TaskStatus.FAILED.value, TaskStatus.CANCELED.value}
    return "failed" if each.state is DispatchState.STARTED and failed else each.state.value


# -- sources --------------------------------------------------------------------------------------------


def source_records(
    tx: Connection,
    settings: Settings,
    board: Mapping[str, Seen],
    failures: Mapping[str, DispatcherError],
    now: datetime,
) -> tuple[Record, ...]:
    """Return each configured source: listings by root, then notifications in the order of the configuration."""
    records: list[Record] = []
    roots = {(each.bucket, each.root): each for each in snapshots.statistics(tx)}
    if settings.poll is not None:
        for bucket in settings.rules.buckets():
            for root in settings.rules.roots(bucket):
                name = f"poll:{bucket}/{root}"
                listing = roots.get((bucket, root))
                known = _source(name, "poll", board.get(name, Seen()), failures.get(f"poll:{bucket}"))
                records.append({**known, "listing": _listing(listing), "lag_seconds": _lag(listing, now)})
    for source in settings.sources:
        seen = board.get(source.name, Seen())
        known = _source(source.name, _kind_of(source), seen, failures.get(source.name))
        lag = None if seen.lag is None else round(seen.lag.total_seconds(), 3)
        records.append({**known, "listing": None, "lag_seconds": lag})
    return tuple(records)


def _source(name: str, kind: str, seen: Seen, failure: DispatcherError | None) -> dict[str, Json]:
    """Return what is known of a source. A listing's failure is that of its bucket: it is told while it fails."""
    failing = failure is not None and (seen.failing or kind != "poll")
    return {
        "source": name,
        "kind": kind,
        "sightings": seen.sightings,
        "last_sighting_at": rfc3339(seen.sighted_at),
        "last_answer_at": rfc3339(seen.answered_at),
        "error": None
        if failure is None or not failing
        else {"message": failure.message, "hint": failure.hint, "at": rfc3339(seen.failed_at)},
    }


def _listing(root: RootStatistics | None) -> Json:
    return None if root is None else root_json(root)


def _lag(root: RootStatistics | None, now: datetime) -> float | None:
    """Return how long ago the last complete pass ended: what was uploaded since is not seen by it yet."""
    return None if root is None or root.listed_at is None else round((now - root.listed_at).total_seconds(), 3)


def _kind_of(source: SourceSettings) -> str:
    match source:
        case SmqSettings():
            return "smq"
        case SqsSettings():
            return "sqs"
        case FolderSettings():
            return "folder"
        case _:
            return "webhook"

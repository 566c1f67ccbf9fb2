"""What the front half tells a meter: of a batch, of the rows it became, and of a pass."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING

from dispatcher.core.observations import (
    FILE,
    LISTING,
    NO_RULE,
    Judged,
    LetGo,
    PassEnded,
    Quarantined,
    Recorded,
    Sighted,
    SourceAnswered,
    unmetered,
)
from dispatcher.core.rules import Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from dispatcher.core.events import ObjectEvent
    from dispatcher.core.observations import Meter, Observation
    from dispatcher.core.rules import RuleSet
    from dispatcher.ledger.recording import NewDispatch
    from dispatcher.ports import Batch
    from dispatcher.sources.bucket import PassReport


def count_batch(meter: Meter, batch: Batch, ours: Sequence[ObjectEvent], rules: RuleSet) -> None:
    """Tell what a batch brought, and what the rules say of `ours`, its events of known buckets."""
    sighted = Counter(
        (event.source, form or (LISTING if event.listed else FILE))
        for event, form in zip_longest(batch.events, batch.formats)
        if event is not None
    )
    for (source, form), count in sighted.items():
        meter(Sighted(source, form, count))
    source = next((event.source for event in batch.events), next((part.source for part in batch.undecodable), ""))
    for reason, count in Counter(batch.dropped).items():
        meter(LetGo(source, reason, count))
    for name, count in Counter(part.source for part in batch.undecodable).items():
        meter(Quarantined(name, count))
    judged: Counter[tuple[str, str]] = Counter()
    for event in ours:
        verdicts = rules.near(event.bucket, event.key, event.size)
        judged.update([(each.rule.id, each.reason.value) for each in verdicts] or [(NO_RULE, Reason.PREFIX.value)])
    for (rule, reason), count in judged.items():
        meter(Judged(rule, reason, count))


def rows_only(meter: Meter) -> Meter:
    """Return a meter that is told of new rows alone: for sightings that are taken a second time."""
    if meter is unmetered:
        return unmetered

    def told(seen: Observation, /) -> None:
        if isinstance(seen, Recorded):
            meter(seen)

    return told


def count_recorded(meter: Meter, rows: Sequence[NewDispatch], recorded: Collection[str], now: datetime) -> None:
    """Tell which rows are new, and how long after its object's time each was committed."""
    new = set(recorded)
    for row in rows:
        if row.dispatch_id in new:
            lag = max(timedelta(), now - row.modified_at) if row.live and row.modified_at is not None else None
            meter(Recorded(row.rule_id, row.source, lag))


def count_pass(meter: Meter, source: str, report: PassReport) -> None:
    """Tell what a pass over a listing did."""
    meter(
        PassEnded(
            source=source,
            requests=report.requests,
            bytes=report.bytes,
            listed=report.listed,
            segments_skipped=report.segments_skipped,
            segments_parsed=report.segments_parsed,
            took=timedelta(seconds=report.seconds),
            complete=report.complete,
        )
    )
    if report.complete:
        meter(SourceAnswered(source))

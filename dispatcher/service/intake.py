"""The front half: sightings in, rows out.

A batch becomes dispatches and the source's progress in one transaction; only then is the source
acknowledged. Intake never calls a service and never waits for one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

from dispatcher import crashpoints
from dispatcher.core.dispatch import DispatchState, StateReason, content_identity, dispatch_id
from dispatcher.core.observations import unmetered
from dispatcher.ledger import announcing, quarantine, recording, sightings, snapshots
from dispatcher.ledger.recording import NewDispatch
from dispatcher.service.counting import count_batch, count_recorded
from dispatcher.service.health import Health
from dispatcher.service.logs import get_logger
from dispatcher.service.strangers import Strangers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from dispatcher.core.events import ObjectEvent
    from dispatcher.core.observations import Meter
    from dispatcher.core.rules import Rule, RuleSet
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ports import Batch, Undecodable

MOST_ROWS = 1_000
"""Rows written by one statement of `recording.record`."""

GROWING_SETTLE = timedelta(minutes=5)
"""How long an object that may be appended to must be still, where the rule has no `settle`."""

SOURCE_EXISTING = "existing"
"""`source` of a dispatch for an object older than its rule: the operator asked for it, no budget counts it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one batch, or several added up, brought."""

    events: int = 0
    recorded: int = 0
    known: int = 0
    undecided: int = 0
    quarantined: int = 0

    def __add__(self, other: Taken) -> Taken:
        return Taken(
            self.events + other.events,
            self.recorded + other.recorded,
            self.known + other.known,
            self.undecided + other.undecided,
            self.quarantined + other.quarantined,
        )


@dataclass(frozen=True)
class Coverage:
    """What the sources of notifications tell of.

    `announced`: the buckets of which they tell; there a matched object without a notification counts as
    missed. `growing`: the buckets of whose appended objects they tell; there an object that a listing brings
    may be one, and waits until it is still.
    """

    announced: frozenset[str] = frozenset()
    growing: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Intake:
    """Writes what sources bring. Safe to use from several threads: what it remembers is only what it logged.

    `first_revision` tells since which rule-set revision each rule is there, and `since` when that was, by
    our clock; `shadow` records everything as skipped (SHADOW), so that nothing is ever called. `wake` is
    called after rows were committed.
    """

    ledger: Ledger
    rules: RuleSet
    first_revision: Mapping[str, int]
    clock: Callable[[], datetime]
    wake: Callable[[], None]
    shadow: bool = False
    since: Mapping[str, datetime] = field(default_factory=dict)
    coverage: Coverage = field(default_factory=Coverage)
    strangers: Strangers = field(default_factory=Strangers)
    health: Health = field(default_factory=Health)
    meter: Meter = unmetered

    def take(self, batch: Batch) -> Taken:
        """Commit a batch and acknowledge it. Idempotent: the same batch again adds nothing.

        What cannot be decoded goes to quarantine, what cannot be decided yet waits as a sighting, and what
        no rule could match is let go.
        """
        with self.health.committing():
            return self._take(batch)

    def _take(self, batch: Batch) -> Taken:
        now = self.clock()
        ours = self.strangers.without(batch.events, self.rules.buckets())
        decided = [event for event in ours if event.decided]
        undecided = [
            event for event in ours if not event.decided and self.rules.matching(event.bucket, event.key, None)
        ]
        rows = [row for event in decided for row in self._rows(event)]
        recorded: list[str] = []
        superseded: list[str] = []
        known = quarantined = 0
        with self.ledger.write() as tx:
            for chunk in _chunks(rows):
                result = recording.record(tx, chunk, now)
                recorded += result.inserted
                superseded += result.superseded
                known += result.known
            if undecided:
                sightings.record(tx, undecided, now)
            if batch.undecodable:
                quarantined = quarantine.record(tx, batch.undecodable, now)
            self._note_announcements(tx, ours, rows, set(recorded), now)
            if batch.progress is not None:
                snapshots.apply(tx, batch.progress)
            crashpoints.reach("before_record_commit")
        crashpoints.reach("after_record_commit")
        if self.meter is not unmetered:
            count_batch(self.meter, batch, ours, self.rules)
            count_recorded(self.meter, rows, recorded, self.clock())
        self._tell(rows, recorded, superseded)
        _tell_quarantined(batch.undecodable)
        if recorded:
            self.wake()
        batch.ack()
        return Taken(len(batch.events), len(recorded), known, len(undecided), quarantined)

    def _note_announcements(
        self, tx: Connection, events: Sequence[ObjectEvent], rows: Sequence[NewDispatch], new: set[str], now: datetime
    ) -> None:
        """Note which objects a listing brought before their notification, and whose notifications came."""
        for bucket in self.coverage.announced & {event.bucket for event in events}:
            told = [event.key for event in events if event.bucket == bucket and not event.listed]
            if told:
                announcing.announced(tx, bucket, told)
            listed = {event.key for event in events if event.bucket == bucket and event.listed}
            fresh = [
                row.key
                for row in rows
                if row.bucket == bucket
                and row.key in listed
                and row.dispatch_id in new
                and row.source != SOURCE_EXISTING
            ]
            for start in range(0, len(fresh), MOST_ROWS):
                some = fresh[start : start + MOST_ROWS]
                announcing.listed(tx, bucket, set(some) - sightings.waits_for(tx, bucket, some), now)

    def _rows(self, event: ObjectEvent) -> Iterator[NewDispatch]:
        for rule in self.rules.matching(event.bucket, event.key, event.size):
            existing = self._is_existing(rule, event)
            if existing is None or (existing and not self._wants_existing(rule, event)):
                continue
            yield self._row(rule, event, SOURCE_EXISTING if existing else event.source)

    def _is_existing(self, rule: Rule, event: ObjectEvent) -> bool | None:
        """Tell whether the object is older than the rule; None when it was decided for it before."""
        if event.known_revision is not None:
            return True if event.known_revision < self.first_revision[rule.id] else None
        since = self.since.get(rule.id)
        if event.listed or since is None:
            return False
        # Of a notification only its time tells: the moment of the event, or that of the content if it is
        # later, by whole seconds as stores write them.
        times = [at for at in (event.happened_at, event.modified_at) if at is not None]
        return bool(times) and max(times) < since.replace(microsecond=0)

    @staticmethod
    def _wants_existing(rule: Rule, event: ObjectEvent) -> bool:
        if not rule.existing.dispatch:
            return False
        since = rule.existing.since
        made = event.modified_at or event.happened_at
        return since is None or (made is not None and made >= since)

    def _row(self, rule: Rule, event: ObjectEvent, source: str) -> NewDispatch:
        assert event.etag is not None  # noqa: S101 - `take` passes only decided events
        assert event.size is not None  # noqa: S101 - as above
        identity = content_identity(event.etag, event.size)
        growing = event.growing or (event.listed and event.bucket in self.coverage.growing)
        return NewDispatch(
            dispatch_id=dispatch_id(rule.id, event.bucket, event.key, identity),
            rule_id=rule.id,
            bucket=event.bucket,
            key=event.key,
            etag=event.etag,
            size=event.size,
            run="",
            source=source,
            modified_at=event.modified_at,
            aliases=tuple(dispatch_id(old, event.bucket, event.key, identity) for old in rule.was),
            settle=rule.settle or (GROWING_SETTLE if growing else None),
            growing=growing,
            state=DispatchState.SKIPPED if self.shadow else DispatchState.PENDING,
            reason=StateReason.SHADOW if self.shadow else None,
        )

    def _tell(self, rows: list[NewDispatch], recorded: list[str], superseded: list[str]) -> None:
        log = get_logger()
        by_id = {row.dispatch_id: row for row in rows}
        for each in recorded:
            row = by_id[each]
            log.info(
                "dispatch.recorded",
                dispatch=each,
                rule=row.rule_id,
                bucket=row.bucket,
                key=row.key,
                etag=row.etag,
                size=row.size,
                source=row.source,
            )
        for each in superseded:
            log.info("dispatch.superseded", dispatch=each)


def _tell_quarantined(parts: Iterable[Undecodable]) -> None:
    for part in parts:
        get_logger().warning(
            "body.quarantined",
            source=part.source,
            reason=part.reason,
            bytes=len(part.body),
            hint="see: oss-dispatcher quarantine list; after a change of the source's format: quarantine retry",
        )


def _chunks(rows: Iterable[NewDispatch]) -> Iterator[list[NewDispatch]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, MOST_ROWS)):
        yield chunk

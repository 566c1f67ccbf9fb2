"""The front half: sightings in, rows out.

A batch becomes dispatches and the source's progress in one transaction; only then is the source
acknowledged. Intake never calls a service and never waits for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from dispatcher import crashpoints
from dispatcher.core.dispatch import DispatchState, StateReason, content_identity, dispatch_id
from dispatcher.ledger import recording, sightings, snapshots
from dispatcher.ledger.recording import NewDispatch
from dispatcher.service.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from dispatcher.core.events import ObjectEvent
    from dispatcher.core.rules import Rule, RuleSet
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ports import Batch

MOST_ROWS = 1_000
"""Rows written by one statement of `recording.record`."""

SOURCE_EXISTING = "existing"
"""`source` of a dispatch for an object older than its rule: the operator asked for it, no budget counts it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one batch, or several added up, brought."""

    events: int = 0
    recorded: int = 0
    known: int = 0
    undecided: int = 0

    def __add__(self, other: Taken) -> Taken:
        return Taken(
            self.events + other.events,
            self.recorded + other.recorded,
            self.known + other.known,
            self.undecided + other.undecided,
        )


@dataclass(frozen=True)
class Intake:
    """Writes what sources bring. Safe to use from several threads: it has no state of its own.

    `first_revision` tells since which rule-set revision each rule is there; `shadow` records
    everything as skipped (SHADOW), so that nothing is ever called. `wake` is called after rows
    were committed.
    """

    ledger: Ledger
    rules: RuleSet
    first_revision: Mapping[str, int]
    clock: Callable[[], datetime]
    wake: Callable[[], None]
    shadow: bool = False

    def take(self, batch: Batch) -> Taken:
        """Commit a batch and acknowledge it. Idempotent: the same batch again adds nothing."""
        now = self.clock()
        decided = [event for event in batch.events if event.etag is not None and event.size is not None]
        undecided = [event for event in batch.events if event.etag is None or event.size is None]
        rows = [row for event in decided for row in self._rows(event)]
        recorded: list[str] = []
        superseded: list[str] = []
        known = 0
        with self.ledger.write() as tx:
            for chunk in _chunks(rows):
                result = recording.record(tx, chunk, now)
                recorded += result.inserted
                superseded += result.superseded
                known += result.known
            if undecided:
                sightings.record(tx, undecided, now)
            if batch.progress is not None:
                snapshots.apply(tx, batch.progress)
            crashpoints.reach("before_record_commit")
        crashpoints.reach("after_record_commit")
        batch.ack()
        self._tell(rows, recorded, superseded)
        if recorded:
            self.wake()
        return Taken(len(batch.events), len(recorded), known, len(undecided))

    def _rows(self, event: ObjectEvent) -> Iterator[NewDispatch]:
        for rule in self.rules.matching(event.bucket, event.key, event.size):
            existing = self._is_existing(rule, event)
            if existing is None or (existing and not self._wants_existing(rule, event)):
                continue
            yield self._row(rule, event, SOURCE_EXISTING if existing else event.source)

    def _is_existing(self, rule: Rule, event: ObjectEvent) -> bool | None:
        """Tell whether the object is older than the rule; None when it was decided for it before."""
        if event.known_revision is None:
            return False
        return True if event.known_revision < self.first_revision[rule.id] else None

    @staticmethod
    def _wants_existing(rule: Rule, event: ObjectEvent) -> bool:
        if not rule.existing.dispatch:
            return False
        since = rule.existing.since
        return since is None or (event.modified_at is not None and event.modified_at >= since)

    def _row(self, rule: Rule, event: ObjectEvent, source: str) -> NewDispatch:
        assert event.etag is not None  # noqa: S101 - `take` passes only decided events
        assert event.size is not None  # noqa: S101 - as above
        identity = content_identity(event.etag, event.size)
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
            settle=rule.settle,
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


def _chunks(rows: Iterable[NewDispatch]) -> Iterator[list[NewDispatch]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, MOST_ROWS)):
        yield chunk

"""Rows that may be called, and rows that are ours to call, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dispatcher.core.calls import api_of
from dispatcher.core.events import decode_key
from dispatcher.core.outcomes import Attempted
from dispatcher.ledger.tables import Lane

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Row

    from dispatcher.core.calls import Call
    from dispatcher.ledger.sending import Incarnation


@dataclass(frozen=True, slots=True)
class DueDispatch:
    """A row that may be called now. `attempt` is the number of its last attempt, `failures` those that count."""

    dispatch_id: str
    rule_id: str
    bucket: str
    key: str
    etag: str
    size: int
    run: str
    source: str
    attempt: int
    failures: int
    lane: Lane
    next_at: datetime
    modified_at: datetime | None
    first_seen_at: datetime
    first_attempt_at: datetime | None
    input_media_id: str | None = None
    repetition: Repetition | None = None
    backfill: int | None = None


@dataclass(frozen=True, slots=True)
class Repetition:
    """An unanswered call to be sent again as it was: its attempt, its intent, and the call itself."""

    attempt: int
    unanswered_since: datetime
    call: Call


@dataclass(frozen=True, slots=True)
class Claim:
    """A row that is ours to call: its intent is in the ledger."""

    dispatch: DueDispatch
    attempt: int
    call: Call
    incarnation: Incarnation
    intent_at: datetime

    @property
    def attempted(self) -> Attempted:
        """What `decide` asks of a call that ended, once it did not start the dispatch."""
        item = self.dispatch
        return Attempted(
            api=api_of(self.call),
            failures=item.failures + 1,
            intent_at=self.intent_at,
            due_at=item.next_at,
            first_attempt_at=item.first_attempt_at or self.intent_at,
            unanswered_since=None if item.repetition is None else item.repetition.unanswered_since,
        )


def due_dispatch(row: Row[Any], due_at: datetime, repetition: Repetition | None = None) -> DueDispatch:
    """Return a row of `dispatches` as one that may be called from `due_at` on."""
    return DueDispatch(
        dispatch_id=row.dispatch_id,
        rule_id=row.rule_id,
        bucket=row.bucket,
        key=decode_key(row.key),
        etag=row.etag,
        size=row.size,
        run=row.run,
        source=row.source,
        attempt=row.attempt,
        failures=row.attempts,
        lane=Lane(row.lane),
        next_at=due_at,
        modified_at=row.modified_at,
        first_seen_at=row.first_seen_at,
        first_attempt_at=row.first_attempt_at,
        input_media_id=row.input_media_id,
        repetition=repetition,
        backfill=row.backfill,
    )

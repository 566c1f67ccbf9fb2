"""What is known of the calls, append-only: an outcome is added, never changed or refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from sqlalchemy import insert

from dispatcher.core.outcomes import (
    NotSent,
    Outcome,
    Registered,
    Rejected,
    Started,
    Throttled,
    Unauthorized,
    Uncertain,
)
from dispatcher.ledger.tables import outcomes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection


class Evidence(StrEnum):
    """What told an outcome."""

    CALL = "call"
    SWEEP = "sweep"
    RECOVERY = "recovery"
    GIVEN_BACK = "given_back"


@dataclass(frozen=True, slots=True)
class OutcomeText:
    """An outcome as columns and as JSON shows it."""

    kind: str
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    task_id: str | None = None


def outcome_text(outcome: Outcome) -> OutcomeText:  # noqa: PLR0911 - one for each case of the union
    """Return the parts of an outcome. A reason in our own words is a message, not a code."""
    match outcome:
        case Started(task_id=task_id, request_id=request_id):
            return OutcomeText("started", request_id=request_id, task_id=task_id)
        case Registered(media_id=media_id, request_id=request_id):
            return OutcomeText("registered", message=f"media asset {media_id}", request_id=request_id)
        case Throttled(code=code, message=message, request_id=request_id):
            return OutcomeText("throttled", code, message, request_id)
        case Rejected(code=code, message=message, request_id=request_id):
            return OutcomeText("rejected", code, message, request_id)
        case Unauthorized(code=code, message=message, request_id=request_id):
            return OutcomeText("unauthorized", code, message, request_id)
        case NotSent(reason=reason):
            return OutcomeText("not_sent", message=reason)
        case Uncertain(reason=reason, message=message, request_id=request_id):
            return OutcomeText(
                "uncertain", message=f"{reason}: {message}" if message else reason, request_id=request_id
            )
        case _:
            assert_never(outcome)


def outcome_row(  # noqa: PLR0913, PLR0917 - one argument for each column
    dispatch_id: str, attempt: int, outcome: Outcome, evidence: Evidence, ended_at: datetime, now: datetime
) -> dict[str, object]:
    """Return the row of table `outcomes` for an outcome."""
    text = outcome_text(outcome)
    return {
        "dispatch_id": dispatch_id,
        "attempt": attempt,
        "kind": text.kind,
        "code": text.code,
        "message": text.message,
        "request_id": text.request_id,
        "task_id": text.task_id,
        "evidence": evidence.value,
        "ended_at": ended_at,
        "recorded_at": now,
    }


def append_outcomes(tx: Connection, rows: Sequence[Mapping[str, object]]) -> None:
    """Append rows made by `outcome_row`."""
    if rows:
        tx.execute(insert(outcomes), list(rows))

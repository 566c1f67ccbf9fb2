"""A dispatch as JSON (the public contract's fields) and as the lines of its time line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dispatcher.cli.output import Json, brief_time, rfc3339
from dispatcher.core.calls import Endpoint
from dispatcher.core.parameters import masked_json, parameters_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from dispatcher.ledger.browse import AttemptView, DispatchDetail, DispatchView, OutcomeView


def dispatch_json(view: DispatchView) -> dict[str, Json]:
    """Return one dispatch with exactly the fields of the contract."""
    error = view.last_error
    return {
        "dispatch_id": view.dispatch_id,
        "rule": view.rule,
        "bucket": view.bucket,
        "key": view.key,
        "etag": view.etag,
        "size": view.size,
        "run": view.run,
        "state": view.state.value,
        "reason": view.reason.value if view.reason is not None else None,
        "source": view.source,
        "attempts": view.attempts,
        "next_at": rfc3339(view.next_at),
        "workflow": view.workflow,
        "task_id": view.task_id,
        "task_status": view.task_status,
        "task_error": view.task_error,
        "request_id": view.request_id,
        "first_seen_at": rfc3339(view.first_seen_at),
        "started_at": rfc3339(view.started_at),
        "task_finished_at": rfc3339(view.task_finished_at),
        "updated_at": rfc3339(view.updated_at),
        "last_error": None
        if error is None
        else {"code": error.code, "message": error.message, "request_id": error.request_id},
    }


def detail_json(detail: DispatchDetail) -> dict[str, Json]:
    """Return everything that is known of one dispatch. Of a pruned one its id, state and task are left."""
    known: dict[str, Json] = {
        "dispatch_id": detail.dispatch_id,
        "state": detail.state.value,
        "task_id": detail.task_id,
    }
    if detail.view is not None:
        known = dispatch_json(detail.view)
    return {
        **known,
        "pruned": detail.view is None,
        "double_starts": list(detail.double_starts),
        "calls": [_attempt_json(each) for each in detail.attempts],
        "outcomes": [_outcome_json(each) for each in detail.outcomes],
    }


def _attempt_json(attempt: AttemptView) -> Json:
    return {
        "attempt": attempt.attempt,
        "intent_at": rfc3339(attempt.intent_at),
        "region": attempt.region,
        "endpoint": attempt.endpoint,
        "action": attempt.api.value,
        "request": {
            name: masked_json(value) if name == "output_media_config" else value
            for name, value in json.loads(attempt.request).items()
        },
    }


def _outcome_json(outcome: OutcomeView) -> Json:
    return {
        "attempt": outcome.attempt,
        "outcome": outcome.kind,
        "code": outcome.code,
        "message": outcome.message,
        "request_id": outcome.request_id,
        "task_id": outcome.task_id,
        "evidence": outcome.evidence,
        "ended_at": rfc3339(outcome.ended_at),
    }


def timeline(detail: DispatchDetail) -> Iterator[str]:
    """Yield the lines that tell what happened to a dispatch, in order of time."""
    view = detail.view
    if view is None:
        task = f", task {detail.task_id}" if detail.task_id else ""
        yield f"{detail.dispatch_id}: {detail.state}{task}; its detail was pruned (ledger.keep), the fact stays"
        return
    yield f"{view.dispatch_id}: rule {view.rule}, bucket {view.bucket}, key {view.key}"
    events: list[tuple[datetime, str]] = [
        (view.first_seen_at, f"seen by {view.source}: etag {view.etag}, {view.size} bytes"),
        (view.first_seen_at, f"matched rule {view.rule}"),
    ]
    events += [(each.intent_at, _sent(each)) for each in detail.attempts]
    events += [(each.ended_at, _ended(each)) for each in detail.outcomes]
    if view.task_finished_at is not None:
        failed = f": {view.task_error}" if view.task_error else ""
        events.append((view.task_finished_at, f"task {view.task_id} ended: {view.task_status}{failed}"))
    # Stable: of one moment, what the ledger wrote first comes first.
    for at, text in sorted(events, key=lambda event: event[0]):
        yield f"  {brief_time(at)}  {text}"
    for task_id in detail.double_starts:
        yield f"  started twice: task {task_id} is a second one"
    # A call that was not made has no outcome to tell why.
    why = f": {view.last_error.message}" if view.last_error is not None and not detail.attempts else ""
    yield f"  now: {state_text(view)}{_due(view)}{why}"


def state_text(view: DispatchView) -> str:
    """Return state, reason and the task's status in a few words."""
    reason = f" ({view.reason})" if view.reason is not None else ""
    task = f", task {view.task_status}" if view.task_status else ""
    return f"{view.state}{reason}{task}"


def _due(view: DispatchView) -> str:
    return f", next at {brief_time(view.next_at)}" if view.next_at is not None else ""


def _sent(attempt: AttemptView) -> str:
    from dispatcher.ledger.calls import call_from_text  # noqa: PLC0415 - only where a ledger is read

    call = call_from_text(Endpoint(attempt.region, attempt.endpoint), attempt.request, attempt.api)
    sent = parameters_of(call)
    # The time line names first what was started, then what it was given.
    what = sent.pop("WorkflowId", "")
    given = ", ".join(f"{name} {text}" for name, text in sent.items())
    return f"attempt {attempt.attempt}: {attempt.api}{' ' if what else ''}{what} at {attempt.endpoint}, {given}"


def _ended(outcome: OutcomeView) -> str:
    facts = (outcome.code, outcome.message, outcome.task_id and f"task {outcome.task_id}")
    said = ", ".join(each for each in facts if each)
    request = f" (RequestId {outcome.request_id})" if outcome.request_id else ""
    told_by = "" if outcome.evidence == "call" else f", told by {outcome.evidence}"
    return f"attempt {outcome.attempt}: {outcome.kind}{': ' if said else ''}{said}{request}{told_by}"

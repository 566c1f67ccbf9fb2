"""A batch as JSON and as lines: as the service tells it, and as it would be created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.cli.job_showing import lines_of
from dispatcher.cli.output import Json, rfc3339
from dispatcher.core.batches import outputs_of
from dispatcher.service.checking import check_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatcher.core.batches import Batch, BatchAction
    from dispatcher.service.batching import BatchPlan


def batch_json(batch: Batch) -> dict[str, Json]:
    """Return a batch as the service tells it."""
    return {
        "batch_id": batch.batch_id,
        "state": batch.state,
        "phase": batch.phase,
        "marker": batch.marker,
        "error": batch.error,
        "bucket": batch.bucket,
        "prefix": batch.prefix,
        "match_expressions": list(batch.match_expressions),
        "actions": [_action_json(action) for action in batch.actions],
        "service_role": batch.service_role,
        "mns_topic": batch.topic,
        "tags": dict(batch.tags),
        "submitted": batch.submitted,
        "failed": batch.failed,
        "skipped": batch.skipped,
        "created_at": rfc3339(batch.created_at),
        "updated_at": rfc3339(batch.updated_at),
    }


def plan_json(plan: BatchPlan) -> dict[str, Json]:
    """Return a batch before it is created: the request, its outputs, and what is doubtful."""
    checked = check_json(plan.problems)
    return {
        "ok": checked["ok"],
        "request": _request_json(plan),
        "outputs": [str(output) for output in outputs_of(plan.request.actions)],
        "problems": [dict(problem) for problem in checked["problems"]],  # type: ignore[arg-type] # a TypedDict of Json
        "notes": list(plan.notes),
    }


def lines_of_plan(plan: BatchPlan) -> Iterator[str]:
    """Yield the lines of a dry run."""
    yield "this batch would be created; nothing was sent:"
    yield from (f"  {line}" for line in lines_of(_request_json(plan)))
    for note in plan.notes:
        yield f"note: {note}"
    for problem in plan.problems:
        yield f"{problem.severity} {problem.code}: {problem.message}"
        yield f"  to do: {problem.hint}"


def _request_json(plan: BatchPlan) -> dict[str, Json]:
    request = plan.request
    return {
        "endpoint": request.endpoint.url,
        "project": request.project,
        "input": str(request.input),
        "match_expressions": list(request.match_expressions),
        "actions": [_action_json(action) for action in request.actions],
        "service_role": request.service_role,
        "mns_topic": request.topic,
        "tags": dict(request.tags),
    }


def _action_json(action: BatchAction) -> dict[str, Json]:
    return {
        "name": action.name,
        "parameters": list(action.parameters),
        "fast_fail_policy": None if action.fast_fail is None else action.fast_fail.value,
    }

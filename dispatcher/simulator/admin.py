"""The loopback admin path of the simulator: faults, triggers, journal and state. Not signed.

GET  /simulator/health    {"ok": true, "requests": n, "accepted": n}: API requests, and started tasks
GET  /simulator/journal   one JSON line for each accepted start
GET  /simulator/calls     one JSON line for each accepted call of the other APIs that change something
GET  /simulator/wire      one JSON line for each API request, of the last 10,000
                          both with their parameters as they arrived; ?api=NAME picks one API
GET  /simulator/deliveries  one JSON line for each completion callback, with its outcome
GET  /simulator/tasks     [{"task_id", "workflow_id", "status", "task_input", "user_data", "created_at"}]
GET  /simulator/jobs      [{"job_id", "status", "output_url", "user_data", "created_at"}]
GET  /simulator/media     [{"media_id", "input_url", "registered_at"}]
GET  /simulator/batches   [{"id", "project", "state", "tags", "created_at"}]
POST /simulator/faults    replaces the fault plan; {} ends all faults. Fields, each optional:
                          script: ["accept-hang", {"fault": "5xx-after", "action": "…", "times": 2}, …]
                          rates: {"5xx-before": 0.1} or [{"fault", "probability", "action"}]
                          denied: {"ListWorkflowTasks": "NoPermission"}, arrears: true,
                          latency_ms: 20, seed: 1
POST /simulator/trigger   {"workflow_id", "media"}: a start as by the built-in trigger -> {"task_id"}
POST /simulator/quick-jobs  a quick-production job for ListBatchMediaProducingJobs, until the simulator ends:
                          {"job_id"} and optionally job_type, status, created_at, modified_at, completed_at
                          (as 2026-01-31T08:00:00Z) and the texts user_data, input_config, editing_config,
                          output_config, extend
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.simulator.plans import plan_from_json, quick_job_from_json
from dispatcher.simulator.replies import Answer, json_answer
from dispatcher.simulator.tasks import MediaInput
from dispatcher.simulator.times import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from dispatcher.simulator.account import Account
    from dispatcher.simulator.journal import JournalLine
    from dispatcher.simulator.service import SimulatedService
    from dispatcher.simulator.signature import SignedRequest
    from dispatcher.simulator.wire import WireCall

PREFIX = "/simulator/"


@dataclass(frozen=True, slots=True)
class Desk:
    """What an admin request can look at: the simulator at a moment. `requests` counts the API requests so far."""

    service: SimulatedService
    account: Account
    now: datetime
    requests: int


def answer_admin(request: SignedRequest, desk: Desk) -> Answer:
    """Answer one request of the admin path. Never raises for a bad request: it is answered with 400 or 404."""
    name = request.path.removeprefix(PREFIX)
    try:
        if request.method == "GET" and name in _STATES:
            return json_answer(200, _STATES[name](desk))
        if request.method == "GET" and name in _LINES:
            return _json_lines(_LINES[name](desk, dict(request.query).get("api")))
        if request.method == "POST" and name in _ORDERS:
            return json_answer(200, _ORDERS[name](desk, request.body))
    except ValueError as error:
        return json_answer(400, {"message": str(error)})
    return json_answer(404, {"message": "see the documentation of the simulator for its admin paths"})


def _json_lines(items: Sequence[JournalLine | WireCall]) -> Answer:
    lines = [json.dumps(item.to_json()) + "\n" for item in items]
    return Answer(200, "".join(lines).encode(), {"Content-Type": "application/jsonl"})


def _health(desk: Desk) -> dict[str, object]:
    return {"ok": True, "requests": desk.requests, "accepted": len(desk.account.tasks.entries())}


def _tasks(desk: Desk) -> list[dict[str, str]]:
    views = [
        view
        for entry in desk.account.tasks.entries()
        if (view := desk.account.tasks.get(entry.task_id, desk.now)) is not None
    ]
    return [
        {
            "task_id": view.entry.task_id,
            "workflow_id": view.entry.workflow_id,
            "status": str(view.status),
            "task_input": view.entry.task_input,
            "user_data": view.entry.user_data,
            "created_at": format_time(view.entry.at),
        }
        for view in views
    ]


def _jobs(desk: Desk) -> list[dict[str, str]]:
    views = [desk.account.jobs.view(call, desk.now) for call in desk.account.jobs.calls()]
    return [
        {
            "job_id": view.job_id,
            "status": str(view.status),
            "output_url": view.output_url,
            "user_data": view.call.parameters.get("UserData", ""),
            "created_at": format_time(view.call.at),
        }
        for view in views
    ]


def _media(desk: Desk) -> list[dict[str, str]]:
    return [
        {
            "media_id": asset.media_id,
            "input_url": asset.input_url,
            "registered_at": format_time(asset.registered_at),
        }
        for asset in desk.account.media.all()
    ]


def _batches(desk: Desk) -> list[dict[str, object]]:
    return [
        {
            "id": view.batch.batch_id,
            "project": view.batch.project,
            "state": str(view.state),
            "tags": view.batch.tags,
            "created_at": format_time(view.batch.created_at),
        }
        for view in desk.account.batches.all(desk.now)
    ]


def _set_faults(desk: Desk, body: bytes) -> dict[str, object]:
    desk.service.dice.replace(plan_from_json(body))
    return {"ok": True}


def _trigger(desk: Desk, body: bytes) -> dict[str, object]:
    fields = json.loads(body)
    if not isinstance(fields, dict) or not isinstance(fields.get("workflow_id"), str):
        raise ValueError('write {"workflow_id": "…", "media": "oss://bucket/key"}')  # noqa: TRY004 - bad input, not a bug
    media = str(fields.get("media", ""))
    MediaInput.parse(json.dumps({"Type": "OSS", "Media": media}))
    return {"task_id": desk.service.trigger(fields["workflow_id"], media)}


def _add_quick_job(desk: Desk, body: bytes) -> dict[str, object]:
    desk.account.quick.add(quick_job_from_json(body), desk.now)
    return {"ok": True}


_STATES: Mapping[str, Callable[[Desk], object]] = {
    "health": _health,
    "tasks": _tasks,
    "jobs": _jobs,
    "media": _media,
    "batches": _batches,
}
_LINES: Mapping[str, Callable[[Desk, str | None], Sequence[JournalLine | WireCall]]] = {
    "journal": lambda desk, _: desk.account.tasks.entries(),
    "calls": lambda desk, api: desk.account.calls(api),
    "wire": lambda desk, api: desk.service.wire.calls(api),
    "deliveries": lambda desk, _: desk.account.deliveries(),
}
_ORDERS: Mapping[str, Callable[[Desk, bytes], object]] = {
    "faults": _set_faults,
    "trigger": _trigger,
    "quick-jobs": _add_quick_job,
}

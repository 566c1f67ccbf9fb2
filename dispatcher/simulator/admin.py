"""The loopback admin path of the simulator: faults, triggers, journal and tasks. Not signed.

GET  /simulator/health    {"ok": true, "requests": n, "accepted": n}
GET  /simulator/journal   one JSON line for each accepted start
GET  /simulator/tasks     [{"task_id", "workflow_id", "status", "task_input", "user_data", "created_at"}]
POST /simulator/faults    replaces the fault plan; {} ends all faults. Fields, each optional:
                          script: ["accept-hang", {"fault": "5xx-after", "action": "…", "times": 2}, …]
                          rates: {"5xx-before": 0.1} or [{"fault", "probability", "action"}]
                          denied: {"ListWorkflowTasks": "NoPermission"}, arrears: true,
                          latency_ms: 20, seed: 1
POST /simulator/trigger   {"workflow_id", "media"}: a start as by the built-in trigger -> {"task_id"}
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.simulator.faults import START, Fault, FaultPlan, FaultRate, ScriptedFault
from dispatcher.simulator.replies import Answer, json_answer
from dispatcher.simulator.tasks import MediaInput
from dispatcher.simulator.times import format_time

if TYPE_CHECKING:
    from datetime import datetime

    from dispatcher.simulator.account import Account
    from dispatcher.simulator.service import SimulatedService

PREFIX = "/simulator/"
_PLAN_FIELDS = {"script", "rates", "denied", "arrears", "latency_ms", "seed"}


def plan_from_json(text: str | bytes) -> FaultPlan:
    """Return the plan of a JSON text. Raises ValueError that says which field is wrong."""
    fields = json.loads(text or b"{}")
    if not isinstance(fields, dict) or set(fields) - _PLAN_FIELDS:
        raise ValueError(f"a fault plan is an object with the fields {sorted(_PLAN_FIELDS)}")
    denied = fields.get("denied", {})
    if not isinstance(denied, dict) or not all(isinstance(code, str) for code in denied.values()):
        raise ValueError("denied: an object that gives the code of the refusal for each action")
    return FaultPlan(
        script=tuple(_scripted(each) for each in _list(fields.get("script", []), "script")),
        rates=tuple(_rates(fields.get("rates", []))),
        denied=denied,
        arrears=fields.get("arrears", False) is True,
        latency=timedelta(milliseconds=_number(fields.get("latency_ms", 0), "latency_ms")),
        seed=int(_number(fields.get("seed", 0), "seed")),
    )


def _scripted(each: object) -> ScriptedFault:
    if isinstance(each, str):
        return ScriptedFault(_fault(each))
    if not isinstance(each, dict):
        raise ValueError("script: a list of fault names or of objects with fault, action and times")  # noqa: TRY004 - bad input, not a bug
    name = each.get("fault")
    action = str(each.get("action", START))
    return ScriptedFault(
        None if name is None else _fault(name), action=action, times=int(_number(each.get("times", 1), "times"))
    )


def _rates(value: object) -> list[FaultRate]:
    if isinstance(value, dict):
        return [FaultRate(_fault(name), _number(share, "rates")) for name, share in value.items()]
    rates = []
    for each in _list(value, "rates"):
        if not isinstance(each, dict):
            raise ValueError("rates: an object, or a list of objects with fault, probability and action")  # noqa: TRY004 - bad input, not a bug
        share = _number(each.get("probability"), "probability")
        rates.append(FaultRate(_fault(each.get("fault")), share, str(each.get("action", START))))
    return rates


def _list(value: object, name: str) -> list[object]:
    if not isinstance(value, list):
        raise ValueError(f"{name}: a list")  # noqa: TRY004 - bad input, not a bug
    return value


def _fault(name: object) -> Fault:
    try:
        return Fault(str(name))
    except ValueError:
        raise ValueError(f"there is no fault {name!r}; write one of: {', '.join(Fault)}") from None


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"{name}: a number that is not negative")
    return value


def answer_admin(  # noqa: PLR0913 - one request and the three things it can look at
    method: str, path: str, body: bytes, *, service: SimulatedService, account: Account, now: datetime, requests: int
) -> Answer:
    """Answer one request of the admin path. Never raises for a bad request: it is answered with 400 or 404."""
    content: object = {"ok": True}
    try:
        match method, path.removeprefix(PREFIX):
            case "GET", "health":
                content = {"ok": True, "requests": requests, "accepted": len(account.tasks.entries())}
            case "GET", "journal":
                lines = [json.dumps(entry.to_json()) + "\n" for entry in account.tasks.entries()]
                return Answer(200, "".join(lines).encode(), {"Content-Type": "application/jsonl"})
            case "GET", "tasks":
                content = _tasks(account, now)
            case "POST", "faults":
                service.dice.replace(plan_from_json(body))
            case "POST", "trigger":
                content = {"task_id": _trigger(body, service)}
            case _:
                return json_answer(404, {"message": "see the documentation of the simulator for its admin paths"})
    except ValueError as error:
        return json_answer(400, {"message": str(error)})
    return json_answer(200, content)


def _trigger(body: bytes, service: SimulatedService) -> str:
    fields = json.loads(body)
    if not isinstance(fields, dict) or not isinstance(fields.get("workflow_id"), str):
        raise ValueError('write {"workflow_id": "…", "media": "oss://bucket/key"}')  # noqa: TRY004 - bad input, not a bug
    media = str(fields.get("media", ""))
    MediaInput.parse(json.dumps({"Type": "OSS", "Media": media}))
    return service.trigger(fields["workflow_id"], media)


def _tasks(account: Account, now: datetime) -> list[dict[str, str]]:
    views = [view for entry in account.tasks.entries() if (view := account.tasks.get(entry.task_id, now)) is not None]
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

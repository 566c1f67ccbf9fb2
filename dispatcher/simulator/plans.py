"""What the admin path is sent, as JSON: fault plans and quick-production jobs."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

from dispatcher.simulator.faults import START, Fault, FaultPlan, FaultRate, ScriptedFault
from dispatcher.simulator.settings import QuickJob
from dispatcher.simulator.times import parse_time

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


def quick_job_from_json(text: str | bytes) -> QuickJob:
    """Return the quick-production job of a JSON text. Raises ValueError that says what is wrong."""
    fields = json.loads(text)
    names = {field.name for field in dataclasses.fields(QuickJob)}
    if not isinstance(fields, dict) or set(fields) - names or not fields.get("job_id"):
        raise ValueError(f"a quick job is an object with job_id and some of the fields {sorted(names)}")
    if not all(isinstance(value, str) for value in fields.values()):
        raise ValueError("each field of a quick job is a text")
    times = {name: parse_time(value) for name, value in fields.items() if name.endswith("_at")}
    return QuickJob(**(fields | times))

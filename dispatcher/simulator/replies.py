"""What goes back to the caller: answers in the service's form, and what a fault makes of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dispatcher.simulator.faults import Fault
from dispatcher.simulator.signature import Refused, SignedRequest

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, sent as it is."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer until the client gives up."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection is reset."""


Reply = Answer | Hang | Drop


def json_answer(status: int, content: object, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer with a JSON body."""
    return Answer(status, json_bytes(content), headers or {})


def json_bytes(content: object) -> bytes:
    """Return the JSON text; half a surrogate pair, which UTF-8 cannot hold, becomes its JSON escape again."""
    return json.dumps(content, ensure_ascii=False).encode(errors="backslashreplace")


def error_answer(refused: Refused, request_id: str, request: SignedRequest) -> Answer:
    """Return the answer that tells a refusal."""
    content = {
        "RequestId": request_id,
        "HostId": request.headers.get("host", ""),
        "Code": refused.code,
        "Message": refused.message,
    }
    return json_answer(refused.status, content, refused.headers)


_REFUSALS = {
    Fault.ERROR_BEFORE: Refused(500, "InternalError", "The request has failed due to an internal error."),
    Fault.UNAVAILABLE: Refused(503, "ServiceUnavailable", "The service is temporarily unavailable."),
    Fault.THROTTLE: Refused(400, "Throttling.User", "Request was denied due to user flow control."),
    Fault.THROTTLE_503: Refused(503, "Throttling", "Request was denied due to request throttling."),
    Fault.THROTTLE_RETRY_AFTER: Refused(
        429, "Throttling.Api", "Request was denied due to api flow control.", {"x-acs-retry-after": "1500"}
    ),
    Fault.FORBIDDEN: Refused(403, "Forbidden.RAM", "User not authorized to operate on the specified resource."),
    Fault.NO_PERMISSION: Refused(403, "NoPermission", "You are not authorized to do this action."),
    Fault.ARREARS: Refused(403, "Arrearage", "Your account has an overdue payment."),
}


_SILENCE: dict[Fault, Reply] = {
    Fault.HANG_BEFORE: Hang(),
    Fault.HANG: Hang(),
    Fault.DROP_BEFORE: Drop(),
    Fault.DROP: Drop(),
    Fault.GARBLED_BEFORE: Answer(502, b"<html><body>502 Bad Gateway</body></html>", {"Content-Type": "text/html"}),
    Fault.GARBLED: Answer(200, b"<html><body>Welcome</body></html>", {"Content-Type": "text/html"}),
    Fault.EMPTY: Answer(200, b""),
}


def refusal(fault: Fault, request_id: str, request: SignedRequest) -> Reply:
    """Return the reply of a fault that strikes before acceptance."""
    return _SILENCE.get(fault) or error_answer(_REFUSALS[fault], request_id, request)


def distorted(answer: Answer, fault: Fault | None, request_id: str, request: SignedRequest) -> Reply:
    """Return what the caller sees of an accepted call."""
    if fault is None:
        return answer
    if fault is Fault.ERROR_AFTER:
        return error_answer(_REFUSALS[Fault.ERROR_BEFORE], request_id, request)
    if fault is Fault.NO_TASK_ID:
        return json_answer(200, {"RequestId": request_id})
    return _SILENCE[fault]

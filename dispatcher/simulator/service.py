"""The simulated service: one signed request in, one reply out. No sockets here.

Order of judgement: signature, action and version, permission and arrears, quota, the fault of the
call, parameters, acceptance. Codes that the documentation does not name are plausible inventions;
the dispatcher relies on none of them.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from dispatcher.simulator.actions import Parameters, get_task, list_tasks, read_start
from dispatcher.simulator.faults import START, Fault, FaultDice
from dispatcher.simulator.journal import JournalEntry, Origin
from dispatcher.simulator.signature import KeyPair, Refused, SignedRequest, Verifier
from dispatcher.simulator.tasks import CallQuota

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from dispatcher.simulator.settings import SimulatorSettings
    from dispatcher.simulator.tasks import TaskBook

VERSION = "2020-11-09"
READS = ("GetWorkflowTask", "ListWorkflowTasks")


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
    return Answer(status, json.dumps(content, ensure_ascii=False).encode(), headers or {})


class SimulatedService:
    """Answers requests by the account's tasks, quotas and faults. Thread-safe."""

    def __init__(
        self,
        settings: SimulatorSettings,
        book: TaskBook,
        clock: Callable[[], datetime],
        signing_clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._book = book
        self._clock = clock
        self._signing_clock = signing_clock
        self._verifier = Verifier(KeyPair(settings.access_key_id, settings.access_key_secret, settings.security_token))
        self._quotas = {START: CallQuota(settings.qps)} | {read: CallQuota(settings.read_qps) for read in READS}
        self.dice = FaultDice(settings.faults)

    def reply(self, request: SignedRequest) -> Reply:
        """Return the reply to one API request. Raises OSError if an accepted start cannot be journalled."""
        request_id = str(uuid.uuid4()).upper()
        try:
            action = self._admit(request)
            fault = self.dice.draw(action)
            if fault is not None and not fault.accepted:
                return _refuse(fault, request_id, request)
            content = self._perform(action, _parameters(request), request_id, fault)
        except Refused as refused:
            return _error(refused, request_id, request)
        return _distort(json_answer(200, content), fault, request_id, request)

    def trigger(self, workflow_id: str, media: str) -> str:
        """Start a task as the workflow's built-in trigger does: with no UserData. Return its id."""
        task_input = json.dumps({"Type": "OSS", "Media": media}, ensure_ascii=False)
        return self._accept(workflow_id, task_input, "", origin=Origin.TRIGGER)

    def _admit(self, request: SignedRequest) -> str:
        """Return the action that the request may perform, else raise Refused."""
        self._verifier.verify(request, self._signing_clock())
        action = request.headers["x-acs-action"]
        if request.headers["x-acs-version"] != VERSION:
            raise Refused(400, "InvalidVersion", "Specified parameter Version is not valid.")
        quota = self._quotas.get(action)
        if quota is None or request.path != "/":
            raise Refused(404, "InvalidAction.NotFound", "Specified api is not found.")
        plan = self.dice.plan
        if action in plan.denied:
            raise Refused(403, plan.denied[action], f"You are not authorized to do this action: ice:{action}.")
        if plan.arrears:
            raise Refused(403, "Arrearage", "Your account has an overdue payment.")
        if not quota.take(self._clock()):
            raise Refused(400, "Throttling.User", "Request was denied due to user flow control.")
        return action

    def _perform(self, action: str, parameters: Parameters, request_id: str, fault: Fault | None) -> object:
        now = self._clock()
        if action == START:
            start = read_start(parameters, self._settings)
            task_id = self._accept(
                start.workflow_id,
                start.task_input,
                start.user_data,
                request_id=request_id,
                skip=start.skip,
                fault=fault,
            )
            return {"RequestId": request_id, "TaskId": task_id}
        if action == "GetWorkflowTask":
            return {"RequestId": request_id, "WorkflowTask": get_task(parameters, self._book, now)}
        return {"RequestId": request_id} | list_tasks(parameters, self._book, now)

    def _accept(  # noqa: PLR0913 - the fields of one call
        self,
        workflow_id: str,
        task_input: str,
        user_data: str,
        *,
        request_id: str = "",
        skip: bool = False,
        fault: Fault | None = None,
        origin: Origin = Origin.CALL,
    ) -> str:
        entry = JournalEntry(
            at=self._clock(),
            task_id=uuid.uuid4().hex,
            workflow_id=workflow_id,
            task_input=task_input,
            user_data=user_data,
            request_id=request_id,
            skip_input_verification=skip,
            fault=fault,
            origin=origin,
        )
        self._book.accept(entry)
        return entry.task_id


def _parameters(request: SignedRequest) -> Parameters:
    """Return the parameters, from the query and from a form body."""
    pairs = list(request.query)
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        pairs += parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
    return dict(pairs)


def _error(refused: Refused, request_id: str, request: SignedRequest) -> Answer:
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


def _refuse(fault: Fault, request_id: str, request: SignedRequest) -> Reply:
    """Return the reply of a fault that strikes before acceptance."""
    return _SILENCE.get(fault) or _error(_REFUSALS[fault], request_id, request)


def _distort(answer: Answer, fault: Fault | None, request_id: str, request: SignedRequest) -> Reply:
    """Return what the caller sees of an accepted call."""
    if fault is None:
        return answer
    if fault is Fault.ERROR_AFTER:
        return _error(_REFUSALS[Fault.ERROR_BEFORE], request_id, request)
    if fault is Fault.NO_TASK_ID:
        return json_answer(200, {"RequestId": request_id})
    return _SILENCE[fault]

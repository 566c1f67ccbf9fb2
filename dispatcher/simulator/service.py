"""The simulated services: one signed request in, one reply out. No sockets here.

Order of judgement: signature, version and action, permission and arrears, quota, the fault of the
call, parameters, acceptance. Codes that the documentation does not name are plausible inventions;
the dispatcher relies on none of them.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, assert_never
from urllib.parse import parse_qsl

from dispatcher.simulator.actions.registry import ACTIONS, PRODUCTS, Changing, Reading, Starting
from dispatcher.simulator.actions.workflow import read_start
from dispatcher.simulator.faults import START, Fault, FaultDice
from dispatcher.simulator.journal import AcceptedCall, JournalEntry, Origin
from dispatcher.simulator.quotas import CallQuota
from dispatcher.simulator.replies import Reply, distorted, error_answer, json_answer, refusal
from dispatcher.simulator.settings import PRODUCING_QPS
from dispatcher.simulator.signature import KeyPair, Refused, SignedRequest, Verifier
from dispatcher.simulator.wire import WireCall, WireLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dispatcher.simulator.account import Account
    from dispatcher.simulator.actions.registry import Action
    from dispatcher.simulator.settings import SimulatorSettings

Accepted = JournalEntry | AcceptedCall


class SimulatedService:
    """Answers requests by the account's state, quotas and faults. Thread-safe.

    `on_accepted` is told of every start and every other call that was accepted for the first time.
    """

    def __init__(
        self,
        account: Account,
        clock: Callable[[], datetime],
        signing_clock: Callable[[], datetime],
        on_accepted: Callable[[Accepted], None] = lambda _: None,
    ) -> None:
        settings = account.settings
        self._account = account
        self._clock = clock
        self._signing_clock = signing_clock
        self._on_accepted = on_accepted
        self._verifier = Verifier(KeyPair(settings.access_key_id, settings.access_key_secret, settings.security_token))
        self._quotas = {name: CallQuota(_quota(name, action, settings)) for (_, name), action in ACTIONS.items()}
        self.dice = FaultDice(settings.faults)
        self.wire = WireLog()

    def reply(self, request: SignedRequest) -> Reply:
        """Return the reply to one API request. Raises OSError if an accepted call cannot be journalled."""
        call = _read(request, self._clock())
        fault: Fault | None = None
        code = ""
        try:
            action = self._admit(request)
            fault = self.dice.draw(call.api)
            if fault is not None and not fault.accepted:
                return refusal(fault, call.request_id, request)
            content = {"RequestId": call.request_id} | self._perform(action, call, fault)
        except Refused as refused:
            code = refused.code
            return error_answer(refused, call.request_id, request)
        finally:
            version = request.headers.get("x-acs-version", "")
            self.wire.add(WireCall(call.at, call.api, version, call.query, call.form, code, fault))
        return distorted(json_answer(200, content), fault, call.request_id, request)

    def trigger(self, workflow_id: str, media: str) -> str:
        """Start a task as the workflow's built-in trigger does: with no UserData. Return its id."""
        task_input = json.dumps({"Type": "OSS", "Media": media}, ensure_ascii=False)
        return self._start(
            JournalEntry(self._clock(), uuid.uuid4().hex, workflow_id, task_input, "", "", origin=Origin.TRIGGER)
        )

    def _admit(self, request: SignedRequest) -> Action:
        """Return the action that the request may perform, else raise Refused."""
        self._verifier.verify(request, self._signing_clock())
        name, version = request.headers["x-acs-action"], request.headers["x-acs-version"]
        if version not in PRODUCTS:
            raise Refused(400, "InvalidVersion", "Specified parameter Version is not valid.")
        action = ACTIONS.get((version, name))
        if action is None or request.path != "/":
            raise Refused(404, "InvalidAction.NotFound", "Specified api is not found.")
        plan = self.dice.plan
        if name in plan.denied:
            raise Refused(
                403, plan.denied[name], f"You are not authorized to do this action: {PRODUCTS[version]}:{name}."
            )
        if plan.arrears:
            raise Refused(403, "Arrearage", "Your account has an overdue payment.")
        if not self._quotas[name].take(self._clock()):
            raise Refused(400, "Throttling.User", "Request was denied due to user flow control.")
        return action

    def _perform(self, action: Action, call: AcceptedCall, fault: Fault | None) -> dict[str, object]:
        match action:
            case Starting():
                start = read_start(call.parameters, self._account)
                task_id = uuid.uuid4().hex
                texts = (start.workflow_id, start.task_input, start.user_data, call.request_id)
                return {"TaskId": self._start(JournalEntry(call.at, task_id, *texts, start.skip, fault))}
            case Reading():
                return action.answer(call.parameters, self._account, call.at)
            case Changing():
                return self._change(action, call, fault)
            case _:
                assert_never(action)

    def _start(self, entry: JournalEntry) -> str:
        self._account.add(entry)
        self._on_accepted(entry)
        return entry.task_id

    def _change(self, action: Changing, call: AcceptedCall, fault: Fault | None) -> dict[str, object]:
        if action.check_token is not None and call.client_token:
            action.check_token(call.client_token)
        faulty = AcceptedCall(call.at, call.api, call.request_id, call.query, call.form, {}, fault=fault)
        done = self._account.accept(faulty, lambda: action.decide(call.parameters, self._account, call.at))
        if not done.repeat:
            self._on_accepted(done)
        return dict(done.answer)


def _quota(name: str, action: Action, settings: SimulatorSettings) -> int | None:
    if name in settings.quotas:
        return settings.quotas[name]
    if name == START:
        return settings.qps
    if name == "SubmitMediaProducingJob":
        return PRODUCING_QPS
    return settings.read_qps if isinstance(action, Reading) else None


def _read(request: SignedRequest, at: datetime) -> AcceptedCall:
    """Return the call that a request makes, not yet answered: its parameters from the query and from a form body."""
    form: dict[str, str] = {}
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        form = dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    request_id = str(uuid.uuid4()).upper()
    return AcceptedCall(at, request.headers.get("x-acs-action", ""), request_id, dict(request.query), form, {})

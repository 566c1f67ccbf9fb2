"""The simulator refuses what the service's gateway refuses: raw requests, signed by hand."""

from __future__ import annotations

import hashlib
import http.client
import json
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.simulator.server import Simulator
from dispatcher.simulator.signature import KeyPair, Refused, SignedRequest, Verifier, sign, string_to_sign
from tests.simulator_fixtures import ACCESS_KEY_ID, ACCESS_KEY_SECRET, make_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.core.settings import Secret

QUERY = {"WorkflowId": "w1", "TaskInput": '{"Type":"OSS","Media":"oss://b/a *~+é.mp4"}'}


@dataclass(frozen=True)
class Raw:
    """A request before it is signed; each field can be made wrong after that."""

    query: Mapping[str, str] = field(default_factory=lambda: QUERY)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    method: str = "POST"
    path: str = "/"
    key_id: str = ACCESS_KEY_ID
    secret: Secret = ACCESS_KEY_SECRET
    leave_unsigned: str = ""
    authorization: str | None = None

    def signed(self, host: str) -> Raw:
        defaults = {
            "host": host,
            "x-acs-action": "StartWorkflow",
            "x-acs-version": "2020-11-09",
            "x-acs-date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "x-acs-signature-nonce": uuid.uuid4().hex,
            "x-acs-content-sha256": hashlib.sha256(self.body).hexdigest(),
        }
        headers = defaults | dict(self.headers)
        names = sorted(set(headers) - {self.leave_unsigned})
        request = SignedRequest(self.method, self.path, list(self.query.items()), headers, self.body)
        signature = sign(self.secret, string_to_sign(request, names))
        authorization = (
            f"ACS3-HMAC-SHA256 Credential={self.key_id},SignedHeaders={';'.join(names)},Signature={signature}"
        )
        return replace(self, headers=headers, authorization=authorization)


def send(simulator: Simulator, raw: Raw) -> tuple[int, str]:
    """Send a request as it is; return the status and the code of the answer (or the task id)."""
    connection = http.client.HTTPConnection(urlsplit(simulator.url).netloc, timeout=10)
    try:
        headers = dict(raw.headers) | ({"Authorization": raw.authorization} if raw.authorization else {})
        connection.request(raw.method, f"{raw.path}?{urlencode(raw.query)}", raw.body, headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        return answer.status, content.get("Code") or content.get("TaskId")
    finally:
        connection.close()


def signed(simulator: Simulator, raw: Raw | None = None) -> Raw:
    return (raw or Raw()).signed(urlsplit(simulator.url).netloc)


def test_a_well_signed_request_starts_a_task(simulator: Simulator) -> None:
    status, task_id = send(simulator, signed(simulator))
    assert (status, [entry.task_id for entry in simulator.calls()]) == (200, [task_id])


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        (Raw(secret=type(ACCESS_KEY_SECRET)("wrong")), (400, "SignatureDoesNotMatch")),
        (Raw(key_id="nobody"), (404, "InvalidAccessKeyId.NotFound")),
        (Raw(leave_unsigned="host"), (400, "IncompleteSignature")),
        (Raw(leave_unsigned="x-acs-date"), (400, "IncompleteSignature")),
        (Raw(headers={"x-acs-extra": "1"}, leave_unsigned="x-acs-extra"), (400, "IncompleteSignature")),
        (Raw(headers={"content-type": "text/plain"}, leave_unsigned="content-type"), (400, "IncompleteSignature")),
        (Raw(headers={"x-acs-date": "2020-01-01T00:00:00Z"}), (400, "InvalidTimeStamp.Expired")),
        (Raw(headers={"x-acs-date": "yesterday"}), (400, "InvalidTimeStamp.Format")),
        (Raw(headers={"x-acs-version": "2014-06-18"}), (400, "InvalidVersion")),
        (Raw(headers={"x-acs-action": "DeleteEverything"}), (404, "InvalidAction.NotFound")),
        (Raw(headers={"x-acs-content-sha256": "0" * 64}), (400, "SignatureDoesNotMatch")),
        (Raw(path="/other"), (404, "InvalidAction.NotFound")),
    ],
)
def test_a_badly_signed_request_is_refused(simulator: Simulator, raw: Raw, answer: tuple[int, str]) -> None:
    assert send(simulator, signed(simulator, raw)) == answer
    assert simulator.calls() == []


@pytest.mark.parametrize(
    "tampered",
    [
        {"query": QUERY | {"WorkflowId": "w2"}},
        {"query": QUERY | {"SkipInputVerification": "true"}},
        {"query": {"WorkflowId": "w1"}},
        {"body": b"x"},
        {"method": "GET"},
    ],
)
def test_a_request_changed_after_signing_is_refused(simulator: Simulator, tampered: dict[str, object]) -> None:
    good = signed(simulator)
    changed = Raw(**(vars(good) | tampered))
    assert send(simulator, changed) == (400, "SignatureDoesNotMatch")
    assert simulator.calls() == []


def test_changed_headers_and_a_cut_signature_are_refused(simulator: Simulator) -> None:
    good = signed(simulator)
    other_action = replace(good, headers=dict(good.headers) | {"x-acs-action": "GetWorkflowTask"})
    assert send(simulator, other_action) == (400, "SignatureDoesNotMatch")
    assert send(simulator, replace(good, authorization=(good.authorization or "")[:-1])) == (400, "IncompleteSignature")
    assert send(simulator, replace(good, authorization=None)) == (400, "IncompleteSignature")


def test_a_nonce_serves_once(simulator: Simulator) -> None:
    good = signed(simulator)
    assert send(simulator, good)[0] == 200
    assert send(simulator, good) == (400, "SignatureNonceUsed")
    assert len(simulator.calls()) == 1


def test_a_refused_request_does_not_use_its_nonce(simulator: Simulator) -> None:
    good = signed(simulator)
    assert send(simulator, replace(good, query={"WorkflowId": "w2"})) == (400, "SignatureDoesNotMatch")
    assert send(simulator, good)[0] == 200


@pytest.mark.parametrize(("age", "passes"), [(0, True), (899, True), (-899, True), (901, False), (-901, False)])
def test_a_date_is_good_for_fifteen_minutes(age: int, passes: bool) -> None:
    with Simulator(make_settings(), signing_clock=lambda: datetime.now(UTC) + timedelta(seconds=age)) as simulator:
        answer = send(simulator, signed(simulator))
    assert (answer[0] == 200) is passes


def test_parameters_may_travel_in_a_form(simulator: Simulator) -> None:
    form = Raw(query={}, body=urlencode(QUERY).encode(), headers={"content-type": "application/x-www-form-urlencoded"})
    assert send(simulator, signed(simulator, form))[0] == 200
    assert simulator.calls()[0].task_input == QUERY["TaskInput"]


@given(query=st.dictionaries(st.text(min_size=1), st.text(), max_size=4), body=st.binary(max_size=20))
def test_what_is_signed_verifies_and_any_other_secret_does_not(query: dict[str, str], body: bytes) -> None:
    query = {name: value for name, value in query.items() if (name + value).isprintable()}
    raw = Raw(query=query, body=body).signed("host")
    headers = dict(raw.headers) | {"authorization": raw.authorization or ""}
    request = SignedRequest(raw.method, raw.path, list(reversed(query.items())), headers, body)
    Verifier(KeyPair(ACCESS_KEY_ID, ACCESS_KEY_SECRET)).verify(request, datetime.now(UTC))
    with pytest.raises(Refused, match="SignatureDoesNotMatch"):
        Verifier(KeyPair(ACCESS_KEY_ID, type(ACCESS_KEY_SECRET)("other"))).verify(request, datetime.now(UTC))

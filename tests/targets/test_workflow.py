"""How every end of a StartWorkflow call becomes an Outcome: the official SDK against the simulator."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dispatcher.core.calls import Endpoint, WorkflowCall
from dispatcher.core.outcomes import NotSent, Outcome, Rejected, Started, Throttled, Unauthorized, Uncertain
from dispatcher.core.settings import Credentials, Secret
from dispatcher.simulator.faults import Fault, FaultPlan, ScriptedFault
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import SimulatedWorkflow
from dispatcher.targets.target import AlibabaTarget
from dispatcher.targets.tasks import AlibabaTasks
from tests.simulator_fixtures import ACCESS_KEY_ID, ACCESS_KEY_SECRET, REGION, endpoint_of, make_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dispatcher.ports import Target, Tasks
    from dispatcher.targets.alibaba import AlibabaClients

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
MEDIA = "oss://media/in/a b+c%41~*é.mp4"


def call_to(endpoint: Endpoint, **changes: str | bool) -> WorkflowCall:
    values: dict[str, str | bool] = {
        "workflow_id": "w1",
        "task_input": json.dumps({"Type": "OSS", "Media": MEDIA}, ensure_ascii=False),
        "user_data": '{"DispatchId":"abcdefghijklmnopqrstuvwxyz.1"}',
    }
    return WorkflowCall(endpoint=endpoint, **(values | changes))  # type: ignore[arg-type]  # a table of texts and flags


def meet(simulator: Simulator, clients: AlibabaClients, fault: Fault, known: frozenset[str] = frozenset()) -> Outcome:
    simulator.set_faults(FaultPlan(script=(ScriptedFault(fault),)))
    return AlibabaTarget(clients, not_started_codes=known).start(call_to(endpoint_of(simulator)))


def test_the_adapters_fit_the_ports(clients: AlibabaClients) -> None:
    target: Target = AlibabaTarget(clients)
    tasks: Tasks = AlibabaTasks(clients)
    assert (callable(target.start), callable(tasks.list_tasks), callable(tasks.get_task)) == (True, True, True)


def test_a_started_call_is_journalled_as_it_was_sent(simulator: Simulator, clients: AlibabaClients) -> None:
    call = call_to(endpoint_of(simulator), skip_input_verification=True)

    outcome = AlibabaTarget(clients).start(call)

    (entry,) = simulator.calls()
    assert outcome == Started(entry.task_id, entry.request_id)
    assert (entry.workflow_id, entry.task_input, entry.user_data, entry.skip_input_verification) == (
        call.workflow_id,
        call.task_input,
        call.user_data,
        True,
    )


@pytest.mark.parametrize(
    ("fault", "kind", "text", "accepted"),
    [
        (Fault.ERROR_BEFORE, Uncertain, "InternalError", 0),
        (Fault.ERROR_AFTER, Uncertain, "InternalError", 1),
        (Fault.UNAVAILABLE, Uncertain, "ServiceUnavailable", 0),
        (Fault.HANG_BEFORE, Uncertain, "no answer in time", 0),
        (Fault.HANG, Uncertain, "no answer in time", 1),
        (Fault.DROP_BEFORE, Uncertain, "connection lost", 0),
        (Fault.DROP, Uncertain, "connection lost", 1),
        (Fault.GARBLED_BEFORE, Uncertain, "unreadable answer", 0),
        (Fault.GARBLED, Uncertain, "unreadable answer", 1),
        (Fault.EMPTY, Uncertain, "unreadable answer", 1),
        (Fault.NO_TASK_ID, Uncertain, "answer without a task id", 1),
        (Fault.THROTTLE, Throttled, "Throttling.User", 0),
        (Fault.THROTTLE_503, Throttled, "Throttling", 0),
        (Fault.THROTTLE_RETRY_AFTER, Throttled, "Throttling.Api", 0),
        (Fault.FORBIDDEN, Unauthorized, "Forbidden.RAM", 0),
        (Fault.NO_PERMISSION, Unauthorized, "NoPermission", 0),
        (Fault.ARREARS, Unauthorized, "Arrearage", 0),
    ],
)
def test_every_fault_has_its_outcome_and_is_one_request(
    simulator: Simulator,
    make_clients: Callable[..., AlibabaClients],
    fault: Fault,
    kind: type[Outcome],
    text: str,
    accepted: int,
) -> None:
    outcome = meet(simulator, make_clients(timeout=1.0), fault)

    assert isinstance(outcome, kind)
    assert text in (getattr(outcome, "code", None), getattr(outcome, "reason", None))
    assert len(simulator.calls()) == accepted
    assert simulator.requests == 1


def test_all_faults_are_in_the_table_above() -> None:
    marks = test_every_fault_has_its_outcome_and_is_one_request.pytestmark
    assert {row[0] for row in marks[0].args[1]} == set(Fault)


def test_the_service_says_how_long_to_wait(simulator: Simulator, clients: AlibabaClients) -> None:
    outcome = meet(simulator, clients, Fault.THROTTLE_RETRY_AFTER)
    assert isinstance(outcome, Throttled)
    assert outcome.retry_after == timedelta(milliseconds=1500)


def test_a_server_error_the_operator_knows_is_not_sent(simulator: Simulator, clients: AlibabaClients) -> None:
    outcome = meet(simulator, clients, Fault.UNAVAILABLE, known=frozenset({"ServiceUnavailable"}))
    assert outcome == NotSent("ServiceUnavailable")


def test_an_answer_that_is_too_late_is_uncertain(
    simulator: Simulator, make_clients: Callable[..., AlibabaClients]
) -> None:
    simulator.set_faults(FaultPlan(latency=timedelta(minutes=5)))
    outcome = AlibabaTarget(make_clients(timeout=0.6)).start(call_to(endpoint_of(simulator)))
    assert isinstance(outcome, Uncertain)
    assert outcome.reason == "no answer in time"
    assert len(simulator.calls()) == 1


def test_the_quota_of_the_account_is_throttling(make_clients: Callable[..., AlibabaClients]) -> None:
    with Simulator(make_settings(qps=1), clock=lambda: LONG_AGO) as simulator:
        target = AlibabaTarget(make_clients())
        outcomes = [target.start(call_to(endpoint_of(simulator))) for _ in range(3)]
    assert [type(each) for each in outcomes] == [Started, Throttled, Throttled]


def test_refused_unknown_and_silent_hosts_are_not_sent(make_clients: Callable[..., AlibabaClients]) -> None:
    target = AlibabaTarget(make_clients(timeout=0.6))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    refused = target.start(call_to(Endpoint(REGION, f"http://127.0.0.1:{port}")))
    unknown = target.start(call_to(Endpoint(REGION, "http://no-such-host.invalid")))

    assert refused == NotSent("connection refused or no route")
    assert unknown == NotSent("the endpoint's name is not known")


def test_a_host_that_does_not_take_the_connection_is_not_sent(make_clients: Callable[..., AlibabaClients]) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        outcome = AlibabaTarget(make_clients(timeout=0.6)).start(
            call_to(Endpoint(REGION, f"http://127.0.0.1:{full.getsockname()[1]}"))
        )
        for one in waiting:
            one.close()
    assert outcome == NotSent("connecting took too long")


def test_tls_to_a_plain_server_is_not_sent(make_clients: Callable[..., AlibabaClients], simulator: Simulator) -> None:
    outcome = AlibabaTarget(make_clients(timeout=2.0)).start(
        call_to(Endpoint(REGION, simulator.url.replace("http://", "https://")))
    )
    assert isinstance(outcome, NotSent)
    assert outcome.reason.startswith("no TLS connection")
    assert simulator.calls() == []


def test_a_certificate_that_nobody_signed_is_not_sent(
    make_clients: Callable[..., AlibabaClients], tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as thread:
        served = thread.submit(refuse_tls, server, context)
        outcome = AlibabaTarget(make_clients(timeout=5.0)).start(
            call_to(Endpoint(REGION, f"https://127.0.0.1:{server.getsockname()[1]}"))
        )
        assert served.result(timeout=10)
    assert outcome == NotSent("no TLS connection: CERTIFICATE_VERIFY_FAILED")


def refuse_tls(server: socket.socket, context: ssl.SSLContext) -> bool:
    """Accept one connection; return whether the client gave up in the handshake."""
    connection, _ = server.accept()
    with connection:
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                return secured.recv(1) == b""
        except OSError:
            return True


def self_signed(directory: Path) -> Path:
    """Write a certificate for 127.0.0.1 that its own key signed, with the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(LONG_AGO)
        .not_valid_after(LONG_AGO + timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = directory / "server.pem"
    path.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    return path


def test_an_exception_that_the_caller_handles_does_not_change_the_outcome(
    simulator: Simulator, make_clients: Callable[..., AlibabaClients]
) -> None:
    from urllib3.exceptions import ConnectTimeoutError  # noqa: PLC0415 - beside its use

    clients = make_clients(timeout=0.6)
    try:
        raise ConnectTimeoutError  # noqa: TRY301 - the handler under test is the one below
    except ConnectTimeoutError:
        outcome = meet(simulator, clients, Fault.HANG)
    assert outcome == Uncertain("no answer in time", outcome.message if isinstance(outcome, Uncertain) else "")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"task_input": "not json"}, "InvalidParameter"),
        ({"task_input": '{"Type":"S3","Media":"s3://b/k"}'}, "InvalidParameter"),
        ({"task_input": '{"Type":"OSS","Media":"oss://bucket"}'}, "InvalidParameter"),
        ({"task_input": ""}, "MissingParameter"),
        ({"workflow_id": ""}, "MissingParameter"),
        ({"workflow_id": "unknown"}, "InvalidWorkflow.NotFound"),
        ({"workflow_id": "asleep"}, "InvalidWorkflow.Inactive"),
        ({"user_data": "not json"}, "InvalidParameter"),
        ({"user_data": json.dumps({"x": "é" * 300}, ensure_ascii=False)}, "InvalidParameter"),
        ({"task_input": '{"Type":"OSS","Media":"oss://media/out/a.mp4"}'}, "InvalidParameter.InputPath"),
        ({"task_input": '{"Type":"OSS","Media":"\udc80"}'}, "NotEncodable"),
    ],
)
def test_a_refused_request_is_rejected_with_its_code(
    make_clients: Callable[..., AlibabaClients], changes: dict[str, str], code: str
) -> None:
    workflows = (SimulatedWorkflow("w1", inputs=("oss://media/in/",)), SimulatedWorkflow("asleep", active=False))
    with Simulator(make_settings(workflows=workflows)) as simulator:
        outcome = AlibabaTarget(make_clients()).start(call_to(endpoint_of(simulator), **changes))
        assert simulator.calls() == []
    assert isinstance(outcome, Rejected)
    assert outcome.code == code


def test_input_verification_can_be_skipped(make_clients: Callable[..., AlibabaClients]) -> None:
    workflows = (SimulatedWorkflow("w1", inputs=("oss://media/elsewhere/",)),)
    with Simulator(make_settings(workflows=workflows)) as simulator:
        target = AlibabaTarget(make_clients())
        assert isinstance(target.start(call_to(endpoint_of(simulator))), Rejected)
        assert isinstance(target.start(call_to(endpoint_of(simulator), skip_input_verification=True)), Started)


@pytest.mark.parametrize(
    ("credentials", "code"),
    [
        (Credentials(ACCESS_KEY_ID, Secret("wrong")), "SignatureDoesNotMatch"),
        (Credentials("nobody", ACCESS_KEY_SECRET), "InvalidAccessKeyId.NotFound"),
        (Credentials(ACCESS_KEY_ID, ACCESS_KEY_SECRET, Secret("stale")), "InvalidSecurityToken.MismatchWithAccessKey"),
    ],
)
def test_wrong_credentials_are_unauthorized(
    simulator: Simulator, make_clients: Callable[..., AlibabaClients], credentials: Credentials, code: str
) -> None:
    outcome = AlibabaTarget(make_clients(credentials)).start(call_to(endpoint_of(simulator)))
    assert isinstance(outcome, Unauthorized)
    assert outcome.code == code


def test_a_token_of_sts_travels(make_clients: Callable[..., AlibabaClients]) -> None:
    token = Secret("session-token")
    with Simulator(make_settings(security_token=token)) as simulator:
        target = AlibabaTarget(make_clients(Credentials(ACCESS_KEY_ID, ACCESS_KEY_SECRET, token)))
        assert isinstance(target.start(call_to(endpoint_of(simulator))), Started)


def test_a_clock_that_is_wrong_is_unauthorized(make_clients: Callable[..., AlibabaClients]) -> None:
    with Simulator(make_settings(), signing_clock=lambda: LONG_AGO) as simulator:
        outcome = AlibabaTarget(make_clients()).start(call_to(endpoint_of(simulator)))
    assert isinstance(outcome, Unauthorized)
    assert outcome.code == "InvalidTimeStamp.Expired"


def test_the_default_chain_takes_the_environment(simulator: Simulator) -> None:
    # In a process of its own: the provider reads the environment once, at import.
    code = (
        "import sys; from datetime import timedelta\n"
        "from dispatcher.core.calls import Endpoint, WorkflowCall\n"
        "from dispatcher.core.settings import Credentials\n"
        "from dispatcher.targets.alibaba import AlibabaClients\n"
        "from dispatcher.targets.target import AlibabaTarget\n"
        "clients = AlibabaClients(Credentials(), call_timeout=timedelta(seconds=10))\n"
        f'call = WorkflowCall(Endpoint({REGION!r}, sys.argv[1]), \'w1\', \'{{"Type":"Media","Media":"m1"}}\', \'\')\n'
        "print(type(AlibabaTarget(clients).start(call)).__name__)"
    )
    keys = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": ACCESS_KEY_SECRET.value,
    }
    done = subprocess.run(
        [sys.executable, "-c", code, simulator.url], capture_output=True, text=True, check=False, env=os.environ | keys
    )
    assert (done.stdout, done.stderr) == ("Started\n", "")
    assert len(simulator.calls()) == 1


def test_a_chain_without_credentials_is_unauthorized_and_sends_nothing(
    simulator: Simulator, make_clients: Callable[..., AlibabaClients], monkeypatch: pytest.MonkeyPatch
) -> None:
    from alibabacloud_credentials.exceptions import CredentialException  # noqa: PLC0415 - heavy
    from alibabacloud_credentials.provider import DefaultCredentialsProvider  # noqa: PLC0415 - heavy

    def fail(_: object) -> None:
        raise CredentialException("no provider has any; SecurityToken=hush-hush")

    monkeypatch.setattr(DefaultCredentialsProvider, "get_credentials", fail)
    outcome = AlibabaTarget(make_clients(Credentials())).start(call_to(endpoint_of(simulator)))

    assert isinstance(outcome, Unauthorized)
    assert outcome.code == "NoCredentials"
    assert "hush" not in outcome.message
    assert simulator.requests == 0


def test_a_bad_endpoint_sends_nothing(clients: AlibabaClients) -> None:
    outcome = AlibabaTarget(clients).start(call_to(Endpoint(REGION, "ice.example")))
    assert isinstance(outcome, NotSent)
    assert "is not a URL" in outcome.reason


def test_a_proxy_of_the_environment_is_not_for_loopback(
    simulator: Simulator, clients: AlibabaClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert isinstance(AlibabaTarget(clients).start(call_to(endpoint_of(simulator))), Started)


def test_proxy_and_no_proxy_are_honoured(
    make_clients: Callable[..., AlibabaClients], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = AlibabaTarget(make_clients(timeout=2.0))
    call = call_to(Endpoint(REGION, "http://ims.invalid"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert target.start(call) == NotSent("the proxy cannot be reached")

    monkeypatch.setenv("no_proxy", "ims.invalid")
    monkeypatch.setenv("NO_PROXY", "ims.invalid")
    assert target.start(call) == NotSent("the endpoint's name is not known")


def test_eight_threads_start_once_for_each_call(simulator: Simulator, clients: AlibabaClients) -> None:
    target = AlibabaTarget(clients)
    endpoint = endpoint_of(simulator)
    with ThreadPoolExecutor(8) as threads:
        outcomes = list(
            threads.map(lambda n: target.start(call_to(endpoint, user_data=json.dumps({"n": n}))), range(160))
        )

    assert all(isinstance(each, Started) for each in outcomes)
    assert sorted(json.loads(entry.user_data)["n"] for entry in simulator.calls()) == list(range(160))
    started = {json.loads(entry.user_data)["n"]: entry.task_id for entry in simulator.calls()}
    assert [each.task_id for each in outcomes if isinstance(each, Started)] == [started[n] for n in range(160)]
    assert simulator.requests == 160


def test_debug_of_the_sdk_shows_no_header(
    simulator: Simulator, clients: AlibabaClients, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEBUG", "sdk")
    assert isinstance(AlibabaTarget(clients).start(call_to(endpoint_of(simulator))), Started)
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")


def test_nothing_heavy_is_imported_before_the_first_call() -> None:
    code = (
        "import sys, dispatcher.targets.target, dispatcher.targets.tasks, dispatcher.targets.alibaba\n"
        "heavy = {'alibabacloud_ice20201109', 'alibabacloud_tea_openapi', 'alibabacloud_credentials', 'darabonba',"
        " 'requests', 'urllib3', 'sqlalchemy', 'boto3'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr

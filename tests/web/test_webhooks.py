"""The public listener: what it takes, and everything that it refuses."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from dispatcher.core.decoding import Acceptance, Format
from dispatcher.core.ratelimit import Rate
from dispatcher.core.settings import (
    Address,
    BearerToken,
    EventBridgeToken,
    Hmac,
    NoAuthentication,
    Secret,
    WebhookSettings,
)
from dispatcher.errors import LedgerError, ServiceUnavailableError
from dispatcher.web.limits import ClientRates, WebLimits
from dispatcher.web.server import WebServer
from tests.web.conftest import MINIO, NOW, PATH, TOKEN, read_to_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.web.conftest import Clock, Inbox, Listener

    Listen = Callable[..., Listener]

BODY = b'{"EventName":"s3:ObjectCreated:Put","Key":"media/a.mp4","Records":[]}'
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()


def status_of(raw: bytes) -> int:
    """Return the status of the last answer in what came over a socket."""
    return int(raw.rpartition(b"HTTP/1.1 ")[2][:3])


# Taken ---------------------------------------------------------------------------------------------------------


def test_a_notification_reaches_the_receiver_as_it_was_sent(listen: Listen, inbox: Inbox) -> None:
    body = bytes(range(256)) * 10
    answer = listen().post(body)
    assert (answer.status, answer.body) == (204, b"")
    assert inbox.taken == [("minio", body)]


def test_the_receiver_is_told_the_webhooks_format_and_what_it_accepts(listen: Listen) -> None:
    told: list[tuple[str, Format | None, Acceptance]] = []
    settings = replace(MINIO, format=Format.MINIO, accept=Acceptance(append=True))
    listener = listen(settings)
    listener.inbox.taken = []
    original = type(listener.inbox).__call__

    def remember(_: Inbox, source: str, __: bytes, format: Format | None, accept: Acceptance) -> None:  # noqa: A002 - the port's name
        told.append((source, format, accept))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(listener.inbox), "__call__", remember)
        assert listener.post(BODY).status == 204
    assert type(listener.inbox).__call__ is original
    assert told == [("minio", Format.MINIO, Acceptance(append=True))]


def test_it_is_answered_only_after_the_commit(listen: Listen, inbox: Inbox) -> None:
    listener = listen()
    inbox.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(listener.post, BODY)
        assert inbox.entered.acquire(timeout=10)
        assert not answer.done()
        assert inbox.taken == []
        inbox.gate.set()
        assert answer.result(10).status == 204
    assert inbox.taken == [("minio", BODY)]


def test_what_the_ledger_refuses_is_asked_for_again(listen: Listen, inbox: Inbox) -> None:
    listener = listen()
    inbox.fails = LedgerError("the disk is full", hint="free some space")
    answer = listener.post(BODY)
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert b"disk" not in answer.body
    inbox.fails = None
    assert listener.post(BODY).status == 204
    assert inbox.taken == [("minio", BODY)]


def test_a_defect_of_ours_is_answered_500_and_the_listener_lives(listen: Listen, inbox: Inbox) -> None:
    listener = listen()
    inbox.fails = ZeroDivisionError("secret detail")
    with capture_logs() as logs:
        answer = listener.post(BODY)
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert "web.defect" in [line["event"] for line in logs]
    inbox.fails = None
    assert listener.post(BODY).status == 204


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_probe_is_answered_without_a_token(listen: Listen, method: str, inbox: Inbox) -> None:
    assert listen().request(method).status == 200
    assert inbox.taken == []


def test_one_connection_carries_many_notifications(listen: Listen, inbox: Inbox) -> None:
    request = HEAD + b"Content-Length: 2\r\n\r\n{}"
    closing = HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}"
    raw = listen().send_raw(request + request, closing)
    assert raw.count(b"HTTP/1.1 204") == 3
    assert len(inbox.taken) == 3


def test_each_path_has_its_own_source_and_authentication(listen: Listen, inbox: Inbox) -> None:
    other = WebhookSettings("ceph", "/events/ceph", BearerToken(Secret("other")))
    listener = listen(MINIO, other)
    assert listener.post(BODY, {"Authorization": "Bearer other"}, "/events/ceph").status == 204
    assert listener.post(BODY, {"Authorization": "Bearer other"}).status == 401
    assert inbox.taken == [("ceph", BODY)]


# Forged --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \xe9", "Bearer  "),
        *("Basic", "Basic !!!", "Basic \xe9", f"Digest {TOKEN}"),
        *("Basic " + base64.b64encode(text.encode()).decode() for text in (TOKEN, f"{TOKEN}:", "user:wrong", ":")),
    ],
)
def test_a_wrong_bearer_token_is_refused(listen: Listen, inbox: Inbox, header: str | None) -> None:
    answer = listen().post(BODY, {} if header is None else {"Authorization": header})
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert inbox.taken == []


@pytest.mark.parametrize("authentication", [BearerToken(Secret("")), EventBridgeToken(Secret(""))])
@pytest.mark.parametrize("header", ["Bearer ", "Basic Og==", ""])
def test_an_empty_secret_opens_nothing(listen: Listen, inbox: Inbox, authentication: Any, header: str) -> None:
    listener = listen(WebhookSettings("empty", PATH, authentication))
    assert listener.post(BODY, {"Authorization": header, "x-eventbridge-signature-token": ""}).status == 401
    assert inbox.taken == []


def test_the_schemes_name_has_no_case(listen: Listen) -> None:
    assert listen().post(BODY, {"Authorization": f"bearer {TOKEN}"}).status == 204


def test_the_token_may_be_the_password_in_a_senders_url(listen: Listen, inbox: Inbox) -> None:
    credentials = base64.b64encode(f"ceph:{TOKEN}".encode()).decode()
    assert listen().post(BODY, {"Authorization": f"Basic {credentials}"}).status == 204
    assert len(inbox.taken) == 1


def test_a_wrong_token_is_refused_before_the_body_is_sent(listen: Listen) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer no\r\nContent-Length: 1000\r\n\r\n".encode()
    assert status_of(listen().send_raw(head)) == 401


def test_two_authorization_headers_are_refused(listen: Listen, inbox: Inbox) -> None:
    raw = listen().send_raw(HEAD + b"Authorization: Bearer other\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
    assert status_of(raw) == 400
    assert inbox.taken == []


def test_the_token_of_eventbridge_stands_in_its_own_header(listen: Listen, inbox: Inbox) -> None:
    listener = listen(WebhookSettings("eb", PATH, EventBridgeToken(Secret(TOKEN))))
    assert listener.post(BODY, {"x-eventbridge-signature-token": TOKEN}).status == 204
    assert listener.post(BODY, {"x-eventbridge-signature-token": "wrong"}).status == 401
    assert listener.post(BODY, {"Authorization": f"Bearer {TOKEN}"}).status == 401
    assert len(inbox.taken) == 1


DIGEST = hmac.new(b"key", BODY, hashlib.sha256)
HMAC = WebhookSettings("hmac", PATH, Hmac(Secret("key"), "X-Signature"))


@pytest.mark.parametrize(
    "header",
    [
        DIGEST.hexdigest(),
        DIGEST.hexdigest().upper(),
        f"sha256={DIGEST.hexdigest()}",
        base64.b64encode(DIGEST.digest()).decode(),
    ],
)
def test_the_hmac_of_the_body_is_taken(listen: Listen, inbox: Inbox, header: str) -> None:
    assert listen(HMAC).post(BODY, {"X-Signature": header}).status == 204
    assert inbox.taken == [("hmac", BODY)]


def test_a_wrong_hmac_is_refused(listen: Listen, inbox: Inbox) -> None:
    listener = listen(HMAC)
    assert listener.post(BODY + b" ", {"X-Signature": DIGEST.hexdigest()}).status == 403
    assert listener.post(BODY, {"X-Signature": hmac.new(b"kex", BODY, hashlib.sha256).hexdigest()}).status == 403
    assert listener.post(BODY, {"X-Signature": DIGEST.hexdigest()[:-1]}).status == 403
    assert listener.post(BODY, {}).status == 401
    assert inbox.taken == []


def test_without_authentication_whoever_reaches_the_listener_may_post(listen: Listen, inbox: Inbox) -> None:
    assert listen(WebhookSettings("open", PATH, NoAuthentication())).post(BODY, {}).status == 204
    assert inbox.taken == [("open", BODY)]


@pytest.mark.parametrize("mark", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_page_in_a_browser_cannot_post(listen: Listen, inbox: Inbox, mark: dict[str, str]) -> None:
    listener = listen(WebhookSettings("open", PATH, NoAuthentication()))
    assert listener.post(BODY, {"Content-Type": "text/plain", **mark}).status == 403
    assert inbox.taken == []


# Oversized -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "status"), [(1000, 204), (1001, 413), (5_000_000, 413)])
def test_the_body_has_a_limit(listen: Listen, inbox: Inbox, size: int, status: int) -> None:
    assert listen(limits=WebLimits(body_bytes=1000)).post(b"x" * size).status == status
    assert len(inbox.taken) == (status == 204)


def test_a_body_without_a_length_has_the_same_limit(listen: Listen, inbox: Inbox) -> None:
    chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
    raw = listen(limits=WebLimits(body_bytes=2500)).send_raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk * 3)
    assert status_of(raw) == 413
    assert inbox.taken == []


def test_a_body_that_is_announced_as_too_long_is_not_waited_for(listen: Listen) -> None:
    listener = listen(limits=WebLimits(body_bytes=1000, body_within=3600, linger=0.05))
    assert status_of(listener.send_raw(HEAD + b"Content-Length: 1001\r\n\r\n")) == 413


def test_one_mebibyte_is_the_limit_by_default(listen: Listen) -> None:
    listener = listen()
    assert listener.post(b"x" * (1 << 20)).status == 204
    assert listener.post(b"x" * ((1 << 20) + 1)).status == 413


def test_a_sender_that_does_not_stop_after_a_refusal_is_cut_off(listen: Listen) -> None:
    listener = listen(limits=WebLimits(linger=0.05))
    with listener.connect() as connection:
        connection.sendall(HEAD.replace(TOKEN.encode(), b"no") + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1000)
        assert status_of(read_to_end(connection)) == 401


@pytest.mark.parametrize(
    "header", [b"X-Long: " + b"x" * 20_000, b"\r\n".join(b"X-%d: %s" % (n, b"y" * 90) for n in range(300))]
)
def test_headers_have_a_limit(listen: Listen, inbox: Inbox, header: bytes) -> None:
    raw = listen().send_raw(HEAD + header + b"\r\nContent-Length: 2\r\n\r\n{}")
    assert raw == b"" or status_of(raw) in {400, 431}  # closed with bytes unread, the answer may be lost
    assert inbox.taken == []


def test_more_than_the_rate_is_refused_and_other_clients_are_not(listen: Listen, inbox: Inbox, clock: Clock) -> None:
    listener = listen(limits=WebLimits(per_client=Rate(40)))  # two at once, by a clock that stands
    answers = [listener.post(BODY) for _ in range(4)]
    assert [answer.status for answer in answers] == [204, 204, 429, 429]
    assert int(answers[-1].headers["retry-after"]) > 0
    assert listener.request("HEAD", client="127.0.0.2").status == 200
    clock.now = NOW.replace(second=5)
    assert listener.post(BODY).status == 204
    assert len(inbox.taken) == 3


def test_a_forger_cannot_hide_behind_a_forwarding_header(listen: Listen) -> None:
    listener = listen(limits=WebLimits(per_client=Rate(20)))
    headers = [{"X-Forwarded-For": f"10.0.0.{n}", "Forwarded": f"for=10.0.0.{n}"} for n in range(3)]
    assert [listener.post(BODY, each).status for each in headers] == [401, 429, 429]


def test_the_hosts_of_one_ipv6_network_are_one_client(clock: Clock) -> None:
    rates = ClientRates(Rate(1), clock)
    assert [rates.allows(f"2001:db8::{n}") for n in range(3)] == [True, False, False]
    assert rates.allows("2001:db8:0:1::1")
    assert rates.allows("192.0.2.1")
    assert not rates.allows("::ffff:192.0.2.1")


def test_the_memory_of_clients_is_bounded(clock: Clock) -> None:
    rates = ClientRates(Rate(1), clock)
    for number in range(10_000):
        assert rates.allows(f"10.0.{number // 256}.{number % 256}")
    assert len(rates._states) < 5000


def test_more_at_once_than_allowed_is_refused(listen: Listen, inbox: Inbox) -> None:
    listener = listen(limits=WebLimits(concurrent=2))
    inbox.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        first = [pool.submit(listener.post, BODY) for _ in range(2)]
        for _ in first:
            assert inbox.entered.acquire(timeout=10)
        refused = listener.post(BODY)
        assert refused.status == 503
        assert "retry-after" in refused.headers
        inbox.gate.set()
        assert [answer.result(10).status for answer in first] == [204, 204]
    assert listener.post(BODY).status == 204


def test_more_connections_than_allowed_are_closed(listen: Listen) -> None:
    listener = listen(limits=WebLimits(connections=2))
    with listener.connect() as one, listener.connect() as two:
        for each in (one, two):
            each.sendall(f"HEAD {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert each.recv(100).startswith(b"HTTP/1.1 200")
        assert listener.send_raw() == b""
    # `with` closed both: there is room again.
    while listener.send_raw(f"HEAD {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()) == b"":
        pass


# Slow ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [b"", b"PO", HEAD, HEAD + b"X-Drip: "])
def test_a_head_that_does_not_come_is_not_waited_for(listen: Listen, inbox: Inbox, begun: bytes) -> None:
    listener = listen(limits=WebLimits(head_within=0.05))
    assert listener.send_raw(begun) == b""
    assert inbox.taken == []


def test_a_second_head_that_does_not_come_is_not_waited_for(listen: Listen) -> None:
    listener = listen(limits=WebLimits(head_within=0.05, idle=3600))
    raw = listener.send_raw(HEAD + b"Content-Length: 2\r\n\r\n{}", b"POST /")
    assert raw.count(b"HTTP/1.1") == 1


def test_a_head_that_begins_after_an_answer_is_not_waited_for(listen: Listen) -> None:
    listener = listen(limits=WebLimits(head_within=0.05, idle=3600))
    with listener.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += connection.recv(1000)
        connection.sendall(b"POST /")
        assert read_to_end(connection) == b""


def test_a_resting_connection_is_closed(listen: Listen) -> None:
    listener = listen(limits=WebLimits(idle=0))
    assert status_of(listener.send_raw(HEAD + b"Content-Length: 2\r\n\r\n{}")) == 204


def test_a_body_that_does_not_come_is_refused(listen: Listen, inbox: Inbox) -> None:
    listener = listen(limits=WebLimits(body_within=0.05, linger=0.05))
    assert status_of(listener.send_raw(HEAD + b"Content-Length: 100\r\n\r\n", b"{")) == 408
    assert inbox.taken == []


def test_slow_senders_do_not_keep_others_waiting(listen: Listen, inbox: Inbox) -> None:
    listener = listen()
    slow = [listener.connect() for _ in range(20)]
    try:
        for each in slow:
            each.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        assert listener.post(BODY).status == 204
    finally:
        for each in slow:
            each.close()
    assert inbox.taken == [("minio", BODY)]


# Malformed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),  # TLS to a plain port
        b"GARBAGE\r\n\r\n",
        b"POST /events/minio\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n{}",
        HEAD + b"Content-Length: 0x10\r\n\r\n{}",
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        HEAD + b"Content-Length: 99999999999999999999999999\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nxx\r\n{}\r\n0\r\n\r\n",
        HEAD + b"Bad Header: 1\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"X-Zero: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
        f"POST {PATH} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 2\r\n\r\n{{}}".encode(),  # no Host
    ],
)
def test_what_is_no_http_is_refused(listen: Listen, inbox: Inbox, raw: bytes) -> None:
    answer = listen(limits=WebLimits(body_within=0.05, linger=0.05)).send_raw(raw)
    assert status_of(answer) in {400, 408, 413, 501}
    assert inbox.taken == []


def test_a_request_is_not_smuggled_in_anothers_body(listen: Listen, inbox: Inbox) -> None:
    inner = HEAD + b"Content-Length: 2\r\n\r\n{}"
    chunked = b"0\r\n\r\n"
    raw = listen().send_raw(
        HEAD.replace(TOKEN.encode(), b"no")
        + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % (len(inner) + len(chunked))
        + chunked
        + inner
    )
    assert status_of(raw) in {400, 401}
    assert inbox.taken == []


def test_an_empty_body_is_refused(listen: Listen, inbox: Inbox) -> None:
    assert listen().post(b"").status == 400
    assert inbox.taken == []


def test_a_body_that_breaks_off_is_not_taken(listen: Listen, inbox: Inbox) -> None:
    listener = listen()
    with capture_logs() as logs:
        with listener.connect() as connection:
            connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{}")
        listener.server.stop()
    assert [line["note"] for line in logs if line["event"] == "web.request"] == ["the body broke off"]
    assert inbox.taken == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "image/png"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Encoding": "gzip"},
    ],
)
def test_what_is_no_text_is_refused(listen: Listen, inbox: Inbox, headers: dict[str, str]) -> None:
    assert listen().post(BODY, {"Authorization": f"Bearer {TOKEN}", **headers}).status == 415
    assert inbox.taken == []


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "application/cloudevents+json; charset=utf-8", "text/plain", "text/xml;charset=utf-8"],
)
def test_the_media_types_of_notifications_are_taken(listen: Listen, media_type: str) -> None:
    assert listen().post(BODY, {"Authorization": f"Bearer {TOKEN}", "Content-Type": media_type}).status == 204


@pytest.mark.parametrize(
    "path", ["/", "/events", f"{PATH}/", f"{PATH}/x", "/%2e%2e/events/minio", "/metrics", "/livez"]
)
def test_other_paths_are_not_there(listen: Listen, inbox: Inbox, path: str) -> None:
    assert listen().post(BODY, path=path).status == 404
    assert inbox.taken == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(listen: Listen, inbox: Inbox, method: str) -> None:
    answer = listen().request(method, body=BODY, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status == 405
    assert "POST" in answer.headers["allow"]
    assert inbox.taken == []


# Log, start, stop ----------------------------------------------------------------------------------------------


def test_the_log_tells_each_request_and_never_a_secret(listen: Listen) -> None:
    listener = listen()
    with capture_logs() as logs:
        listener.post(BODY)
        listener.post(BODY, {"Authorization": "Bearer almost-right"})
        listener.request("POST", f"{PATH}?token={TOKEN}", BODY, {})
        listener.request("POST", f"/nowhere?token={TOKEN}", BODY, {})
        listener.server.stop()
    told = [line for line in logs if line["event"] == "web.request"]
    assert [line["status"] for line in told] == [204, 401, 401, 404]
    assert [line.get("source") for line in told] == ["minio", "minio", "minio", None]
    assert told[0]["bytes"] == len(BODY)
    assert told[0]["client"] == "127.0.0.1"
    assert told[3]["path"] == "/nowhere"
    assert TOKEN not in repr(logs)
    assert "almost-right" not in repr(logs)


def test_what_is_being_committed_ends_before_the_listener_does(listen: Listen, inbox: Inbox) -> None:
    listener = listen()
    inbox.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(listener.post, BODY)
        assert inbox.entered.acquire(timeout=10)
        stopping = pool.submit(listener.server.stop)
        inbox.gate.set()
        assert answer.result(10).status == 204
        stopping.result(10)
    with pytest.raises(OSError, match="refused"):
        listener.connect()
    assert inbox.taken == [("minio", BODY)]


def test_stopping_does_not_wait_for_idle_or_slow_clients(listen: Listen) -> None:
    listener = listen()
    with listener.connect() as idle, listener.connect() as slow:
        slow.sendall(HEAD[:20])
        with ThreadPoolExecutor(1) as pool:
            pool.submit(listener.server.stop).result(10)
        assert read_to_end(idle) == b""


def test_stopping_gives_up_a_body_that_does_not_come(
    listen: Listen, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.web.server._STOP_GRACE", 0)
    listener = listen(limits=WebLimits(body_within=3600))
    with listener.connect() as slow:
        slow.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n")
        assert slow.recv(100).startswith(b"HTTP/1.1 100")  # it waits for the body now
        with ThreadPoolExecutor(1) as pool:
            pool.submit(listener.server.stop).result(10)
        assert b" 204 " not in read_to_end(slow)
    assert inbox.taken == []


def test_an_address_that_is_taken_is_told(listen: Listen) -> None:
    taken = listen().server.address
    with pytest.raises(ServiceUnavailableError, match=f"cannot listen on 127.0.0.1:{taken.port}") as raised:
        WebServer(lambda *_: None, taken).start()  # type: ignore[arg-type]  # never called
    assert "http:" in raised.value.hint


def test_a_serving_thread_that_ends_by_itself_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[BaseException] = []
    ended = threading.Event()

    def failed(error: BaseException) -> None:
        told.append(error)
        ended.set()

    async def break_down(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("uvicorn.Server.main_loop", break_down)
    server = WebServer(lambda *_: None, Address("127.0.0.1", 0), failed=failed)  # type: ignore[arg-type]  # never called
    with server:
        assert ended.wait(10)
    assert [type(error) for error in told] == [OSError]


def test_a_status_phrase_is_all_that_a_refused_sender_learns(listen: Listen) -> None:
    answer = listen().post(BODY, {"Authorization": "Bearer no"})
    assert answer.body == f"{HTTPStatus.UNAUTHORIZED.phrase}\n".encode()
    assert "server" not in answer.headers

"""Our client of SMQ against the local server, and the official client as the second opinion in both directions."""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mns.account import Account
from mns.mns_exception import MNSServerException
from mns.queue import Message, QueueMeta

from dispatcher.core.settings import Credentials, Secret
from dispatcher.errors import DispatcherError, ExitCode, QueueDeniedError, QueueError, QueueMissingError
from dispatcher.sources.queue import BusyQueueError
from dispatcher.sources.smq_answers import Document, MalformedAnswerError, read
from dispatcher.sources.smq_client import GONE, SmqClient
from tests.sources.smq_server import Clock, Keys, SmqServer
from tests.sources.smq_wire import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = timedelta()
TOKEN_KEYS = Keys("sts-key", "sts-secret", "sts-token/+=")
BODY = '{"events":[{"eventName":"ObjectCreated:PutObject"}],"note":"ключ & <中文>"}'


def own_client(server: SmqServer, **changes: Any) -> SmqClient:
    keys = server.keys
    given_keys = Credentials(keys.key_id, Secret(keys.secret), Secret(keys.token) if keys.token else None)
    return replace(SmqClient(server.url, server.queue, lambda: given_keys), **changes)


def official_queue(server: SmqServer, *, encoding: bool = True) -> Any:
    keys = server.keys
    queue = Account(server.url, keys.key_id, keys.secret, keys.token or "").get_queue(server.queue)
    queue.set_encoding(encoding)
    return queue


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[SmqServer]:
    with SmqServer(clock=clock) as running:
        yield running


@pytest.fixture
def client(server: SmqServer) -> Iterator[SmqClient]:
    made = own_client(server)
    yield made
    made.close()


@pytest.fixture
def official(server: SmqServer) -> Iterator[Any]:
    queue = official_queue(server)
    yield queue
    queue.mns_client.close_connection()


# -- the official client finds our server to be SMQ -------------------------------------------------


def test_the_official_client_sends_receives_hides_and_deletes(server: SmqServer, official: Any) -> None:
    assert official.create(QueueMeta()).endswith("/queues/oss-events")
    sent = official.batch_send_message([Message(BODY), Message("second"), Message("third")])
    assert [each.message_body_md5 for each in sent][1] == _md5("c2Vjb25k")
    found = official.batch_receive_message(16, 1)
    assert [each.message_body for each in found] == [BODY.encode(), b"second", b"third"]
    renewed = official.change_message_visibility(found[0].receipt_handle, 60)
    assert renewed.receipt_handle != found[0].receipt_handle
    official.batch_delete_message([found[1].receipt_handle])
    official.delete_message(renewed.receipt_handle)
    with pytest.raises(MNSServerException) as old:
        official.batch_delete_message([found[0].receipt_handle, found[2].receipt_handle])
    assert [each["ErrorCode"] for each in old.value.sub_errors] == ["ReceiptHandleError"]
    assert (server.left(), server.refused) == (0, [])


def test_the_official_client_finds_an_empty_queue(server: SmqServer, official: Any) -> None:
    with pytest.raises(MNSServerException) as empty:
        official.batch_receive_message(16, 0)
    assert (empty.value.type, server.refused) == ("MessageNotExist", ["MessageNotExist"])


def test_the_official_client_with_temporary_keys(clock: Clock) -> None:
    with SmqServer(clock=clock, keys=TOKEN_KEYS) as server:
        queue = official_queue(server)
        queue.send_message(Message(BODY))
        assert queue.receive_message(1).message_body == BODY.encode()
        queue.mns_client.close_connection()


# -- both clients see the same ----------------------------------------------------------------------


@pytest.mark.parametrize("keys", [Keys(), TOKEN_KEYS])
@pytest.mark.parametrize("encoding", [True, False])
def test_both_clients_receive_the_same(clock: Clock, keys: Keys, encoding: bool) -> None:
    with SmqServer(clock=clock, keys=keys) as server:
        theirs_queue, ours_client = official_queue(server, encoding=False), own_client(server)
        sender = official_queue(server, encoding=encoding)
        sender.batch_send_message([Message(BODY), Message(' a "b" \u2028 c ')])
        theirs = theirs_queue.batch_receive_message(16, 0)
        clock.later(seconds=31)
        ours, now = ours_client.receive(16, NOW)
        assert now == clock.now
        assert [each.message_id for each in ours] == [each.message_id for each in theirs]
        assert [each.body.decode() for each in ours] == [each.message_body for each in theirs]
        assert [each.dequeue_count for each in ours] == [2, 2]
        assert [each.visible_at for each in ours] == [clock.now + timedelta(seconds=30)] * 2
        theirs_queue.delete_message(ours[0].handle)
        assert ours_client.delete([ours[1].handle]) == {}
        assert (server.left(), server.refused) == (0, [])
        for queue in (theirs_queue, sender):
            queue.mns_client.close_connection()
        ours_client.close()


def test_both_clients_spell_the_same_requests(server: SmqServer, client: SmqClient, official: Any) -> None:
    server.send("one", "two")
    found, _ = client.receive(16, timedelta(seconds=3))
    assert found[0].handle.startswith("1-")
    hidden = client.hide(found[0].handle, timedelta(seconds=40)) or ""
    client.delete([hidden, found[1].handle])
    ours = [(each.method, each.target.replace(server.queue, "q")) for each in server.requests]
    server.requests.clear()
    server.send("one", "two")
    seen = official.batch_receive_message(16, 3)
    renewed = official.change_message_visibility(seen[0].receipt_handle, 40)
    official.batch_delete_message([renewed.receipt_handle, seen[1].receipt_handle])
    theirs = [(each.method, each.target.replace(server.queue, "q")) for each in server.requests]
    assert [_without_receipt(each) for each in ours] == [_without_receipt(each) for each in theirs]
    assert server.left() == 0


def _without_receipt(request: tuple[str, str]) -> tuple[str, str]:
    method, target = request
    head, mark, rest = target.partition("ReceiptHandle=")
    return method, head + mark + rest.partition("&")[2] if mark else target


# -- receipts, hiding, batches ----------------------------------------------------------------------


def test_an_empty_queue_is_no_error(client: SmqClient, clock: Clock) -> None:
    assert client.receive(16, NOW) == ([], clock.now)


def test_at_most_sixteen_come_at_once(server: SmqServer, client: SmqClient) -> None:
    server.send(*map(str, range(20)))
    assert [len(client.receive(16, NOW)[0]) for _ in range(3)] == [16, 4, 0]


def test_a_long_poll_gets_what_is_sent_meanwhile(server: SmqServer, client: SmqClient) -> None:
    found: list[int] = []
    poll = threading.Thread(target=lambda: found.append(len(client.receive(16, timedelta(seconds=20))[0])))
    poll.start()
    server.wait_for(lambda: server.count("GET") == 1, "the long poll began")
    server.send("late")
    poll.join(20)
    assert found == [1]


def test_a_hidden_message_is_deleted_by_its_new_handle_only(server: SmqServer, client: SmqClient) -> None:
    server.send("a")
    (message,), _ = client.receive(16, NOW)
    renewed = client.hide(message.handle, timedelta(seconds=100))
    assert renewed not in (None, message.handle)
    assert client.delete([message.handle]) == {message.handle: "ReceiptHandleError"}
    assert server.left() == 1
    assert client.delete([renewed or ""]) == {}
    assert server.left() == 0


def test_hiding_lasts_from_the_request_on(server: SmqServer, client: SmqClient, clock: Clock) -> None:
    server.send("a")
    (message,), _ = client.receive(16, NOW)
    clock.later(seconds=20)
    renewed = client.hide(message.handle, timedelta(seconds=60))
    clock.later(seconds=59)
    assert client.receive(16, NOW)[0] == []
    clock.later(seconds=1)
    assert len(client.receive(16, NOW)[0]) == 1
    assert client.delete([renewed or ""]).keys() == {renewed}


def test_a_receipt_that_ended_is_known_as_such(server: SmqServer, client: SmqClient, clock: Clock) -> None:
    server.send("a", "b")
    (first, second), _ = client.receive(16, NOW)
    clock.later(seconds=31)
    assert client.hide(first.handle, timedelta(seconds=10)) is None
    assert set(client.delete([first.handle, second.handle]).values()) <= GONE
    assert server.left() == 2


def test_threads_share_a_client(server: SmqServer, client: SmqClient) -> None:
    server.send(*(f"m{number}" for number in range(160)))
    bodies: list[bytes] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while found := client.receive(16, NOW)[0]:
                bodies.extend(message.body for message in found)
                assert client.delete([message.handle for message in found]) == {}
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert (len(bodies), len(set(bodies)), server.left()) == (160, 160, 0)


# -- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        (Credentials("other", Secret("smq-secret")), "InvalidAccessKeyId"),
        (Credentials("smq-key", Secret("wrong-secret-value")), "SignatureDoesNotMatch"),
        (Credentials("smq-key", Secret("smq-secret"), Secret("a-token-value")), "InvalidSecurityToken"),
    ],
)
def test_refused_keys_are_told_without_the_secret(server: SmqServer, keys: Credentials, code: str) -> None:
    client = own_client(server, keys=lambda: keys)
    with pytest.raises(QueueDeniedError) as refused:
        client.receive(16, NOW)
    client.close()
    told = refused.value.message + refused.value.hint
    assert (refused.value.exit_code, server.refused) == (ExitCode.CREDENTIALS, [code])
    assert f"{code}, request 56A0F0" in told
    assert "oss-events" in told
    assert not any(word in told for word in ("wrong-secret-value", "a-token-value", "smq-secret", "said at length"))


def test_no_keys_is_an_error_before_any_request(server: SmqServer) -> None:
    client = own_client(server, keys=Credentials)
    with pytest.raises(QueueDeniedError, match="no access key"):
        client.receive(16, NOW)
    assert server.requests == []


def test_keys_are_asked_for_before_each_request_so_that_they_may_be_renewed(server: SmqServer) -> None:
    renewed = iter([TOKEN_KEYS, Keys("second", "other-secret", "other-token")])

    def keys() -> Credentials:
        server.keys = next(renewed)
        return Credentials(server.keys.key_id, Secret(server.keys.secret), Secret(server.keys.token or ""))

    client = own_client(server, keys=keys)
    for _ in range(2):
        assert client.receive(16, NOW)[0] == []
    client.close()
    assert [each.headers["security-token"] for each in server.requests] == ["sts-token/+=", "other-token"]


def test_a_missing_queue_is_an_error_of_the_configuration(server: SmqServer) -> None:
    client = own_client(server, queue="other")
    with pytest.raises(QueueMissingError, match="no such queue") as missing:
        client.receive(16, NOW)
    client.close()
    assert missing.value.exit_code is ExitCode.CONFIG


@pytest.mark.parametrize(("minutes", "accepted"), [(14, True), (16, False), (-14, True), (-16, False)])
def test_the_clock_may_be_a_quarter_of_an_hour_wrong(server: SmqServer, minutes: int, accepted: bool) -> None:
    client = own_client(server, clock=lambda: datetime.now(UTC) + timedelta(minutes=minutes))
    if accepted:
        assert client.receive(16, NOW)[0] == []
    else:
        with pytest.raises(QueueDeniedError) as refused:
            client.receive(16, NOW)
        assert "clock" in refused.value.hint
    client.close()


def test_the_server_refuses_more_than_it_documents(server: SmqServer, client: SmqClient) -> None:
    server.send("a")
    for wrong in (
        lambda: client.receive(17, NOW),
        lambda: client.receive(0, NOW),
        lambda: client.receive(16, timedelta(seconds=31)),
        lambda: client.delete([]),
        lambda: client.delete([f"1-{number}" for number in range(17)]),
        lambda: client.hide("1-x", NOW),
        lambda: client.hide("1-x", timedelta(seconds=43201)),
    ):
        with pytest.raises(QueueError, match="InvalidArgument"):
            wrong()
    assert server.left() == 1


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_busy_service_is_asked_again(server: SmqServer, client: SmqClient, status: int) -> None:
    server.faults.append(Answer(status, b"<html>busy</html>"))
    with pytest.raises(BusyQueueError):
        client.receive(16, NOW)


def test_too_many_requests_pass(server: SmqServer, client: SmqClient) -> None:
    server.faults.append(Answer(400, b"<Error><Code>QpsLimitExceeded</Code><RequestId>1</RequestId></Error>"))
    with pytest.raises(BusyQueueError, match="QpsLimitExceeded"):
        client.receive(16, NOW)


def test_nobody_there_may_pass() -> None:
    with SmqServer() as server:
        client = own_client(server)
    with pytest.raises(BusyQueueError, match="no answer"):
        client.receive(16, NOW)
    client.close()


def test_a_silent_peer_is_not_waited_for_for_ever(
    server: SmqServer, client: SmqClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.sources.smq_client._READ_SECONDS", 0.2)
    server.faults.append(Answer(200, silent=True))
    with pytest.raises(BusyQueueError, match="ReadTimeoutError"):
        client.receive(16, NOW)


def test_every_request_has_a_time_out(server: SmqServer, client: SmqClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatcher.sources.smq_client._READ_SECONDS", 0.2)
    server.faults.extend([Answer(200, silent=True)] * 2)
    with pytest.raises(BusyQueueError, match="ReadTimeoutError"):
        client.delete(["1-a"])
    with pytest.raises(BusyQueueError, match="ReadTimeoutError"):
        client.hide("1-a", timedelta(seconds=5))


def test_a_redirect_is_not_followed(server: SmqServer, client: SmqClient) -> None:
    server.faults.append(Answer(302, headers=(("Location", f"{server.url}/elsewhere"),)))
    with pytest.raises(QueueError, match="HTTP 302"):
        client.receive(16, NOW)
    assert len(server.requests) == 1


# -- hostile answers --------------------------------------------------------------------------------

BILLION_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE m [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    "<Messages><Message><MessageId>1</MessageId><ReceiptHandle>1</ReceiptHandle><MessageBody>&b;</MessageBody>"
    "<NextVisibleTime>1</NextVisibleTime></Message></Messages>"
)
MESSAGE = "<MessageId>1</MessageId><ReceiptHandle>1-a</ReceiptHandle><NextVisibleTime>{}</NextVisibleTime>"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<Messages>",
        b"\x00\xff\xfe",
        b"<html><body>captive portal</body></html>",
        BILLION_LAUGHS.encode(),
        b"<a>" * 10_000 + b"</a>" * 10_000,
        b"<Messages><Message><MessageId>1</MessageId></Message></Messages>",
        f"<Messages><Message>{MESSAGE.format('soon')}</Message></Messages>".encode(),
        f"<Messages><Message>{MESSAGE.format('9' * 40)}</Message></Messages>".encode(),
        f"<Messages><Message>{MESSAGE.format('9' * 5000)}</Message></Messages>".encode(),
        f"<Messages>{f'<Message>{MESSAGE.format(1)}</Message>' * 65}</Messages>".encode(),
        b"<?xml version='1.0' encoding='martian'?><Messages/>",
    ],
)
def test_a_hostile_answer_is_an_error_and_nothing_else(server: SmqServer, client: SmqClient, body: bytes) -> None:
    server.faults.append(Answer(200, body))
    with pytest.raises(QueueError, match="cannot be used"):
        client.receive(16, NOW)
    assert client.receive(16, NOW)[0] == []


def test_an_answer_without_end_is_not_read(
    server: SmqServer, client: SmqClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.sources.smq_client._LARGEST_ANSWER", 1000)
    server.faults.append(Answer(200, b"x" * 1001))
    with pytest.raises(QueueError, match="larger than"):
        client.receive(16, NOW)


@pytest.mark.parametrize("body", [b"", b"<Errors/>", b"<Error><Code>\xc4\x85 secret</Code></Error>", b"<x"])
def test_an_error_that_cannot_be_read_is_told_by_its_status(server: SmqServer, client: SmqClient, body: bytes) -> None:
    server.faults.extend([Answer(418, body)] * 3)
    for call in (
        lambda: client.receive(16, NOW),
        lambda: client.delete(["1-a"]),
        lambda: client.hide("1-a", timedelta(seconds=5)),
    ):
        with pytest.raises(QueueError, match=r"\(HTTP 418\)"):
            call()


@pytest.mark.parametrize("reference", ["&#1;", "&#x1F;", "&#xFFFE;", "&#xD800;", "&#x110000;", "&#999999999;"])
def test_a_reference_to_a_forbidden_character_is_replaced(reference: str) -> None:
    assert read(f"<Error><Code>a{reference}&#65;b</Code></Error>".encode()).fields == {"Code": "a\ufffdAb"}


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(st.binary(max_size=400) | st.text("<>/&;!ABab \n\"'=[]", max_size=200).map(str.encode))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    with suppress(MalformedAnswerError):
        assert isinstance(read(body), Document)


@settings(max_examples=100)
@given(
    st.lists(
        st.text(
            st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), min_size=1
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_text_survives_the_wire(bodies: list[str]) -> None:
    with SmqServer() as server:
        client = own_client(server)
        server.send(*bodies, base64_encoded=False)
        assert [each.body.decode() for each in client.receive(16, NOW)[0]] == bodies
        client.close()


def test_every_error_has_a_hint(server: SmqServer, client: SmqClient) -> None:
    for code in ("AccessDenied", "QueueNotExist", "InternalError", "Whatever"):
        server.faults.append(Answer(400, f"<Error><Code>{code}</Code></Error>".encode()))
        with pytest.raises(DispatcherError) as error:
            client.receive(16, NOW)
        assert error.value.hint


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest().upper()

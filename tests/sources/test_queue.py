"""A queue as a source: nothing is deleted before its commit, nothing is hidden for ever, and a stop is heard."""

from __future__ import annotations

import base64
import json
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.decoding import Format
from dispatcher.core.settings import Credentials, Secret, SmqSettings
from dispatcher.errors import QueueDeniedError, QueueError
from dispatcher.sources import queue as queue_module
from dispatcher.sources.queue import BusyQueueError, Message, QueueSource, Received
from dispatcher.sources.smq import open_smq
from tests.sources.smq_server import Clock, SmqServer
from tests.sources.smq_wire import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dispatcher.ports import Batch

PATIENT = 20.0
BUSY = Answer(503, b"<Error><Code>InternalError</Code></Error>")


class Impatient(threading.Event):
    """A stop event on which nothing waits, so that pauses cost a test no time; it remembers them."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout or 0.0)
        return self.is_set()


def notification(*keys: str, bucket: str = "b", at: str = "2026-03-14T11:00:00.000Z") -> str:
    events = [
        {
            "eventName": "ObjectCreated:PutObject",
            "eventSource": "acs:oss",
            "eventTime": at,
            "eventVersion": "1.0",
            "oss": {"bucket": {"name": bucket}, "object": {"key": key, "eTag": "D41D8CD9", "size": 7}},
            "region": "cn-hangzhou",
        }
        for key in keys
    ]
    return json.dumps({"events": events}, ensure_ascii=False)


def open_source(server: SmqServer, **changes: object) -> QueueSource:
    settings = SmqSettings("smq:oss-events", server.url, server.queue, wait=timedelta(seconds=20))
    keys = Credentials(server.keys.key_id, Secret(server.keys.secret))
    return replace(open_smq(settings, lambda: keys), **changes)  # type: ignore[arg-type]  # fields by name


def keys_of(batch: Batch) -> list[str]:
    return [event.key for event in batch.events]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[SmqServer]:
    with SmqServer(clock=clock) as running:
        yield running


@pytest.fixture
def source(server: SmqServer) -> Iterator[QueueSource]:
    made = open_source(server)
    yield made
    made.close()


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


# -- what a message means ---------------------------------------------------------------------------

ENVELOPE = {"TopicOwner": "1", "TopicName": "t", "Subscriber": "1", "SubscriptionName": "s", "MessageId": "m"}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def as_xml(message: str) -> str:
    fields = "".join(f"<{name}>{value}</{name}>" for name, value in ENVELOPE.items())
    message = message.replace("&", "&amp;").replace("<", "&lt;")
    xmlns = "http://mns.aliyuncs.com/doc/v1/"
    return f'<?xml version="1.0"?><Notification xmlns="{xmlns}">{fields}<Message>{message}</Message></Notification>'


@pytest.mark.parametrize(
    "body",
    [
        notification("in/é &<x>.mp4"),
        encoded(notification("in/é &<x>.mp4")),
        json.dumps(ENVELOPE | {"Message": notification("in/é &<x>.mp4")}),
        json.dumps(ENVELOPE | {"Message": encoded(notification("in/é &<x>.mp4"))}),
        encoded(json.dumps(ENVELOPE | {"Message": encoded(notification("in/é &<x>.mp4"))})),
        as_xml(notification("in/é &<x>.mp4")),
        as_xml(encoded(notification("in/é &<x>.mp4"))),
        encoded(as_xml(encoded(notification("in/é &<x>.mp4")))),
    ],
    ids=["raw", "base64", "json", "json-base64", "base64-json", "xml", "xml-base64", "base64-xml"],
)
@pytest.mark.parametrize("form", [None, Format.OSS])
def test_every_form_of_a_subscription_is_understood(
    server: SmqServer, source: QueueSource, stop: threading.Event, body: str, form: Format | None
) -> None:
    server.send(body, base64_encoded=False)
    source.format = form
    batch = next(source.batches(stop))
    assert [(event.bucket, event.key, event.source) for event in batch.events] == [("b", "in/é &<x>.mp4", source.name)]
    assert batch.undecodable == ()


def test_what_means_nothing_is_handed_over_with_its_body(
    server: SmqServer, source: QueueSource, stop: threading.Event
) -> None:
    server.send("no json at all", base64_encoded=False)
    server.send(notification("in/a.mp4"))
    batch = next(source.batches(stop))
    assert keys_of(batch) == ["in/a.mp4"]
    assert [(each.source, each.body, each.format) for each in batch.undecodable] == [
        (source.name, b"no json at all", None)
    ]
    assert batch.undecodable[0].reason
    batch.ack()
    assert server.left() == 0


@pytest.mark.parametrize("forbidden", ["\x01", "\x0b", "\ufffe"])
def test_a_character_that_xml_forbids_keeps_no_other_message_from_being_read(
    server: SmqServer, source: QueueSource, stop: threading.Event, forbidden: str
) -> None:
    server.send(f"bad {forbidden} body", base64_encoded=False)
    server.send(notification("in/a.mp4"))
    batch = next(source.batches(stop))
    assert keys_of(batch) == ["in/a.mp4"]
    assert [each.body.decode() for each in batch.undecodable] == ["bad \ufffd body"]
    batch.ack()
    assert server.left() == 0


def test_a_message_of_something_else_is_taken_and_brings_nothing(
    server: SmqServer, source: QueueSource, stop: threading.Event
) -> None:
    server.send(notification("in/a.mp4").replace("Created:PutObject", "Removed:DeleteObject"))
    batch = next(source.batches(stop))
    assert (keys_of(batch), list(batch.undecodable)) == ([], [])
    batch.ack()
    assert server.left() == 0


# -- acknowledging ----------------------------------------------------------------------------------


def test_messages_are_deleted_when_they_are_acknowledged(
    server: SmqServer, source: QueueSource, stop: threading.Event
) -> None:
    server.send(*(notification(f"in/{number}.mp4") for number in range(20)))
    lefts = []
    for batch in islice(source.batches(stop), 2):
        lefts.append(server.left())
        batch.ack()
    assert (lefts, server.left(), server.count("DELETE")) == ([20, 4], 0, 2)


def test_what_is_not_acknowledged_comes_again(
    server: SmqServer, source: QueueSource, stop: threading.Event, clock: Clock
) -> None:
    server.send(notification("in/a.mp4"), notification("in/b.mp4"))
    batches = source.batches(stop)
    assert keys_of(next(batches)) == ["in/a.mp4", "in/b.mp4"]
    clock.later(seconds=31)
    again = next(batches)
    assert keys_of(again) == ["in/a.mp4", "in/b.mp4"]
    again.ack()
    assert server.left() == 0


def test_acknowledging_late_is_no_error(
    server: SmqServer, source: QueueSource, stop: threading.Event, clock: Clock
) -> None:
    server.send(notification("in/a.mp4"))
    batch = next(source.batches(stop))
    clock.later(seconds=31)
    batch.ack()
    assert (server.left(), server.visible()) == (1, 1)


def test_a_deletion_that_fails_is_tried_again(server: SmqServer, source: QueueSource) -> None:
    stop = Impatient()
    server.send(notification("in/a.mp4"), notification("in/b.mp4"))
    batch = next(source.batches(stop))
    server.faults.extend([BUSY, BUSY])
    batch.ack()
    assert (server.left(), server.count("DELETE")) == (0, 3)


def test_only_what_was_not_deleted_is_deleted_again(server: SmqServer, source: QueueSource) -> None:
    stop = Impatient()
    server.send(notification("in/a.mp4"), notification("in/b.mp4"))
    batch = next(source.batches(stop))
    first = next(iter(server.requests))
    assert first.method == "GET"
    handles = [stored.receipt for stored in server._stored.values()]
    code = "<ErrorCode>InternalError</ErrorCode><ErrorMessage>x</ErrorMessage>"
    partly = f"<Errors><Error>{code}<ReceiptHandle>{handles[1]}</ReceiptHandle></Error></Errors>"
    server.faults.append(Answer(404, partly.encode()))
    batch.ack()
    sent = [request.body.decode() for request in server.requests if request.method == "DELETE"]
    assert [[handle in body for handle in handles] for body in sent] == [[True, True], [False, True]]


def test_a_deletion_that_never_succeeds_is_told(server: SmqServer, source: QueueSource) -> None:
    stop = Impatient()
    server.send(notification("in/a.mp4"))
    batch = next(source.batches(stop))
    server.faults.extend([BUSY] * 4)
    with pytest.raises(QueueError, match="1 messages could not be deleted") as error:
        batch.ack()
    assert "nothing starts twice" in error.value.hint
    assert len(server.faults) == 0


# -- hidden while it waits, and no longer -----------------------------------------------------------


def test_messages_stay_hidden_while_their_batch_waits(server: SmqServer, clock: Clock, stop: threading.Event) -> None:
    source = open_source(server, renew_every=timedelta(milliseconds=10))
    server.send(notification("in/a.mp4"), notification("in/b.mp4"))
    batch = next(batches := source.batches(stop))
    for _ in range(3):
        clock.later(seconds=29)
        wanted = server.count("PUT") + 4
        server.wait_for(partial(server.has_seen, "PUT", wanted), "both were hidden again, twice")
    assert server.visible() == 0
    batch.ack()
    assert server.left() == 0
    assert "ReceiptHandleError" not in server.refused
    batches.close()  # type: ignore[attr-defined]  # a generator
    source.close()


def test_a_renewal_that_fails_is_made_up_for(server: SmqServer, clock: Clock, stop: threading.Event) -> None:
    source = open_source(server, renew_every=timedelta(milliseconds=10))
    server.send(notification("in/a.mp4"), notification("in/b.mp4"))
    server.wait_for(lambda: server.left() == 2, "both were sent")
    batch = next(batches := source.batches(stop))
    with server.changed:
        server.faults.extend([BUSY, BUSY])
    before = server.count("PUT")
    server.wait_for(lambda: server.count("PUT") >= before + 8, "they were hidden again all the same")
    batch.ack()
    assert (server.left(), server.visible()) == (0, 0)
    batches.close()  # type: ignore[attr-defined]  # a generator
    source.close()


def test_nothing_is_hidden_any_more_after_its_batch_was_left(
    server: SmqServer, clock: Clock, stop: threading.Event
) -> None:
    source = open_source(server, renew_every=timedelta(milliseconds=10))
    server.send(notification("in/a.mp4"))
    batches = source.batches(stop)
    next(batches)
    server.wait_for(lambda: server.count("PUT") > 0, "it was hidden again")
    batches.close()  # type: ignore[attr-defined]  # a generator
    handle = next(iter(server._stored.values())).receipt
    clock.later(seconds=61)
    assert (server.visible(), next(iter(server._stored.values())).receipt) == (1, handle)
    source.close()


def test_a_consumer_that_keeps_the_iterator_hides_nothing_from_the_next_one(
    server: SmqServer, clock: Clock, stop: threading.Event
) -> None:
    source = open_source(server, renew_every=timedelta(milliseconds=10))
    server.send(notification("in/a.mp4"))
    kept = source.batches(stop)
    next(kept)
    follower = source.batches(stop)
    bringing = threading.Thread(target=lambda: brought.append(keys_of(next(follower))))
    brought: list[list[str]] = []
    bringing.start()
    server.wait_for(lambda: server.count("GET") == 2, "it is asked again")
    clock.later(seconds=61)
    server.moved()
    bringing.join(PATIENT)
    assert brought == [["in/a.mp4"]]
    source.close()


def test_no_batch_is_held_for_ever(server: SmqServer, stop: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "LONGEST_HOLD", timedelta())
    source = open_source(server, renew_every=timedelta(milliseconds=1))
    server.send(notification("in/a.mp4"))
    batches = source.batches(stop)
    next(batches)
    assert source._hold is not None
    source._hold._thread.join(PATIENT)
    assert (source._hold._thread.is_alive(), server.count("PUT")) == (False, 0)
    source.close()


# -- stopping ---------------------------------------------------------------------------------------


def test_a_stop_does_not_wait_for_the_long_poll(server: SmqServer, source: QueueSource, stop: threading.Event) -> None:
    ended = threading.Event()

    def run() -> None:
        assert list(source.batches(stop)) == []
        ended.set()

    threading.Thread(target=run).start()
    server.wait_for(lambda: server.count("GET") == 1, "the long poll began")
    stop.set()
    assert ended.wait(5)
    assert server.requests[0].target.endswith("waitseconds=20")


def test_a_message_that_comes_after_the_stop_is_given_back(
    server: SmqServer, source: QueueSource, stop: threading.Event, clock: Clock
) -> None:
    thread = threading.Thread(target=lambda: list(source.batches(stop)))
    thread.start()
    server.wait_for(lambda: server.count("GET") == 1, "the long poll began")
    stop.set()
    thread.join(PATIENT)
    server.send(notification("in/late.mp4"))
    server.wait_for(lambda: server.count("PUT") == 1 and not server.refused, "it was given back")
    clock.later(seconds=1)
    assert (server.left(), server.visible()) == (1, 1)


def test_a_source_that_is_stopped_asks_nothing(server: SmqServer, source: QueueSource, stop: threading.Event) -> None:
    stop.set()
    assert list(source.batches(stop)) == []
    assert server.requests == []


def test_what_was_yielded_before_the_stop_can_still_be_acknowledged(
    server: SmqServer, source: QueueSource, stop: threading.Event
) -> None:
    server.send(notification("in/a.mp4"))
    batches = source.batches(stop)
    batch = next(batches)
    stop.set()
    batch.ack()
    assert (server.left(), list(batches)) == (0, [])


# -- failures ---------------------------------------------------------------------------------------


def test_a_failure_that_passes_is_not_noticed(server: SmqServer, source: QueueSource) -> None:
    server.send(notification("in/a.mp4"))
    server.faults.extend([BUSY] * 3)
    assert keys_of(next(source.batches(Impatient()))) == ["in/a.mp4"]


def test_a_failure_that_stays_is_told_and_the_next_iteration_goes_on(server: SmqServer, source: QueueSource) -> None:
    server.send(notification("in/a.mp4"))
    server.faults.extend([BUSY] * 4)
    with pytest.raises(BusyQueueError):
        next(source.batches(Impatient()))
    assert keys_of(next(source.batches(Impatient()))) == ["in/a.mp4"]


def test_a_refusal_is_told_at_once(server: SmqServer, source: QueueSource) -> None:
    server.faults.append(Answer(403, b"<Error><Code>AccessDenied</Code></Error>"))
    with pytest.raises(QueueDeniedError, match="AccessDenied") as refused:
        next(source.batches(Impatient()))
    assert "mns:ReceiveMessage" in refused.value.hint
    assert len(server.requests) == 1


@dataclass
class ScriptedQueue:
    """A queue that answers as told."""

    answers: deque[Received] = field(default_factory=deque)
    gate: threading.Event = field(default_factory=threading.Event)
    hidden: list[Sequence[str]] = field(default_factory=list)
    asked: int = 0

    def receive(self) -> Received:
        self.asked += 1
        self.gate.wait(PATIENT)
        return self.answers.popleft() if self.answers else Received((), timedelta())

    def delete(self, handles: Sequence[str]) -> Sequence[str]:
        return ()

    def hide(self, handles: Sequence[str], during: timedelta) -> Mapping[str, str]:
        self.hidden.append(handles)
        return {handle: handle for handle in handles}

    def close(self) -> None:
        self.gate.set()


def scripted(queue: ScriptedQueue) -> QueueSource:
    return QueueSource("q", queue, wait=timedelta(), visibility=timedelta(seconds=60))


def test_an_answer_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "_LONGER_THAN_WAIT", 0.01)
    queue = ScriptedQueue()
    with pytest.raises(BusyQueueError, match="no answer within"):
        next(scripted(queue).batches(Impatient()))
    assert queue.asked == queue_module.ATTEMPTS
    queue.gate.set()


def test_a_queue_that_does_not_wait_is_not_asked_in_a_circle() -> None:
    queue = ScriptedQueue()
    queue.gate.set()
    queue.answers.extend([Received((), timedelta())] * 3 + [Received((Message("h", b"{}"),), timedelta(seconds=60))])
    stop = Impatient()
    assert len(next(scripted(queue).batches(stop)).undecodable) == 1
    assert [0.5 < pause <= 1 for pause in stop.pauses] == [True] * 3

"""SQS over its real wire: moto's server answers boto3."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import boto3
import pytest
from botocore.stub import Stubber
from moto.server import ThreadedMotoServer

from dispatcher.core.decoding import Format
from dispatcher.core.settings import Credentials, Secret, SqsSettings
from dispatcher.errors import ExitCode, QueueDeniedError, QueueError, QueueMissingError
from dispatcher.sources.queue import BusyQueueError, QueueSource
from dispatcher.sources.sqs import SqsQueue, open_sqs
from tests.sources.test_queue import Impatient, keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = Credentials("sqs-key", Secret("sqs-secret-value"))
TEST_EVENT = json.dumps(
    {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-03-14T11:00:00.000Z", "Bucket": "b"}
)


def notification(*keys: str, bucket: str = "b", at: str = "2026-03-14T11:00:00.000Z") -> str:
    records = [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventTime": at,
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 7, "eTag": "d4", "sequencer": "00"}},
        }
        for key in keys
    ]
    return json.dumps({"Records": records})


def quoted(key: str) -> str:
    """A key as S3 spells it in an event."""
    return quote_plus(key, safe="/")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def sqs(endpoint: str) -> Iterator[Any]:
    client = boto3.client(
        "sqs",
        region_name="eu-west-1",
        endpoint_url=endpoint,
        aws_access_key_id="other",
        aws_secret_access_key="other",
    )
    yield client
    client.close()


@pytest.fixture
def queue_url(sqs: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"q-{abs(hash(request.node.nodeid))}"
    url: str = sqs.create_queue(QueueName=name)["QueueUrl"]
    yield url
    sqs.delete_queue(QueueUrl=url)


@pytest.fixture
def settings(endpoint: str, queue_url: str) -> SqsSettings:
    return SqsSettings("sqs:q", queue_url, "eu-west-1", endpoint, KEYS)


def source_of(settings: SqsSettings, wait: int = 1, visibility: int = 60) -> QueueSource:
    waits, hides = timedelta(seconds=wait), timedelta(seconds=visibility)
    return replace(open_sqs(settings), queue=SqsQueue(settings, waits, hides), wait=waits, visibility=hides)


@pytest.fixture
def source(settings: SqsSettings) -> Iterator[QueueSource]:
    made = source_of(settings)
    yield made
    made.close()


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def left(sqs: Any, url: str) -> int:
    """How many messages are not deleted."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(attributes[name]) for name in names)


def test_ten_come_at_once_and_are_deleted_after_their_acknowledgement(
    sqs: Any, queue_url: str, source: QueueSource, stop: threading.Event
) -> None:
    for number in range(13):
        sqs.send_message(QueueUrl=queue_url, MessageBody=notification(f"in/{number:02}.mp4"))
    batches = source.batches(stop)
    first = next(batches)
    assert (len(first.events), left(sqs, queue_url)) == (10, 13)
    first.ack()
    second = next(batches)
    assert left(sqs, queue_url) == 3
    second.ack()
    assert left(sqs, queue_url) == 0
    assert sorted(keys_of(first) + keys_of(second)) == [f"in/{number:02}.mp4" for number in range(13)]


@pytest.mark.parametrize("form", [None, Format.S3])
def test_the_keys_and_envelopes_of_s3_are_understood(
    sqs: Any, queue_url: str, settings: SqsSettings, stop: threading.Event, form: Format | None
) -> None:
    by_sns = {
        "Type": "Notification",
        "TopicArn": "arn:aws:sns:eu-west-1:1:t",
        "Message": notification("in/a%2Bb+c.mp4"),
    }
    for body in (notification("in/%C3%A9+x.mp4"), json.dumps(by_sns), TEST_EVENT, "no json"):
        sqs.send_message(QueueUrl=queue_url, MessageBody=body)
    source = source_of(replace(settings, format=form))
    batch = next(source.batches(stop))
    assert sorted(keys_of(batch)) == ["in/a+b c.mp4", "in/é x.mp4"]
    assert [each.body for each in batch.undecodable] == [b"no json"]
    batch.ack()
    assert left(sqs, queue_url) == 0
    source.close()


def test_what_is_not_acknowledged_comes_again(
    sqs: Any, queue_url: str, settings: SqsSettings, stop: threading.Event
) -> None:
    sqs.send_message(QueueUrl=queue_url, MessageBody=notification("in/a.mp4"))
    source = source_of(settings, wait=5, visibility=1)
    batches = source.batches(stop)
    assert keys_of(next(batches)) == ["in/a.mp4"]
    again = next(batches)
    assert keys_of(again) == ["in/a.mp4"]
    again.ack()
    assert left(sqs, queue_url) == 0
    source.close()


def test_messages_stay_hidden_while_their_batch_waits(
    sqs: Any, queue_url: str, settings: SqsSettings, stop: threading.Event
) -> None:
    sqs.send_message(QueueUrl=queue_url, MessageBody=notification("in/a.mp4"))
    source = source_of(settings, visibility=2)
    batches = source.batches(stop)
    batch = next(batches)
    # Longer than they were hidden at first: the other receiver waits for them, in vain.
    seen = sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=4)
    assert "Messages" not in seen
    batch.ack()
    assert (left(sqs, queue_url), keys_of(batch)) == (0, ["in/a.mp4"])
    stop.set()
    assert list(batches) == []
    source.close()


def test_a_stop_does_not_wait_for_the_long_poll(settings: SqsSettings, stop: threading.Event) -> None:
    source = source_of(settings, wait=5)
    asked, ended = threading.Event(), threading.Event()
    source.queue = _Telling(source.queue, asked)

    def run() -> None:
        assert list(source.batches(stop)) == []
        ended.set()

    threading.Thread(target=run).start()
    assert asked.wait(20)
    stop.set()
    assert ended.wait(3)
    source.close()


class _Telling:
    """The queue, telling when it is asked."""

    def __init__(self, queue: Any, asked: threading.Event) -> None:
        self._queue, self._asked = queue, asked

    def receive(self) -> Any:
        self._asked.set()
        return self._queue.receive()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


# -- what is refused and what fails -----------------------------------------------------------------


def test_a_missing_queue_is_an_error_of_the_configuration(settings: SqsSettings, stop: threading.Event) -> None:
    source = source_of(replace(settings, queue_url=settings.queue_url + "-other"))
    with pytest.raises(QueueMissingError, match="no such queue") as missing:
        next(source.batches(stop))
    assert missing.value.exit_code is ExitCode.CONFIG
    source.close()


def test_nobody_there_may_pass(settings: SqsSettings) -> None:
    source = source_of(replace(settings, endpoint="http://127.0.0.1:9"))
    with pytest.raises(BusyQueueError, match="EndpointConnectionError"):
        next(source.batches(Impatient()))
    source.close()


def test_no_credentials_are_told_as_such(
    settings: SqsSettings, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    source = source_of(replace(settings, credentials=None))
    with pytest.raises(QueueDeniedError, match="no usable credentials"):
        next(source.batches(stop))
    source.close()


@pytest.fixture
def stubbed(settings: SqsSettings) -> Iterator[tuple[SqsQueue, Stubber]]:
    queue = SqsQueue(settings)
    with Stubber(queue._client) as stub:
        yield queue, stub
    queue.close()


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("AccessDenied", 403, QueueDeniedError),
        ("AccessDeniedException", 400, QueueDeniedError),
        ("InvalidClientTokenId", 403, QueueDeniedError),
        ("ExpiredToken", 403, QueueDeniedError),
        ("Whatever", 403, QueueDeniedError),
        ("RequestThrottled", 400, BusyQueueError),
        ("Whatever", 503, BusyQueueError),
        ("OverLimit", 403, QueueError),
        ("InvalidAttributeValue", 400, QueueError),
        ("com.amazonaws.sqs#QueueDoesNotExist", 400, QueueMissingError),
    ],
)
def test_each_refusal_has_its_meaning(
    stubbed: tuple[SqsQueue, Stubber], code: str, status: int, expected: type[QueueError]
) -> None:
    queue, stub = stubbed
    stub.add_client_error("receive_message", code, "said at length", status)
    with pytest.raises(expected) as error:
        queue.receive()
    assert type(error.value) is expected
    told = error.value.message + error.value.hint
    assert queue.settings.queue_url in told
    assert "said at length" not in told
    assert "sqs-secret-value" not in told


def failed(index: int, *, own_fault: bool) -> dict[str, object]:
    return {"Id": str(index), "SenderFault": own_fault, "Code": "x"}


def test_only_what_may_pass_is_deleted_again(stubbed: tuple[SqsQueue, Stubber]) -> None:
    queue, stub = stubbed
    answer = {"Successful": [{"Id": "0"}], "Failed": [failed(1, own_fault=False), failed(2, own_fault=True)]}
    stub.add_response("delete_message_batch", answer)
    assert list(queue.delete(["a", "b", "c"])) == ["b"]


def test_a_receipt_that_ended_is_not_hidden_again(stubbed: tuple[SqsQueue, Stubber]) -> None:
    queue, stub = stubbed
    answer = {"Successful": [{"Id": "0"}], "Failed": [failed(1, own_fault=False), failed(2, own_fault=True)]}
    stub.add_response("change_message_visibility_batch", answer)
    assert queue.hide(["a", "b", "c"], timedelta(seconds=9)) == {"a": "a", "b": "b"}


def test_more_than_a_batch_is_deleted_in_batches(stubbed: tuple[SqsQueue, Stubber]) -> None:
    queue, stub = stubbed
    for number in (10, 2):
        stub.add_response(
            "delete_message_batch",
            {"Successful": [{"Id": str(index)} for index in range(number)], "Failed": []},
        )
    assert list(queue.delete([f"h{number}" for number in range(12)])) == []
    stub.assert_no_pending_responses()


def test_a_body_that_is_no_unicode_is_the_decoders_business(stubbed: tuple[SqsQueue, Stubber]) -> None:
    queue, stub = stubbed
    stub.add_response("receive_message", {"Messages": [{"ReceiptHandle": "h", "Body": "\ud800"}]})
    assert queue.receive().messages[0].body == b"\xed\xa0\x80"


def test_boto3_does_not_try_again_by_itself(settings: SqsSettings) -> None:
    queue = SqsQueue(settings)
    config = queue._client.meta.config
    assert config.retries["total_max_attempts"] == 1
    assert (config.connect_timeout, config.read_timeout) == (10, 35)
    queue.close()

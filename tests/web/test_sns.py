"""Messages of SNS: what its signature admits, and how a subscription is confirmed."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from dispatcher.core.settings import SnsSignature, WebhookSettings
from dispatcher.errors import LedgerError
from dispatcher.web.certificates import Certificates
from dispatcher.web.requests import RefusedError, RequestHead
from dispatcher.web.sns import SnsCheck
from tests.web.conftest import NOW, Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.web.conftest import Answer, Clock, Inbox, Listener, Signer

PATH = "/events/sns"
URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:uploads"
TOKEN = "2336412f37fb687f5d51e6e241d09c80"
SNS = WebhookSettings("sns", PATH, SnsSignature((TOPIC,)))


def stamp(minutes: float = 0) -> str:
    return (NOW + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def notification(**changes: Any) -> dict[str, Any]:
    message = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Subject": "Amazon S3 Notification",
        "Message": '{"Records": []}',
        "Timestamp": stamp(),
        "SignatureVersion": "2",
        "SigningCertURL": URL,
        "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe",
    }
    return message | changes


def confirmation(**changes: Any) -> dict[str, Any]:
    message = notification(
        Type="SubscriptionConfirmation",
        Message="You have chosen to subscribe",
        Token=TOKEN,
        SubscribeURL=f"https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={TOKEN}",
    )
    del message["Subject"]
    return message | changes


def signed(message: dict[str, Any], signer: Signer) -> dict[str, Any]:
    """Sign as the documentation says: fields in the order of their names, each name and value a line."""
    names = ["Message", "MessageId"]
    names += ["SubscribeURL"] if "Token" in message else ["Subject"] if "Subject" in message else []
    names += ["Timestamp"] + (["Token"] if "Token" in message else []) + ["TopicArn", "Type"]
    text = "".join(f"{name}\n{message[name]}\n" for name in names)
    algorithm = hashes.SHA256() if message["SignatureVersion"] == "2" else hashes.SHA1()
    signature = signer.key.sign(text.encode(), padding.PKCS1v15(), algorithm)
    return message | {"Signature": base64.b64encode(signature).decode()}


@dataclass
class Topic:
    listener: Listener
    place: Place
    signer: Signer

    def send(self, message: dict[str, Any], signer: Signer | None = None) -> Answer:
        return self.post(signed(message, signer or self.signer))

    def post(self, message: object) -> Answer:
        headers = {"Content-Type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": "Notification"}
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        return self.listener.request("POST", PATH, body, headers)


@pytest.fixture
def topic(listen: Callable[..., Listener], signer: Signer) -> Topic:
    place = Place({URL: signer.pem})
    return Topic(listen(SNS, fetch=place), place, signer)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", ["Amazon S3 Notification", None])
def test_a_signed_notification_is_taken_whole(topic: Topic, inbox: Inbox, version: str, subject: str | None) -> None:
    message = notification(SignatureVersion=version, Message='{"Records": [1]}\n\N{SNOWMAN}')
    if subject is None:
        del message["Subject"]
    assert topic.send(message).status == 204
    ((source, body),) = inbox.taken
    assert source == "sns"
    assert json.loads(body)["Message"] == message["Message"]


# Forged --------------------------------------------------------------------------------------------------------


def test_a_strangers_signature_is_refused(topic: Topic, inbox: Inbox, stranger: Signer) -> None:
    assert topic.send(notification(), stranger).status == 403
    assert inbox.taken == []


@pytest.mark.parametrize("name", ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Signature"])
def test_nothing_signed_may_be_changed(topic: Topic, inbox: Inbox, name: str) -> None:
    message = signed(notification(), topic.signer)
    changed = {"Timestamp": stamp(1), "Signature": base64.b64encode(bytes(256)).decode()}.get(name, message[name] + "x")
    assert topic.post(message | {name: changed}).status == 403
    assert inbox.taken == []


def test_a_notification_cannot_be_made_a_confirmation(topic: Topic) -> None:
    message = signed(notification(), topic.signer)
    assert topic.post(message | {"Type": "SubscriptionConfirmation", "Token": "x", "SubscribeURL": "x"}).status == 403
    assert topic.place.asked == [URL]


def test_another_topic_is_refused_even_if_sns_signed_it(topic: Topic, inbox: Inbox) -> None:
    assert topic.send(notification(TopicArn="arn:aws:sns:eu-west-1:666666666666:evil")).status == 403
    assert topic.place.asked == []
    assert inbox.taken == []


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/SimpleNotificationService-7506a1e3.pem",
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-7506a1e3.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-7506a1e3.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-7506a1e3.pem",
        "https://sns.eu-west-1.amazonaws.com:444/SimpleNotificationService-7506a1e3.pem",
        "https://sns.evil.eu-west-1.amazonaws.com/SimpleNotificationService-7506a1e3.pem",
        "https://s3.eu-west-1.amazonaws.com/SimpleNotificationService-7506a1e3.pem",
        "https://sns.evil.amazonaws.com/SimpleNotificationService-7506a1e3.pem",
        "https://sns.eu-west-1.amazonaws.com/evil/SimpleNotificationService-7506a1e3.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-7506a1e3.pem?x=1",
        "https://sns.eu-west-1.amazonaws.com/?Action=GetTopicAttributes",
        "",
    ],
)
def test_a_certificate_elsewhere_is_never_fetched(topic: Topic, inbox: Inbox, url: str, stranger: Signer) -> None:
    topic.place.files[url] = stranger.pem
    assert topic.send(notification(SigningCertURL=url), stranger).status == 403
    assert topic.place.asked == []
    assert inbox.taken == []


@pytest.mark.parametrize("minutes", [-76, 16, -60 * 24 * 30])
def test_a_message_of_another_time_is_refused(topic: Topic, inbox: Inbox, minutes: int) -> None:
    assert topic.send(notification(Timestamp=stamp(minutes))).status == 403
    assert inbox.taken == []


def test_a_replay_and_a_redelivery_are_answered_but_not_taken_again(topic: Topic, inbox: Inbox, clock: Clock) -> None:
    message = signed(notification(), topic.signer)
    assert topic.post(message).status == 204
    clock.now = NOW + timedelta(minutes=70)
    assert topic.post(message).status == 204
    assert len(inbox.taken) == 1
    clock.now = NOW + timedelta(minutes=76)
    assert topic.post(message).status == 403


def test_a_message_that_was_not_taken_is_taken_when_it_comes_again(topic: Topic, inbox: Inbox) -> None:
    inbox.fails = LedgerError("locked", hint="wait")
    message = signed(notification(), topic.signer)
    assert topic.post(message).status == 503
    inbox.fails = None
    assert topic.post(message).status == 204
    assert len(inbox.taken) == 1


# Malformed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        b"[]",
        b"{}",
        b"null",
        b"[" * 100_000,
        b'{"Type": "Notification"}',
        b'{"Type": []}',
        b"\xff\xfe",
        b'{"Records": []}',
    ],
)
def test_what_is_no_message_is_refused(topic: Topic, inbox: Inbox, body: bytes) -> None:
    assert topic.post(body).status == 400
    assert inbox.taken == []


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"SignatureVersion": "3"}, 403),
        ({"SignatureVersion": 2}, 400),
        ({"Signature": "%"}, 400),
        ({"Timestamp": "now"}, 400),
        ({"Type": "Other"}, 400),
        ({"Message": None}, 400),
        ({"Message": "\ud800"}, 403),
    ],
)
def test_a_field_of_another_kind_is_refused(topic: Topic, inbox: Inbox, change: dict[str, Any], status: int) -> None:
    assert topic.post(signed(notification(), topic.signer) | change).status == status
    assert inbox.taken == []


@given(st.dictionaries(st.sampled_from([*confirmation(), "Signature"]), st.text(max_size=20) | st.none()))
def test_no_message_breaks_the_check(changes: dict[str, Any]) -> None:
    check = SnsCheck(frozenset([TOPIC]), Certificates(Place(), lambda: NOW), Place())
    body = json.dumps(notification(Signature="AAAA") | changes).encode()
    with pytest.raises(RefusedError):
        check.verify(RequestHead("POST", PATH, ()), body, NOW)


# Subscriptions -------------------------------------------------------------------------------------------------


def test_a_configured_topics_subscription_is_confirmed(topic: Topic, inbox: Inbox) -> None:
    asked: list[str] = []
    topic.place.files = _AnswersSns({URL: topic.signer.pem}, asked)
    with capture_logs() as logs:
        assert topic.send(confirmation()).status == 204
    (url,) = asked
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "sns.eu-west-1.amazonaws.com", "/")
    assert parse_qs(parts.query) == {"Action": ["ConfirmSubscription"], "TopicArn": [TOPIC], "Token": [TOKEN]}
    assert "webhook.subscribed" in [line["event"] for line in logs]
    assert TOKEN not in repr(logs)
    assert inbox.taken == []


class _AnswersSns(dict[str, bytes]):
    """Finds what it holds, and SNS's own API at any query; remembers the latter."""

    def __init__(self, files: dict[str, bytes], asked: list[str]) -> None:
        super().__init__(files)
        self._asked = asked

    def __contains__(self, url: object) -> bool:
        return super().__contains__(url) or str(url).startswith("https://sns.eu-west-1.amazonaws.com/?")

    def __missing__(self, url: str) -> bytes:
        self._asked.append(url)
        return b"<ConfirmSubscriptionResponse/>"


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "https://evil.example/", "file:///etc/passwd"])
def test_the_url_in_a_message_is_never_followed(topic: Topic, url: str) -> None:
    asked: list[str] = []
    topic.place.files = _AnswersSns({URL: topic.signer.pem}, asked)
    assert topic.send(confirmation(SubscribeURL=url)).status == 204
    assert [urlsplit(each).netloc for each in asked] == ["sns.eu-west-1.amazonaws.com"]
    assert {urlsplit(each).netloc for each in topic.place.asked} == {"sns.eu-west-1.amazonaws.com"}


def test_a_forged_confirmation_asks_sns_nothing(topic: Topic, stranger: Signer) -> None:
    asked: list[str] = []
    topic.place.files = _AnswersSns({URL: topic.signer.pem}, asked)
    assert topic.send(confirmation(), stranger).status == 403
    assert asked == []


def test_a_token_cannot_change_what_is_asked(topic: Topic) -> None:
    asked: list[str] = []
    topic.place.files = _AnswersSns({URL: topic.signer.pem}, asked)
    token = "x&Action=DeleteTopic#/../"
    assert topic.send(confirmation(Token=token)).status == 204
    (url,) = asked
    assert parse_qs(urlsplit(url).query)["Action"] == ["ConfirmSubscription"]
    assert parse_qs(urlsplit(url).query)["Token"] == [token]


def test_a_confirmation_that_sns_does_not_take_is_asked_for_again(topic: Topic) -> None:
    assert topic.send(confirmation()).status == 503  # nothing answers but the certificate


def test_the_end_of_a_subscription_is_told(topic: Topic, inbox: Inbox) -> None:
    with capture_logs() as logs:
        assert topic.send(confirmation(Type="UnsubscribeConfirmation")).status == 204
    assert [line["topic"] for line in logs if line["event"] == "webhook.unsubscribed"] == [TOPIC]
    assert topic.place.asked == [URL]
    assert inbox.taken == []

"""The signature of AWS SNS, and its subscription hand-shake.

SNS signs fields of the message itself (SNS documentation, "Verifying the signatures of Amazon SNS
messages"): version 1 by RSA-SHA1, version 2 by RSA-SHA256.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlencode

import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from dispatcher.web.admission import Admission, Deliver, Nothing, OneTime
from dispatcher.web.certificates import sns_certificate_url
from dispatcher.web.fetching import FetchError
from dispatcher.web.requests import RETRY_AFTER, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.web.certificates import Certificates
    from dispatcher.web.fetching import Fetch
    from dispatcher.web.requests import RequestHead

OLDEST = timedelta(minutes=75)
"""SNS repeats a message for about an hour, with the time stamp of the first attempt."""
AHEAD = timedelta(minutes=15)

_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_HASHES: Mapping[str, type[hashes.SHA1 | hashes.SHA256]] = {"1": hashes.SHA1, "2": hashes.SHA256}
_ARN = re.compile(r"arn:(?P<partition>aws|aws-cn|aws-us-gov):sns:(?P<region>[a-z0-9-]+):\d{12}:[\w.-]+", re.ASCII)


def string_to_sign(message: Mapping[str, str]) -> bytes:
    """Return what the signature of a message of a known type covers: the fields that are there, in order."""
    text = "".join(f"{name}\n{message[name]}\n" for name in _SIGNED[message["Type"]] if name in message)
    return text.encode("utf-8", "surrogatepass")


def confirmation_url(topic_arn: str, token: str) -> str:
    """Return the request that confirms a subscription, built from a configured ARN.

    The URL in the message is never followed: what is asked, and whom, follows from the configuration.
    """
    arn = _ARN.fullmatch(topic_arn)
    if arn is None:
        raise RefusedError(HTTPStatus.FORBIDDEN, "the configured topic ARN is not one of SNS")
    domain = "amazonaws.com.cn" if arn["partition"] == "aws-cn" else "amazonaws.com"
    query = urlencode({"Action": "ConfirmSubscription", "TopicArn": topic_arn, "Token": token})
    return f"https://sns.{arn['region']}.{domain}/?{query}"


@dataclass(frozen=True, slots=True)
class SnsCheck:
    """Admits what SNS signed for a topic of the configuration, and confirms those topics' subscriptions."""

    may_block: ClassVar[bool] = True
    topic_arns: frozenset[str]
    certificates: Certificates
    fetch: Fetch

    def admit(self, head: RequestHead) -> None:
        """Everything stands in the body; headers of SNS prove nothing."""

    def verify(self, head: RequestHead, body: bytes, now: datetime) -> Admission:  # noqa: ARG002 - all is in the body
        message = _message(body)
        if message["TopicArn"] not in self.topic_arns:
            raise RefusedError(HTTPStatus.FORBIDDEN, "the topic is not one of those configured")
        sent_at = _timestamp(message["Timestamp"])
        if not now - OLDEST <= sent_at <= now + AHEAD:
            raise RefusedError(HTTPStatus.FORBIDDEN, "Timestamp is too old, or in the future")
        signature = self._verified(message)
        if message["Type"] == "Notification":
            mark = hashlib.sha256(signature).digest()
            return Deliver(body, OneTime(mark, sent_at + OLDEST, copies_are_redelivery=True))
        return self._settle(message)

    def _verified(self, message: Mapping[str, str]) -> bytes:
        try:
            signature = base64.b64decode(message["Signature"], validate=True)
        except (binascii.Error, ValueError):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "Signature is not base64") from None
        algorithm = _HASHES.get(message["SignatureVersion"])
        if algorithm is None:
            raise RefusedError(HTTPStatus.FORBIDDEN, "SignatureVersion is neither 1 nor 2")
        key = self.certificates.key(sns_certificate_url(message["SigningCertURL"]))
        try:
            key.verify(signature, string_to_sign(message), padding.PKCS1v15(), algorithm())
        except InvalidSignature:
            raise RefusedError(HTTPStatus.FORBIDDEN, "the signature is not SNS's for this message") from None
        return signature

    def _settle(self, message: Mapping[str, str]) -> Nothing:
        topic = message["TopicArn"]
        if message["Type"] == "UnsubscribeConfirmation":
            structlog.get_logger().warning(
                "webhook.unsubscribed", topic=topic, hint="subscribe again if it was not you"
            )
            return Nothing("the subscription was ended")
        try:
            self.fetch(confirmation_url(topic, message["Token"]))
        except FetchError as error:
            raise RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE, f"SNS did not confirm the subscription: {error}", RETRY_AFTER
            ) from None
        structlog.get_logger().info("webhook.subscribed", topic=topic)
        return Nothing("the subscription is confirmed")


def _message(body: bytes) -> dict[str, str]:
    """Return the fields of an SNS message that are texts. Raises RefusedError unless it is complete."""
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is no JSON") from None
    if not isinstance(found, dict):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is no SNS message")
    message = {name: value for name, value in found.items() if isinstance(value, str)}
    kind = message.get("Type", "")
    needed = {*_SIGNED.get(kind, ("Type",)), "Signature", "SignatureVersion", "SigningCertURL"} - {"Subject"}
    if kind not in _SIGNED or not message.keys() >= needed:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is no SNS message, or fields of it are missing")
    return message


def _timestamp(text: str) -> datetime:
    try:
        sent_at = datetime.fromisoformat(text)
    except ValueError:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "Timestamp is no time") from None
    return sent_at if sent_at.tzinfo is not None else sent_at.replace(tzinfo=UTC)

"""What carries a notification: base64, the envelopes of topics (SNS, SMQ), a list of several. Pure.

Sources: AWS documentation "Parsing SNS message formats", SMQ documentation "Use sample code to subscribe
to a topic" (which of its forms a rule of OSS creates is not documented, so all are taken).
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, NoReturn
from xml.parsers import expat

from dispatcher.core.decoding.reading import Fields, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_WRAPPINGS = 3
"""Envelopes around a notification: a topic's inside a queue's; more are nobody's."""
_XML_MESSAGE = "Message"


def unwrapped(body: bytes) -> Iterator[Fields]:
    """Yield the notifications inside a body. Raises UnreadableError where it holds none."""
    yield from _unwrapped(_value(body), 0)


def _unwrapped(value: object, depth: int) -> Iterator[Fields]:
    if isinstance(value, list) and value:
        # Event buses deliver several at once as a list; they are told apart one by one.
        for each in value:
            if not isinstance(each, dict):
                raise UnreadableError("it is a list of something else than notifications")
            yield from _unwrapped(each, depth)
        return
    if not isinstance(value, dict):
        raise UnreadableError("it is JSON, but no object")
    fields = Fields(value)
    message = _carried(fields)
    if message is None:
        yield fields
        return
    if depth >= _MOST_WRAPPINGS:
        raise UnreadableError(f"it is wrapped more than {_MOST_WRAPPINGS} times")
    yield from _unwrapped(_value(message.encode("utf-8", "replace")), depth + 1)


def _carried(fields: Fields) -> str | None:
    """Return what a topic's envelope carries, None if this is no such envelope."""
    by_sns = fields.text("Type") == "Notification" and "TopicArn" in fields
    by_smq = "TopicName" in fields and "SubscriptionName" in fields
    return fields.text(_XML_MESSAGE) if by_sns or by_smq else None


def _value(body: bytes) -> object:
    """Return the JSON value of a body that is JSON, base64 of it, or a topic's XML (or base64 of it) around either."""
    text = body.strip()
    if not text:
        raise UnreadableError("it is empty")
    if text.startswith(b"<"):
        return _value(_xml_message(text))
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        inner = base64.b64decode(b"".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise UnreadableError("it is neither JSON nor base64 of it") from None
    if inner.lstrip().startswith(b"<"):
        return _value(_xml_message(inner.strip()))
    try:
        return json.loads(inner)
    except (ValueError, RecursionError):
        raise UnreadableError("it is base64, but not of JSON") from None


def _xml_message(text: bytes) -> bytes:
    """Return the content of `Message` directly under the root of a topic's XML envelope."""
    path: list[str] = []
    found: list[str] = []

    def begin(name: str, _attributes: object) -> None:
        path.append(name)

    def end(_name: str) -> None:
        path.pop()

    def data(more: str) -> None:
        if path[1:] == [_XML_MESSAGE]:
            found.append(more)

    def refuse(*_: object) -> NoReturn:
        # A document type may declare entities, which can grow without end.
        raise UnreadableError("it is XML with a document type, which no notification has")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = data, refuse
    try:
        parser.Parse(text, True)  # noqa: FBT003 - expat's signature: this is all
    except (expat.ExpatError, ValueError) as error:
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError("it begins like XML and is none") from None
    if not found:
        raise UnreadableError("it is XML without a Message")
    message = "".join(found).encode()
    if message.lstrip().startswith(b"<"):
        raise UnreadableError("it is XML inside XML, which no topic sends")
    return message

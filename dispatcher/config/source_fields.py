"""The kinds of values that only sources and listeners have, each with its own notation."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from pydantic import PlainValidator, WithJsonSchema

from dispatcher.config.fields import described, read_settle, read_switch, text_of
from dispatcher.core.quantities import format_duration
from dispatcher.core.settings import Address

if TYPE_CHECKING:
    from collections.abc import Callable

_URL_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_OUR_PATHS = frozenset({"livez", "readyz", "startupz", "metrics", "api", "static", "callbacks"})
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_QUEUE_URL = re.compile(r"https?://[^/\s?#@]+/[^\s?#]+")


def duration_between(lowest: timedelta, highest: timedelta) -> Callable[[object], timedelta]:
    """Return the reader of a duration in a range."""

    def read(value: object) -> timedelta:
        duration = read_settle(value) or timedelta()
        if not lowest <= duration <= highest:
            raise ValueError(f"write a duration from {format_duration(lowest)} to {format_duration(highest)}")
        return duration

    return read


def read_url_path(value: object) -> str:
    """Read the path of a webhook."""
    text = text_of(value, "/events/minio")
    if not _URL_PATH.fullmatch(text) or text.endswith("/"):
        raise ValueError(f"{text!r} is no path; write for example /events/minio, of letters, digits and . _ ~ - /")
    if text.split("/")[1] in _OUR_PATHS:
        raise ValueError(f"{text} is a page of this program; write for example /events/minio")
    return text


def read_header_name(value: object) -> str:
    """Read the name of an HTTP header."""
    text = text_of(value, "X-Signature")
    if not _HEADER.fullmatch(text):
        raise ValueError("this is no name of a header; write for example X-Signature")
    return text.lower()


def read_queue_url(value: object) -> str:
    """Read the URL of a queue."""
    text = text_of(value, "https://sqs.eu-west-1.amazonaws.com/123456789012/uploads")
    if not _QUEUE_URL.fullmatch(text):
        raise ValueError(
            "this is no URL of a queue; write for example https://sqs.eu-west-1.amazonaws.com/123456789012/uploads"
        )
    return text


def read_polling(value: object) -> bool | None:
    """Read `true`, `false`, or `auto` (None)."""
    if value == "auto":
        return None
    try:
        return read_switch(value)
    except ValueError:
        raise ValueError("write auto, or true or false without quotes") from None


def read_listen(value: object) -> Address:
    """Read `host:port`."""
    text = text_of(value, "127.0.0.1:8080")
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    bracketed = host != bare
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535 or (":" in bare) != bracketed:  # noqa: PLR2004 - the highest port
        raise ValueError("write host:port, for example 127.0.0.1:8080, [::1]:8080, or 0.0.0.0:8080 for every address")
    if not bare or any(mark in bare for mark in "/?#@ \t"):
        raise ValueError("write the address to listen on before the port; 0.0.0.0 stands for every address")
    return Address(bare, int(port))


Wait = Annotated[
    timedelta,
    PlainValidator(duration_between(timedelta(), timedelta(seconds=30))),
    described("string", "how long a queue is asked to wait for a message: 0s to 30s", "20s"),
]
Visibility = Annotated[
    timedelta,
    PlainValidator(duration_between(timedelta(seconds=1), timedelta(hours=12))),
    described("string", "how long a received message is hidden from others: 1s to 12h", "60s"),
]
UrlPath = Annotated[str, PlainValidator(read_url_path), described("string", "where it is posted to", "/events/minio")]
HeaderName = Annotated[
    str, PlainValidator(read_header_name), described("string", "the header with the signature", "X-Signature")
]
QueueUrl = Annotated[
    str,
    PlainValidator(read_queue_url),
    described("string", "the queue's URL", "https://sqs.eu-west-1.amazonaws.com/123456789012/uploads"),
]
Polling = Annotated[
    bool | None,
    PlainValidator(read_polling),
    WithJsonSchema({"description": "true, false, or auto", "anyOf": [{"type": "boolean"}, {"const": "auto"}]}),
]
Listen = Annotated[Address, PlainValidator(read_listen), described("string", "host:port", "127.0.0.1:8080")]

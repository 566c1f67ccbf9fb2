"""A client of SMQ's XML API (version 2015-06-06), for one queue: sign, send, read.

The official client shares one connection among threads, sets no time-out on HTTPS and sends again by itself
what may have arrived. This one is thread-safe, has a time-out on every socket, and leaves trying again to
its caller.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.sax.saxutils import escape

import urllib3

from dispatcher.errors import QueueDeniedError, QueueError
from dispatcher.sources.queue import BusyQueueError
from dispatcher.sources.smq_answers import MalformedAnswerError, error_code, failures, read, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dispatcher.core.settings import Credentials, Secret
    from dispatcher.sources.smq_answers import Document

VERSION = "2015-06-06"
XMLNS = "http://mns.aliyuncs.com/doc/v1/"
MOST = 16
"""Messages of one batch, for receiving and for deleting."""
GONE = frozenset({"MessageNotExist", "ReceiptHandleError"})
"""Codes for a handle that is valid no more: its message was deleted, or is visible again."""
_CONTENT_TYPE = "text/xml;charset=UTF-8"
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 15.0
_LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes. 16 messages of 64 KiB, each character spelled as an entity of six, are 6 MiB."""
_HANDLE_SAFE = "-_.~=+/:"
"""Characters of a receipt handle that travel as they are, as the official client sends them."""


@dataclass(frozen=True, slots=True)
class SmqMessage:
    """A received message as it travelled; its handle is good until `visible_at`, by the service's clock."""

    message_id: str
    handle: str
    body: bytes
    visible_at: datetime
    dequeue_count: int


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    date: datetime | None
    body: bytes


@dataclass
class SmqClient:
    """One queue. Thread-safe. `keys` is asked before each request, so it may renew. `endpoint` is a full URL."""

    endpoint: str
    queue: str
    keys: Callable[[], Credentials]
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @cached_property
    def _pool(self) -> urllib3.HTTPConnectionPool:
        return urllib3.connectionpool.connection_from_url(
            self.endpoint, maxsize=4, retries=False, timeout=urllib3.Timeout(connect=_CONNECT_SECONDS)
        )

    @property
    def _resource(self) -> str:
        return f"/queues/{quote(self.queue, safe='-_.~')}/messages"

    def close(self) -> None:
        """Close idle connections. The client can still be used."""
        self._pool.close()

    def receive(self, most: int, wait: timedelta) -> tuple[list[SmqMessage], datetime]:
        """Wait for messages; return what came, at most `most`, and the service's time. Empty when nothing came.

        Raises DispatcherError; messages of an answer that cannot be read come again.
        """
        seconds = int(wait.total_seconds())
        target = f"{self._resource}?numOfMessages={most}&waitseconds={seconds}"
        answer = self._ask("receiving from", "GET", target, waits=seconds)
        now = answer.date or self.clock()
        if answer.status == HTTPStatus.NOT_FOUND and error_code(answer.body)[0] == "MessageNotExist":
            return [], now
        if answer.status != HTTPStatus.OK:
            raise refusal(self._where("receiving from"), answer.status, answer.body)
        try:
            return _messages(read(answer.body)), now
        except MalformedAnswerError as error:
            raise self._malformed("receiving from", error) from error

    def delete(self, handles: Sequence[str]) -> Mapping[str, str]:
        """Delete messages, at most `MOST`; return the code of each handle whose message was not deleted."""
        items = "".join(f"<ReceiptHandle>{escape(handle)}</ReceiptHandle>" for handle in handles)
        body = f'<?xml version="1.0" encoding="utf-8"?><ReceiptHandles xmlns="{XMLNS}">{items}</ReceiptHandles>'
        answer = self._ask("deleting from", "DELETE", self._resource, body=body.encode())
        if answer.status in (HTTPStatus.OK, HTTPStatus.NO_CONTENT):
            return {}
        code, _ = error_code(answer.body)
        if code in GONE:
            return dict.fromkeys(handles, code)
        try:
            return dict(failures(answer.body))
        except MalformedAnswerError:
            raise refusal(self._where("deleting from"), answer.status, answer.body) from None

    def hide(self, handle: str, during: timedelta) -> str | None:
        """Hide a message from now on; return its new handle (the old one is dead), None if it is ours no more."""
        seconds = int(during.total_seconds())
        target = f"{self._resource}?ReceiptHandle={quote(handle, safe=_HANDLE_SAFE)}&VisibilityTimeout={seconds}"
        answer = self._ask("hiding a message of", "PUT", target)
        if answer.status == HTTPStatus.OK:
            try:
                renewed = read(answer.body).fields.get("ReceiptHandle", "")
            except MalformedAnswerError as error:
                raise self._malformed("hiding a message of", error) from error
            return renewed or handle
        if error_code(answer.body)[0] in GONE:
            return None
        raise refusal(self._where("hiding a message of"), answer.status, answer.body)

    def _ask(self, doing: str, method: str, target: str, *, body: bytes | None = None, waits: float = 0.0) -> _Answer:
        try:
            response = self._pool.urlopen(
                method,
                target,
                body=body,
                headers=self._headers(method, target, body),
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=waits + _READ_SECONDS),
                preload_content=False,
                redirect=False,
            )
            content = response.read(_LARGEST_ANSWER + 1, decode_content=False)
            if len(content) > _LARGEST_ANSWER:
                response.close()
            response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise BusyQueueError(
                f"{self._where(doing)} failed: no answer ({type(error).__name__})",
                hint="check the endpoint and the network; nothing is lost, it is asked again",
            ) from error
        if len(content) > _LARGEST_ANSWER:
            raise self._malformed(doing, MalformedAnswerError("it is larger than 16 MiB"))
        return _Answer(response.status, _date(response.headers.get("date")), content)

    def _headers(self, method: str, target: str, body: bytes | None) -> dict[str, str]:
        """Return the headers of a request with its signature. The token of temporary keys is not signed."""
        keys = self.keys()
        if keys.access_key_id is None or keys.access_key_secret is None:
            raise QueueDeniedError(
                f"there is no access key for SMQ queue {self.queue}", hint="set `credentials:` of the source"
            )
        headers = {"date": format_datetime(self.clock().astimezone(UTC), usegmt=True), "x-mns-version": VERSION}
        if body is not None:
            digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
            headers |= {"content-md5": base64.b64encode(digest.encode()).decode(), "content-type": _CONTENT_TYPE}
        signature = sign(keys.access_key_secret, string_to_sign(method, target, headers))
        headers["authorization"] = f"MNS {keys.access_key_id}:{signature}"
        if keys.security_token is not None:
            headers["security-token"] = keys.security_token.value
        return headers

    def _where(self, doing: str) -> str:
        return f"{doing} SMQ queue {self.queue} at {self.endpoint}"

    def _malformed(self, doing: str, error: MalformedAnswerError) -> QueueError:
        return QueueError(
            f"{self._where(doing)} failed: the answer cannot be used: {error}",
            hint="check that the endpoint is that of SMQ and that no proxy changes its answers; nothing is lost",
        )


def string_to_sign(method: str, target: str, headers: Mapping[str, str]) -> str:
    """Return what is signed of a request; names of `headers` are in lower case."""
    lines = [method, headers.get("content-md5", ""), headers.get("content-type", ""), headers["date"]]
    lines += [f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("x-mns-")]
    return "\n".join([*lines, target])


def sign(secret: Secret, text: str) -> str:
    """Return the signature of `string_to_sign`, in base64."""
    return base64.b64encode(hmac.new(secret.value.encode(), text.encode(), hashlib.sha1).digest()).decode()


def _messages(document: Document) -> list[SmqMessage]:
    if document.root != "Messages":
        raise MalformedAnswerError(f"it is a {document.root[:40]!r}, not a list of messages")
    return [_message(record) for record in document.records]


def _message(record: Mapping[str, str]) -> SmqMessage:
    try:
        return SmqMessage(
            message_id=record["MessageId"],
            handle=record["ReceiptHandle"],
            body=record.get("MessageBody", "").encode("utf-8", "surrogatepass"),
            visible_at=datetime.fromtimestamp(int(record["NextVisibleTime"]) / 1000, UTC),
            dequeue_count=int(record.get("DequeueCount", "1")),
        )
    except (KeyError, ValueError, OverflowError, OSError) as error:
        raise MalformedAnswerError("a message has no id, no handle or no usable time") from error


def _date(text: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(text or "").astimezone(UTC)
    except (ValueError, OverflowError):
        return None

"""Answers of SMQ's XML API, read with suspicion, and what its error codes mean to the operator."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING
from xml.parsers import expat

from dispatcher.errors import DispatcherError, QueueDeniedError, QueueError, QueueMissingError
from dispatcher.sources.queue import BusyQueueError

if TYPE_CHECKING:
    from collections.abc import Sequence

_DEEPEST = 16
_MOST_RECORDS = 64
_REPLACEMENT = "\ufffd"
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_REFERENCE = re.compile("&#(?:([0-9]{1,9})|x([0-9A-Fa-f]{1,8}));")
_PRINTABLE = re.compile(r"[A-Za-z0-9._-]{1,80}")

_DENIED = {
    "AccessDenied": "grant mns:ReceiveMessage, mns:BatchReceiveMessage, mns:DeleteMessage, mns:BatchDeleteMessage "
    "and mns:ChangeMessageVisibility on the queue's messages to this key",
    "InvalidAccessKeyId": "the access key does not exist: check the access key id",
    "SignatureDoesNotMatch": "the access key secret does not belong to the access key id",
    "InvalidSecurityToken": "the security token does not belong to the access key, or has expired: renew it",
    "SecurityTokenExpired": "the temporary credentials have expired: renew them",
    "TimeExpired": "the clock of this machine is wrong: set it (for example by NTP)",
    "InvalidDateHeader": "the clock of this machine is wrong: set it (for example by NTP)",
}
_PASSING = frozenset({"QpsLimitExceeded", "InternalError", "InternalServerError", "ServiceUnavailable"})


class MalformedAnswerError(Exception):
    """An answer that is not what the API documents; it says what is wrong with it."""


@dataclass(slots=True)
class Document:
    """An answer: the name of its root, the root's fields, and the records in it (elements with fields)."""

    root: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    records: list[dict[str, str]] = field(default_factory=list)


def read(body: bytes) -> Document:
    """Read an answer. Raises MalformedAnswerError; declares no entity, resolves none, nests no deeper than it may.

    Characters that XML forbids are replaced (U+FFFD): a message that somebody sent with one, and that the
    service spells as it is, must not keep the others of its batch from being read, again and again.
    """
    try:
        return _parse(body)
    except MalformedAnswerError:
        allowed = _allowed(body)
        if allowed == body:
            raise
        return _parse(allowed)


def _allowed(body: bytes) -> bytes:
    text = _REFERENCE.sub(
        lambda found: found[0] if _may_refer(found) else _REPLACEMENT, body.decode("utf-8", "replace")
    )
    return _FORBIDDEN.sub(_REPLACEMENT, text).encode()


def _may_refer(found: re.Match[str]) -> bool:
    decimal, hexadecimal = found.groups()
    code = int(decimal) if decimal else int(hexadecimal, 16)
    return code <= sys.maxunicode and not _FORBIDDEN.match(chr(code))


def _parse(body: bytes) -> Document:
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(body, True)  # noqa: FBT003 - expat's signature: this is all of it
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise MalformedAnswerError(f"it is not well-formed XML ({error})") from error
    return reader.document


class _Reader:
    """Collects a document by expat. The first of two equal fields counts."""

    def __init__(self) -> None:
        self.document = Document()
        self._path: list[str] = []
        self._text: list[str] = []
        self._record: dict[str, str] = {}

    def doctype(self, *_: object) -> None:
        raise MalformedAnswerError("it declares a document type")

    def start(self, name: str, _: object) -> None:
        local = name.rpartition(":")[2]
        if len(self._path) >= _DEEPEST:
            raise MalformedAnswerError("it is nested too deeply")
        if not self._path:
            self.document.root = local
        self._path.append(local)
        self._text.clear()
        if self._path[2:] == []:
            self._record = {}

    def text(self, text: str) -> None:
        self._text.append(text)

    def end(self, _: str) -> None:
        match len(self._path):
            case 3:
                self._record.setdefault(self._path[-1], "".join(self._text))
            case 2 if self._record:
                if len(self.document.records) >= _MOST_RECORDS:
                    raise MalformedAnswerError("it holds too many records")
                self.document.records.append(self._record)
            case 2:
                self.document.fields.setdefault(self._path[-1], "".join(self._text))
            case _:
                pass
        self._path.pop()
        self._text.clear()


def error_code(body: bytes) -> tuple[str, str]:
    """Return code and request id of an error answer, empty where they are missing or not printable.

    The service's own message is left out: it repeats what was signed.
    """
    try:
        fields = read(body).fields
    except MalformedAnswerError:
        return "", ""
    code, request = (fields.get(name, "").strip() for name in ("Code", "RequestId"))
    return tuple(text if _PRINTABLE.fullmatch(text) else "" for text in (code, request))  # type: ignore[return-value]


def refusal(where: str, status: int, body: bytes) -> DispatcherError:
    """Return the error for an answer that is no success. `where` says what was asked of which queue."""
    code, request = error_code(body)
    said = f"HTTP {status}" + (f" {code}" if code else "") + (f", request {request}" if request else "")
    if code == "QueueNotExist":
        return QueueMissingError(
            f"{where} failed: there is no such queue ({said})",
            hint="check the queue's name, and that the endpoint names the account and region it was created in",
        )
    if code in _DENIED or status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return QueueDeniedError(f"{where} failed: refused ({said})", hint=_DENIED.get(code, _DENIED["AccessDenied"]))
    if code in _PASSING or status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return BusyQueueError(f"{where} failed ({said})", hint="the service is busy or down; it is asked again")
    return QueueError(
        f"{where} failed ({said})",
        hint="check that the endpoint is that of SMQ (https://ACCOUNT.mns.REGION.aliyuncs.com) and look the code up "
        "in its documentation; nothing is lost, it is asked again",
    )


def failures(body: bytes) -> Sequence[tuple[str, str]]:
    """Return handle and code of what a batch could not do. Raises MalformedAnswerError if it does not say."""
    document = read(body)
    if document.root != "Errors" or not document.records:
        raise MalformedAnswerError("it is no list of errors")
    return [(record.get("ReceiptHandle", ""), record.get("ErrorCode", "")) for record in document.records]

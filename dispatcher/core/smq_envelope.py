"""What a message of SMQ carries: the body that was published, taken out of what the service put around it.

By the subscription's NotifyContentFormat (SMQ documentation) a queue or a web server gets the published body
itself (SIMPLIFIED) or a JSON or XML envelope with the body in `Message`. Any of these may be base64, and so may
the body inside: OSS publishes base64. Which form an OSS rule creates is not documented, so each is recognised
by its own marks, and what is none of them passes through unchanged.
"""

from __future__ import annotations

import base64
import binascii
import json
from xml.parsers import expat

_ROOT = "Notification"
_MARKS = frozenset({"TopicOwner", "TopicName", "Message"})
"""Fields that every JSON envelope has; those of SNS, another service, have a TopicArn instead."""
_DEEPEST = 16
"""Elements nested in an envelope; the documented one has two."""


def unwrap(body: bytes) -> bytes:
    """Return the published body of an SMQ message, plain. Pure and total: what is no envelope is returned as it came.

    An envelope is opened once, and base64 is undone before and after it when the result is text that begins as
    JSON or XML does; so a published body that is itself an envelope stays as it is.
    """
    outer = _plain(body)
    inner = _from_json(outer) if outer.lstrip()[:1] == b"{" else _from_xml(outer)
    return outer if inner is None else _plain(inner)


def _plain(body: bytes) -> bytes:
    """Undo base64, if that is what it is."""
    stripped = b"".join(body.split())
    if not stripped or len(stripped) % 4:
        return body
    try:
        decoded = base64.b64decode(stripped, validate=True)
    except binascii.Error:
        return body
    return decoded if decoded.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[", b"<") else body


def _from_json(body: bytes) -> bytes | None:
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not found.keys() >= _MARKS:
        return None
    message: object = found["Message"]
    return message.encode("utf-8", "surrogatepass") if isinstance(message, str) else None


class _NotAnEnvelopeError(Exception):
    """The XML is something else."""


class _Envelope:
    """Takes the text of `Notification/Message` out of XML, without entities or document types."""

    def __init__(self) -> None:
        self.message: str | None = None
        self._path: list[str] = []
        self._text: list[str] = []

    def start(self, name: str, _: object) -> None:
        local = name.rpartition(":")[2]
        if (not self._path and local != _ROOT) or len(self._path) >= _DEEPEST:
            raise _NotAnEnvelopeError
        self._path.append(local)

    def text(self, text: str) -> None:
        if self._path[1:] == ["Message"]:
            self._text.append(text)

    def end(self, _: str) -> None:
        if self._path == [_ROOT, "Message"] and self.message is None:
            self.message = "".join(self._text)
        self._path.pop()

    def doctype(self, *_: object) -> None:
        raise _NotAnEnvelopeError


def _from_xml(body: bytes) -> bytes | None:
    envelope = _Envelope()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = envelope.doctype
    parser.StartElementHandler = envelope.start
    parser.EndElementHandler = envelope.end
    parser.CharacterDataHandler = envelope.text
    try:
        parser.Parse(body, True)  # noqa: FBT003 - expat's signature: this is all of it
    except _NotAnEnvelopeError:
        return None
    except (expat.ExpatError, ValueError, LookupError):
        # The documented sample ends an element by another's name: what was complete before such an end counts.
        pass
    return None if envelope.message is None else envelope.message.encode("utf-8", "surrogatepass")

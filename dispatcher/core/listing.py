"""The wire format of ListObjectsV2 answers. Pure.

One strict shape (`<Contents>` elements that follow each other with nothing but white space between, fields
in the usual order) is handled by a scanner that never looks into entries it need not know; any other
XML goes through expat and is spelled again in the strict shape, so that all that follows is one path.
White space before an element belongs to it: OSS indents its answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes
from xml.parsers import expat
from xml.sax.saxutils import escape

from dispatcher.core.events import normalise_etag

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = "ListBucketResult"
_OPEN = b"<Contents>"
_CLOSE = b"</Contents>"
_END = b"</ListBucketResult>"
_FIELDS = ("Key", "LastModified", "ETag", "SealedTime", "Type", "Size")
_WHITE = b" \t\r\n"
_APPENDABLE = b"<Type>Appendable</Type>"
_SEALED = b"<SealedTime>"

# `*+` never gives back what it took: a hostile answer costs linear time.
_SPACE = rb"[ \t\r\n]*+"
_SIMPLE = _SPACE + rb"<(?!Size>|Key>|ETag>|LastModified>|Contents>)[A-Za-z]++>[^<]*+</[A-Za-z]++>"
_NESTED = _SPACE + rb"<(?:Owner|RestoreStatus)>(?:" + _SIMPLE + rb")*+" + _SPACE + rb"</(?:Owner|RestoreStatus)>"
_OTHERS = rb"(?:" + _SIMPLE + rb"|" + _NESTED + rb")*+"
_MODIFIED = rb"(?:" + _SPACE + rb"<LastModified>([^<]*+)</LastModified>)?+"
# The orders of AWS, OSS and MinIO (time before etag) and of SeaweedFS (time last).
_ENTRY = re.compile(
    _SPACE
    + rb"<Contents>"
    + _SPACE
    + rb"<Key>([^<]++)</Key>"
    + _MODIFIED
    + _OTHERS
    + rb"(?:"
    + _SPACE
    + rb"<ETag>([^<]*+)</ETag>)?+"
    + _OTHERS
    + _SPACE
    + rb"<Size>([0-9]{1,20})</Size>"
    + _OTHERS
    + _MODIFIED
    + _OTHERS
    + _SPACE
    + rb"</Contents>"
)
_REFERENCE = re.compile(rb"&(?:#([0-9]{1,7})|#x([0-9A-Fa-f]{1,6})|(lt|gt|quot|apos|amp));")
_NAMED = {b"lt": b"<", b"gt": b">", b"quot": b'"', b"apos": b"'", b"amp": b"&"}


class MalformedListingError(ValueError):
    """The answer is no complete, well-formed listing; nothing of it may be used."""


class UnusualSpellingError(MalformedListingError):
    """Entries are well-formed perhaps, but not in the strict shape: `respell` the answers."""


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One answer: the raw bytes of its entries, and how to go on.

    `entries` is in the strict shape or empty; `token` is None at the end of the listing.
    """

    entries: bytes
    token: str | None
    url_encoded: bool


class Entry(NamedTuple):
    """One listed object as it is spelled in the answer; `end` is the offset behind it.

    `growing`: an appendable object of OSS that is not sealed, so that more may be appended to it.
    """

    raw_key: bytes
    modified: bytes
    raw_etag: bytes | None
    size: int
    end: int
    growing: bool = False


def scan(body: bytes) -> ListingPage:
    """Return the frame of an answer without looking into its entries.

    Raises UnusualSpellingError when the answer needs `respell`, MalformedListingError when
    it is cut off or no listing at all. Entries in another shape can pass here unseen when
    the frame looks strict; `parse` refuses them.
    """
    first = body.find(_OPEN)
    last = body.rfind(_CLOSE)
    if (first < 0) != (last < 0) or last < first:
        raise MalformedListingError("the answer is cut off inside its entries")
    entries, frame = b"", body
    if first >= 0:
        last += len(_CLOSE)
        first = len(body[:first].rstrip(_WHITE))
        entries, frame = body[first:last], body[:first] + body[last:]
    if not frame.rstrip().endswith(_END):
        raise UnusualSpellingError("the answer does not end as expected")
    fields = _Fields(strict=True)
    fields.read(frame)
    return _page(entries, fields.frame)


def respell(body: bytes) -> ListingPage:
    """Return the same as `scan` for any well-formed spelling, by a real XML parser.

    Document type declarations are refused, so no entity can expand. Raises MalformedListingError.
    """
    fields = _Fields(strict=False)
    fields.read(body)
    return _page(b"".join(_spell(entry) for entry in fields.entries), fields.frame)


def parse(raw: bytes, start: int, stop: int, shift: int = 0) -> Iterator[Entry]:
    """Yield the entries of `raw[start:stop]`, which must begin and end at entries.

    `shift` is added to their ends. Raises UnusualSpellingError at the first byte that is not in
    the strict shape.
    """
    match_at = _ENTRY.match
    while start < stop:
        found = match_at(raw, start, stop)
        if found is None:
            raise UnusualSpellingError(f"an entry is not in the usual shape (byte {start} of the entries)")
        key, modified, etag, size, modified_last = found.groups()
        begin, start = start, found.end()
        growing = raw.find(_APPENDABLE, begin, start) >= 0 and raw.find(_SEALED, begin, start) < 0
        yield Entry(key, modified or modified_last or b"", etag, int(size), start + shift, growing)


def decode_raw_key(raw: bytes, *, url_encoded: bool) -> bytes:
    """Return the bytes of a key as the store holds it; spellings of one key give one result."""
    if b"&" in raw:
        raw = _unescape(raw)
    if url_encoded:
        return unquote_to_bytes(raw.replace(b"+", b" "))
    return raw


def decode_raw_etag(raw: bytes | None) -> str | None:
    """Return the normalised etag, None where the answer has none."""
    if not raw:
        return None
    if b"&" in raw:
        raw = _unescape(raw)
    return normalise_etag(raw.decode("utf-8", "replace")) or None


def _unescape(raw: bytes) -> bytes:
    return _REFERENCE.sub(_referenced, raw)


def _referenced(found: re.Match[bytes]) -> bytes:
    decimal, hexadecimal, name = found.groups()
    if name is not None:
        return _NAMED[name]
    code = int(decimal) if decimal is not None else int(hexadecimal, 16)
    try:
        return chr(code).encode("utf-8", "surrogatepass")
    except ValueError as error:
        raise MalformedListingError(
            f"the answer refers to the character number {code}, which does not exist"
        ) from error


def _page(entries: bytes, frame: dict[str, str]) -> ListingPage:
    truncated = frame.get("IsTruncated", "false").strip().lower()
    if truncated not in ("true", "false"):
        raise MalformedListingError(f"IsTruncated is {truncated[:20]!r}, neither true nor false")
    token = frame.get("NextContinuationToken") or None
    if truncated == "true" and token is None:
        raise MalformedListingError("the answer says that more follows, but carries no continuation token")
    return ListingPage(
        entries=entries,
        token=token if truncated == "true" else None,
        url_encoded=frame.get("EncodingType", "").strip().lower() == "url",
    )


def _spell(entry: dict[str, str]) -> bytes:
    """Spell one entry in the strict shape; what has no place there carries no meaning for us."""
    if not entry.get("Key") or not entry.get("Size", "").strip().isdecimal():
        raise MalformedListingError("an entry of the listing has no key or no size")
    entry["Size"] = entry["Size"].strip()
    entry.setdefault("LastModified", "")
    spelled = "".join(f"<{name}>{escape(entry[name])}</{name}>" for name in _FIELDS if name in entry)
    return f"<Contents>{spelled}</Contents>".encode()


class _Fields:
    """Collects a listing's fields by expat: those of the frame, and those of each entry."""

    def __init__(self, *, strict: bool) -> None:
        self.frame: dict[str, str] = {}
        self.entries: list[dict[str, str]] = []
        self._strict = strict
        self._path: list[str] = []
        self._text: list[str] = []

    def read(self, body: bytes) -> None:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        try:
            parser.Parse(body, True)  # noqa: FBT003 - expat's signature: this is all of it
        except expat.ExpatError as error:
            raise MalformedListingError(f"the answer is not well-formed XML: {error}") from error

    def _doctype(self, *_: object) -> None:
        raise MalformedListingError("the answer declares a document type, which no listing does")

    def _start(self, name: str, _: object) -> None:
        local = name if self._strict else name.rpartition(":")[2]
        if not self._path and local != _ROOT:
            if self._strict:
                raise UnusualSpellingError(f"the answer is a {name[:40]}")
            raise MalformedListingError(f"the answer is a {name[:40]!r}, not a listing")
        if self._strict and local == "Contents":
            raise UnusualSpellingError("an entry has attributes")
        if self._path[1:] == [] and self._path and local == "Contents":
            self.entries.append({})
        self._path.append(local)
        self._text.clear()

    def _characters(self, text: str) -> None:
        if self._strict and len(self._path) == 1 and text.strip():
            raise UnusualSpellingError("there is text between the elements of the answer")
        self._text.append(text)

    def _end(self, _: str) -> None:
        match self._path:
            case [_, field]:
                self.frame.setdefault(field, "".join(self._text))
            case [_, "Contents", field]:
                self.entries[-1].setdefault(field, "".join(self._text))
            case _:
                pass
        self._path.pop()
        self._text.clear()

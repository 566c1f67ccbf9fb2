"""JSON that nobody vouches for: reading it without believing its shape. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dispatcher.core.events import encode_key

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_KEY = 1024
"""Bytes of the longest key that S3 and OSS store."""
_BUCKET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")


class UnreadableError(ValueError):
    """A part of a body means nothing; the text says why. Never leaves `decode`."""


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object. Every look into it returns what was asked for, or None."""

    value: dict[str, object]

    @classmethod
    def of(cls, value: object) -> Fields:
        """Return the fields of a value; none where it is no JSON object."""
        return cls(value if isinstance(value, dict) else {})

    def __contains__(self, name: str) -> bool:
        return name in self.value

    def below(self, *names: str) -> Fields:
        fields = self
        for name in names:
            fields = Fields.of(fields.value.get(name))
        return fields

    def text(self, name: str) -> str | None:
        found = self.value.get(name)
        return found if isinstance(found, str) else None

    def items(self, name: str) -> Sequence[object] | None:
        found = self.value.get(name)
        return found if isinstance(found, list) else None

    def size(self, name: str) -> int | None:
        """Return a number of bytes; some senders write it as text."""
        found = self.value.get(name)
        if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 20:  # noqa: PLR2004 - more than any size
            found = int(found)
        return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 2**63 else None


def time_of(text: str | None) -> datetime | None:
    """Return an RFC 3339 time as aware UTC; a time without zone is UTC. None for anything else."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def checked_bucket(name: str | None) -> str:
    """Return a bucket's name. Raises UnreadableError if it can be none."""
    if name is None or not _BUCKET.fullmatch(name):
        raise UnreadableError("it names no bucket")
    return name


def plain_key(key: str | None) -> str:
    """Return a key that is written as it is. Raises UnreadableError if it can be none."""
    if not key:
        raise UnreadableError("it names no key")
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        # A lone surrogate of JSON would otherwise be taken for one of the key's bytes.
        raise UnreadableError("its key is no Unicode text") from None
    return _short(key, length)


def checked_key(key: str) -> str:
    """Return a key in the form of `decode_key`. Raises UnreadableError if it can be none."""
    if not key:
        raise UnreadableError("it names no key")
    return _short(key, len(encode_key(key)))


def _short(key: str, length: int) -> str:
    if length > LONGEST_KEY:
        raise UnreadableError(f"its key has {length} bytes, and no store takes more than {LONGEST_KEY}")
    return key

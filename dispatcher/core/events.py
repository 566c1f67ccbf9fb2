"""Sightings of objects: what a source yields and what intake decides on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

LISTED = "Listed"
"""`event_name` of what a listing brings."""

FILE_WRITTEN = "FileWritten"
"""`event_name` of a file in a folder that mirrors a bucket; `size` is then the file's."""

BASELINE_REVISION = 0
"""`known_revision` of an object that lay in the bucket before any rule looked at it."""


def normalise_etag(etag: str) -> str:
    """Return the etag without quotes and in lower case; stores differ in both."""
    return etag.strip().strip('"').lower()


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """One sighting of a complete object.

    `key` is text whose UTF-8 encoding (errors: surrogateescape) gives the key's bytes.
    `etag` is normalised (`normalise_etag`), None when the source does not know it: then
    the object's content is still unknown and HEAD must decide. `modified_at` is by the
    store's own clock (aware, UTC). `known_revision` is None for an object that was never
    recorded; else the rule-set revision under which the object was first recorded
    (`BASELINE_REVISION` for the first look at a bucket): it is then *existing* for every
    rule that was added later, and already decided for the others. `growing`: the object is one
    that may be appended to, so that even its first sighting waits until it is still.
    `happened_at` is when a notification says that the object was made (aware, UTC), None for
    a listing: an object made before a rule was there is *existing* for that rule. `hearsay`:
    `etag` and `size` are what a notification said, and not shown to be those of the listing:
    HEAD decides as if they were None.
    """

    bucket: str
    key: str
    etag: str | None
    size: int | None
    modified_at: datetime | None
    event_name: str
    source: str
    known_revision: int | None = None
    growing: bool = False
    happened_at: datetime | None = None
    hearsay: bool = False

    @property
    def listed(self) -> bool:
        """Whether a listing brought it, and not a notification."""
        return self.event_name == LISTED

    def may_be(self, size: int) -> bool:
        """Tell whether an object of this size can be what was seen. One that has not the size of its file
        is an earlier one of the same key: the file has not arrived yet.
        """
        return self.event_name != FILE_WRITTEN or self.size == size

    @property
    def decided(self) -> bool:
        """Whether the object's content is known well enough to record it."""
        return self.etag is not None and self.size is not None and not self.hearsay


def encode_key(key: str) -> bytes:
    """Return the bytes of a key as the store holds them."""
    return key.encode("utf-8", "surrogateescape")


def decode_key(raw: bytes) -> str:
    """Return the text of a key's bytes; `encode_key` is its exact inverse."""
    return raw.decode("utf-8", "surrogateescape")

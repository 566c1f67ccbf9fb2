"""SeaweedFS: what its filer tells a webhook of entries of its tree. Pure.

Read from the real server (4.48), whose webhook tests hold this file to it: for objects that came by S3,
the etag and size are those that the listing shows, and `mtime` is its LastModified, so no HEAD is needed.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

from dispatcher.core.decoding.decoded import Decoded, Dropped, DropReason
from dispatcher.core.decoding.reading import Fields, UnreadableError, checked_bucket, plain_key
from dispatcher.core.events import ObjectEvent, normalise_etag

_BUCKETS = "/buckets/"
_SYSTEM = ".system"
_UPLOADS = ".uploads"
_VERSIONS = ".versions"
_CHANGES = frozenset({"create", "update", "rename"})
_ETAG = "Seaweed-X-Amz-ETag"
_VERSION_ID = "Seaweed-X-Amz-Version-Id"
_NOT_LATEST = ("Seaweed-X-Amz-Delete-Marker", "Seaweed-X-Amz-Noncurrent-Since-Ns")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def is_notification(body: Fields) -> bool:
    """Tell whether the envelope is that of the filer's webhook: a path, a type and an entry's message."""
    path = body.text("key")
    return path is not None and path.startswith("/") and "event_type" in body and "message" in body


def read_notification(body: Fields, *, source: str) -> Decoded:
    """Read the one event. Raises UnreadableError."""
    kind = body.text("event_type")
    if kind is None:
        raise UnreadableError("it has no event_type")
    entry = body.below("message", "new_entry")
    if kind not in _CHANGES or not entry.value:
        return _dropped(DropReason.EVENT_TYPE, kind)
    if entry.value.get("is_directory"):
        return _dropped(DropReason.FOLDER, kind)
    path = _path(body, entry)
    bucket, slash, key = path.removeprefix(_BUCKETS).partition("/")
    if not path.startswith(_BUCKETS) or bucket == _SYSTEM or not slash or key.startswith(f"{_UPLOADS}/"):
        return _dropped(DropReason.NOT_AN_OBJECT, kind)
    extended = entry.below("extended")
    folder, _, name = key.rpartition("/")
    if _VERSION_ID in extended and name.startswith("v_") and folder.endswith(_VERSIONS):
        # In a bucket with versions the data never lies at the key itself; which is the latest, HEAD tells.
        if any(mark in extended for mark in _NOT_LATEST):
            return _dropped(DropReason.EVENT_TYPE, kind)
        return _sighting(entry, kind, bucket, folder.removesuffix(_VERSIONS), source, hearsay=True)
    # A name that is no UTF-8 reaches us damaged: HEAD will not find it, and the listing will.
    return _sighting(entry, kind, bucket, key, source, hearsay=_REPLACEMENT in key)


def _path(body: Fields, entry: Fields) -> str:
    """Return where the entry lies now; after a rename `key` is where it was."""
    parent, name = body.below("message").text("new_parent_path"), entry.text("name")
    if parent is not None and name:
        return f"{parent.rstrip('/')}/{name}"
    path = body.text("key")
    if path is None:
        raise UnreadableError("it names no path")
    return path


def _sighting(  # noqa: PLR0913 - the parts of a path, and who says it
    entry: Fields, kind: str, bucket: str, key: str, source: str, *, hearsay: bool
) -> Decoded:
    attributes = entry.below("attributes")
    etag = _decoded_text(entry.below("extended").text(_ETAG))
    size = attributes.size("file_size")
    if size is None and "file_size" not in attributes and "chunks" not in entry:
        size = 0  # left out by its encoding of zero
    modified_at = _time(attributes.size("mtime"))
    sighting = ObjectEvent(
        bucket=checked_bucket(bucket),
        key=plain_key(key),
        etag=None if etag is None else normalise_etag(etag),
        size=size,
        modified_at=None if hearsay else modified_at,
        event_name=kind,
        source=source,
        happened_at=modified_at,
        hearsay=hearsay,
    )
    return Decoded(events=(sighting,))


def _decoded_text(written: str | None) -> str | None:
    """Return the text that stands in base64; None for anything else."""
    if not written:
        return None
    try:
        return base64.b64decode(written, validate=True).decode("ascii") or None
    except (binascii.Error, ValueError):
        return None


def _time(seconds: int | None) -> datetime | None:
    if not seconds:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _dropped(reason: DropReason, kind: str) -> Decoded:
    return Decoded(dropped=(Dropped(reason, kind),))

"""The S3 family: `Records` of AWS, MinIO and Ceph RGW, and the test event of AWS. Pure.

Sources: AWS documentation "Event message structure", MinIO `cmd/event-notification.go`, Ceph
`doc/radosgw/notifications.rst`. They differ in how a key is written, and share the rest.
Etag and size are hearsay: no test against these services shows that they are always those of the
listing (RustFS even sent size 0 for multipart uploads, Ceph writes sizes as text), so HEAD decides.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from dispatcher.core.decoding.decoded import Acceptance, Decoded, Dropped, DropReason, Format
from dispatcher.core.decoding.reading import (
    Fields,
    UnreadableError,
    checked_bucket,
    checked_key,
    plain_key,
    time_of,
)
from dispatcher.core.events import ObjectEvent, decode_key, normalise_etag

_TEST_EVENT = "s3:TestEvent"
_COMPLETE = frozenset(f"ObjectCreated:{name}" for name in ("Put", "Post", "Copy", "CompleteMultipartUpload"))
_REPLICATION = frozenset({"ObjectSynced:Create"})  # Ceph: the object came from another zone
_SOURCES = {"aws:s3": Format.S3, "minio:s3": Format.MINIO, "ceph:s3": Format.CEPH}


def detect(body: Fields) -> Format | None:
    """Return which of the family an envelope is, by its own marks; None if it is none or does not tell."""
    if is_test_event(body):
        return Format.S3
    records = body.items("Records")
    if not records:
        return None
    if "EventName" in body and "Key" in body:
        return Format.MINIO
    found = {_SOURCES.get(Fields.of(each).text("eventSource") or "") for each in records}
    return found.pop() if len(found) == 1 else None


def is_test_event(body: Fields) -> bool:
    """Tell whether it is what S3 sends when notifications are set up: it has no records."""
    return body.text("Event") == _TEST_EVENT


def read_record(record: Fields, *, form: Format, source: str, accept: Acceptance) -> Decoded:
    """Read one of `Records`, or a test event. Raises UnreadableError."""
    if is_test_event(record):
        return Decoded(dropped=(Dropped(DropReason.TEST_EVENT, _TEST_EVENT),))
    written = record.text("eventName")
    if written is None:
        raise UnreadableError("a record has no eventName")
    name = written.removeprefix("s3:")
    reason = _refusal(name, accept)
    if reason is not None:
        return Decoded(dropped=(Dropped(reason, name),))
    stored = record.below("s3", "object")
    etag = stored.text("eTag") or stored.text("etag")
    sighting = ObjectEvent(
        bucket=checked_bucket(record.below("s3", "bucket").text("name")),
        key=_key(stored.text("key"), form),
        etag=None if etag is None else normalise_etag(etag),
        size=stored.size("size"),
        modified_at=None,
        event_name=name,
        source=source,
        happened_at=time_of(record.text("eventTime")),
        hearsay=True,
    )
    return Decoded(events=(sighting,))


def _refusal(name: str, accept: Acceptance) -> DropReason | None:
    if name in _COMPLETE:
        return None
    if name in _REPLICATION:
        return None if accept.replication else DropReason.REPLICATION
    return DropReason.EVENT_TYPE


def _key(written: str | None, form: Format) -> str:
    """Return the key. AWS and MinIO write it form-encoded (space as `+`); Ceph's samples write it as it is."""
    if form is Format.CEPH:
        return plain_key(written)
    if not written:
        raise UnreadableError("it names no key")
    try:
        return checked_key(decode_key(unquote_to_bytes(written.replace("+", " "))))
    except UnicodeEncodeError:
        raise UnreadableError("its key is no Unicode text") from None

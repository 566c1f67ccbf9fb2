"""S3's events through AWS EventBridge. Pure.

Source: AWS documentation "EventBridge event message structure". Keys are taken as they are written,
as in its samples. Etag and size are hearsay, as in all formats that were not run against the service.
"""

from __future__ import annotations

from dispatcher.core.decoding.decoded import Decoded, Dropped, DropReason
from dispatcher.core.decoding.reading import Fields, UnreadableError, checked_bucket, plain_key, time_of
from dispatcher.core.events import ObjectEvent, normalise_etag

_SOURCE = "aws.s3"
_CREATED = "Object Created"
_COMPLETE = frozenset({"PutObject", "POST Object", "CopyObject", "CompleteMultipartUpload"})


def is_event(body: Fields) -> bool:
    """Tell whether the envelope is one of EventBridge about S3."""
    return body.text("source") == _SOURCE and "detail-type" in body


def read_event(body: Fields, *, source: str) -> Decoded:
    """Read the one event. Raises UnreadableError."""
    kind, detail = body.text("detail-type"), body.below("detail")
    if kind is None:
        raise UnreadableError("it has no `detail-type`, as events of EventBridge have")
    reason = detail.text("reason")
    name = kind if reason is None else f"{kind}:{reason}"
    if kind != _CREATED or reason not in _COMPLETE:
        return Decoded(dropped=(Dropped(DropReason.EVENT_TYPE, name),))
    stored = detail.below("object")
    etag = stored.text("etag")
    sighting = ObjectEvent(
        bucket=checked_bucket(detail.below("bucket").text("name")),
        key=plain_key(stored.text("key")),
        etag=None if etag is None else normalise_etag(etag),
        size=stored.size("size"),
        modified_at=None,
        event_name=name,
        source=source,
        happened_at=time_of(body.text("time")),
        hearsay=True,
    )
    return Decoded(events=(sighting,))

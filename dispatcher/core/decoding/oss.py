"""OSS's own notifications: `events` through SMQ or Function Compute, and one of them inside a CloudEvent. Pure.

Sources: OSS documentation "Event notifications", EventBridge documentation "OSS events".
Etag and size are hearsay: no test against the real OSS shows that they are always those of the
listing (the ETag of multipart and appended objects is not documented), so HEAD decides.
"""

from __future__ import annotations

from dispatcher.core.decoding.decoded import Acceptance, Decoded, Dropped, DropReason
from dispatcher.core.decoding.reading import Fields, UnreadableError, checked_bucket, plain_key, time_of
from dispatcher.core.events import ObjectEvent, normalise_etag

_SOURCE = "acs:oss"
_CLOUD_EVENT_SOURCE = "acs.oss"
_CLOUD_EVENT_PREFIX = "oss:"
_COMPLETE = frozenset(
    # The list of the vendor's own trigger (MPS documentation "Trigger a workflow").
    f"ObjectCreated:{name}"
    for name in ("PutObject", "PostObject", "CopyObject", "CompleteMultipartUpload", "PutSymlink")
)
_APPEND = "ObjectCreated:AppendObject"
_REPLICATION = frozenset({"ObjectReplication:ObjectCreated", "ObjectReplication:ObjectModified"})


def is_notification(body: Fields) -> bool:
    """Tell whether the envelope is that of OSS: `events`, each of source acs:oss or with its part `oss`."""
    events = body.items("events")
    return bool(events) and all(
        Fields.of(each).text("eventSource") == _SOURCE or "oss" in Fields.of(each) for each in events or ()
    )


def is_cloud_event(body: Fields) -> bool:
    """Tell whether the envelope is a CloudEvent of OSS."""
    return body.text("source") == _CLOUD_EVENT_SOURCE and "specversion" in body


def read_event(event: Fields, *, source: str, accept: Acceptance) -> Decoded:
    """Read one of `events`. Raises UnreadableError."""
    return _decoded(event, event.text("eventName"), source, accept)


def read_cloud_event(body: Fields, *, source: str, accept: Acceptance) -> Decoded:
    """Read a CloudEvent: its `type` is `oss:` and the event's name, its `data` one event. Raises UnreadableError."""
    data = body.below("data")
    name = body.text("type") or data.text("eventName")
    return _decoded(data, name.removeprefix(_CLOUD_EVENT_PREFIX) if name else None, source, accept, body.text("time"))


def _decoded(event: Fields, name: str | None, source: str, accept: Acceptance, time: str | None = None) -> Decoded:
    if name is None:
        raise UnreadableError("an event has no name")
    reason = _refusal(name, accept)
    if reason is not None:
        return Decoded(dropped=(Dropped(reason, name),))
    # Region, request and user stand beside `oss` or inside it; we need neither.
    stored = event.below("oss", "object")
    etag = stored.text("eTag")
    sighting = ObjectEvent(
        bucket=checked_bucket(event.below("oss", "bucket").text("name")),
        # Not URL-encoded in any sample: `+` and `%41` are themselves.
        key=plain_key(stored.text("key")),
        etag=None if etag is None else normalise_etag(etag),
        size=stored.size("size"),
        modified_at=None,
        event_name=name,
        source=source,
        growing=name == _APPEND,
        happened_at=time_of(event.text("eventTime")) or time_of(time),
        hearsay=True,
    )
    return Decoded(events=(sighting,))


def _refusal(name: str, accept: Acceptance) -> DropReason | None:
    if name in _COMPLETE:
        return None
    if name == _APPEND:
        return None if accept.append else DropReason.APPEND
    if name in _REPLICATION:
        return None if accept.replication else DropReason.REPLICATION
    return DropReason.EVENT_TYPE

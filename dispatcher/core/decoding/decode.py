"""From a body to its meaning: unwrap what carried it, tell the format, decode each part. Pure, and never raises."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, assert_never

from dispatcher.core.decoding import eventbridge, oss, s3, seaweedfs
from dispatcher.core.decoding.decoded import Acceptance, Decoded, Dropped, DropReason, Format
from dispatcher.core.decoding.envelopes import unwrapped
from dispatcher.core.decoding.reading import Fields, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SUBSCRIPTION = {"SubscriptionConfirmation", "UnsubscribeConfirmation"}


def decode(body: bytes, format: Format | None, *, source: str, accept: Acceptance) -> Decoded:  # noqa: A002 - the word of the configuration
    """Return what a body means to a source of this name. Never raises; the same body means the same.

    `format` None: told by the envelope's own marks. Base64 and the envelopes of SNS and of SMQ
    topics (JSON and XML) are taken off first. A part that cannot be read costs only itself.
    """
    total = Decoded()
    try:
        for envelope in unwrapped(body):
            total += _envelope(envelope, format, source, accept)
    except UnreadableError as error:
        total += Decoded(undecodable=(str(error),))
    return total


def detect(envelope: Fields) -> Format | None:
    """Return the format that an envelope's own marks tell, never judged by a key; None: it tells none."""
    if oss.is_notification(envelope):
        return Format.OSS
    if oss.is_cloud_event(envelope):
        return Format.OSS_EVENTBRIDGE
    if eventbridge.is_event(envelope):
        return Format.EVENTBRIDGE
    if seaweedfs.is_notification(envelope):
        return Format.SEAWEEDFS
    return s3.detect(envelope)


def _envelope(envelope: Fields, form: Format | None, source: str, accept: Acceptance) -> Decoded:
    kind = envelope.text("Type")
    if kind in _SUBSCRIPTION and "TopicArn" in envelope:
        return Decoded(dropped=(Dropped(DropReason.SUBSCRIPTION, kind or ""),))
    found = form if form is not None else detect(envelope)
    if found is None:
        return Decoded(undecodable=("it has the marks of no known format; write the `format:` of its source",))
    parts, read = _reader(envelope, found, source, accept)
    if parts is None:
        return Decoded(undecodable=(f"read as {found}: it has not the envelope of this format",))
    total = Decoded()
    for part in parts:
        try:
            total += read(Fields.of(part))
        except UnreadableError as error:
            total += Decoded(undecodable=(f"read as {found}: {error}",))
    return replace(total, formats=(found,) * len(total.events))


def _reader(
    envelope: Fields, form: Format, source: str, accept: Acceptance
) -> tuple[Sequence[object] | None, Callable[[Fields], Decoded]]:
    """Return the parts of an envelope, None if it is not one of this format, and what reads a part."""
    alone = (envelope.value,)
    match form:
        case Format.OSS:
            return envelope.items("events"), partial(oss.read_event, source=source, accept=accept)
        case Format.OSS_EVENTBRIDGE:
            return alone, partial(oss.read_cloud_event, source=source, accept=accept)
        case Format.S3 | Format.MINIO | Format.CEPH:
            records = alone if s3.is_test_event(envelope) else envelope.items("Records")
            return records, partial(s3.read_record, form=form, source=source, accept=accept)
        case Format.EVENTBRIDGE:
            return alone, partial(eventbridge.read_event, source=source)
        case Format.SEAWEEDFS:
            return alone, partial(seaweedfs.read_notification, source=source)
        case _:
            assert_never(form)

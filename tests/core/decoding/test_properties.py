"""Whatever comes: no decoder raises, and any key survives the encoding of each format.

`DECODING_EXAMPLES` sets the number of examples of each property; 200 by default.
"""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.core.decoding import COMPLETE_ONLY, Acceptance, Decoded, Format, decode
from dispatcher.core.events import decode_key, encode_key
from tests.core.decoding import bodies

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = int(os.environ.get("DECODING_EXAMPLES", "200"))
many = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)
HOSTILE = st.one_of(KEYS, st.text('+%/. &=?#\x00\n\t\\"ü€𝄞2F4105', min_size=1, max_size=40))
WRITTEN: dict[Format, Callable[[str], bytes]] = {
    Format.OSS: lambda key: bodies.oss(bodies.oss_event(key)),
    Format.OSS_EVENTBRIDGE: bodies.cloud_event,
    Format.S3: lambda key: bodies.s3(bodies.s3_record(bodies.aws_key(key))),
    Format.EVENTBRIDGE: bodies.eventbridge,
    Format.MINIO: bodies.minio,
    Format.CEPH: bodies.ceph,
}


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("configured", [True, False])
@many
@given(key=HOSTILE)
def test_any_key_survives(form: Format, configured: bool, key: str) -> None:
    found = decode(WRITTEN[form](key), form if configured else None, source="s", accept=COMPLETE_ONLY)
    assert [event.key for event in found.events] == [key]


@many
@given(key=HOSTILE)
def test_any_name_of_a_file_survives_in_seaweedfs(key: str) -> None:
    """A name of the filer's tree has no slash at its ends, and no empty part."""
    parts = [part for part in key.split("/") if part and part not in {".", ".."}]
    if not parts or parts[0] == ".uploads":
        return
    name = "/".join(parts)
    found = decode(bodies.seaweedfs(f"/buckets/media/{name}"), None, source="s", accept=COMPLETE_ONLY)
    assert [event.key for event in found.events] == [name]


@many
@given(raw=st.binary(min_size=1, max_size=300))
def test_any_bytes_of_a_key_survive_form_encoding(raw: bytes) -> None:
    written = "".join(f"%{byte:02X}" for byte in raw)
    found = decode(bodies.s3(bodies.s3_record(written)), None, source="s", accept=COMPLETE_ONLY)
    assert [encode_key(event.key) for event in found.events] == [raw]
    assert decode_key(raw) == found.events[0].key


def check(body: bytes, form: Format | None) -> Decoded:
    found = decode(body, form, source="s", accept=Acceptance(replication=True, append=True))
    assert found.events or found.dropped or found.undecodable or form is None or b"[" in body
    for event in found.events:
        encode_key(event.key)
        assert event.bucket
        assert event.size is None or event.size >= 0
    for reason in found.undecodable:
        reason.encode()
    return found


FORMS = st.sampled_from([None, *Format])


@many
@given(body=st.binary(max_size=400), form=FORMS)
def test_arbitrary_bytes_never_raise(body: bytes, form: Format | None) -> None:
    decode(body, form, source="s", accept=COMPLETE_ONLY)
    decode(base64.b64encode(body), form, source="s", accept=COMPLETE_ONLY)
    decode(b"<" + body, form, source="s", accept=COMPLETE_ONLY)


WORDS = st.sampled_from(
    """events eventName eventSource acs:oss eventTime oss bucket name object key eTag etag size Records s3 aws:s3
    minio:s3 ceph:s3 EventName Key Event s3:TestEvent detail detail-type source aws.s3 Object\x20Created reason
    PutObject specversion acs.oss type oss:ObjectCreated:PutObject data time event_type create message new_entry
    attributes extended file_size mtime is_directory new_parent_path Type Notification TopicArn TopicName
    SubscriptionName Message ObjectCreated:Put ObjectCreated:PutObject /buckets/media/a media chunks
    Seaweed-X-Amz-ETag Seaweed-X-Amz-Version-Id""".replace("\x20", "_").split()
).map(lambda word: word.replace("Object_Created", "Object Created"))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.text(st.characters(categories=["Cs"]), max_size=2),
    WORDS,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(WORDS, st.text(max_size=5)), inner, max_size=8)
    ),
    max_leaves=30,
)


@many
@given(value=VALUES, form=FORMS)
def test_arbitrary_json_never_raises(value: object, form: Format | None) -> None:
    decode(json.dumps(value).encode(), form, source="s", accept=COMPLETE_ONLY)


GENUINE = [json.loads(write("in/a.mp4")) for write in WRITTEN.values()] + [
    json.loads(bodies.seaweedfs("/buckets/media/in/a.mp4")),
    {"Type": "Notification", "TopicArn": "a", "Message": bodies.ceph("k").decode()},
]


def places(value: object) -> list[tuple[object, object]]:
    """Every (container, place) of a JSON value."""
    found: list[tuple[object, object]] = []
    if isinstance(value, dict | list):
        for place, inner in value.items() if isinstance(value, dict) else enumerate(value):
            found += [(value, place), *places(inner)]
    return found


@many
@given(genuine=st.sampled_from(GENUINE), at=st.lists(st.tuples(st.integers(0), VALUES), max_size=3), form=FORMS)
def test_damaged_notifications_never_raise(genuine: object, at: list[tuple[int, object]], form: Format | None) -> None:
    copy = json.loads(json.dumps(genuine))
    for number, value in at:
        found = places(copy)
        if found:
            container, place = found[number % len(found)]
            container[place] = value  # type: ignore[index] # a dict or a list, with a place of its own
    check(json.dumps(copy).encode(), form)

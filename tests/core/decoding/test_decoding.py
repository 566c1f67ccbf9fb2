"""Decoding: which bodies tell of which objects, what is dropped and why, and what means nothing."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.decoding import COMPLETE_ONLY, Acceptance, Decoded, DropReason, Format, decode
from tests.core.decoding import bodies
from tests.core.decoding.bodies import ETAG

if TYPE_CHECKING:
    from dispatcher.core.events import ObjectEvent

KEY = "in/a b+ü%41.mp4"
PLAIN = {
    Format.OSS: bodies.oss(bodies.oss_event(KEY)),
    Format.OSS_EVENTBRIDGE: bodies.cloud_event(KEY),
    Format.S3: bodies.s3(bodies.s3_record(bodies.aws_key(KEY))),
    Format.EVENTBRIDGE: bodies.eventbridge(KEY),
    Format.MINIO: bodies.minio(KEY),
    Format.CEPH: bodies.ceph(KEY),
    Format.SEAWEEDFS: bodies.seaweedfs(f"/buckets/media/{KEY}"),
}
ALL = Acceptance(replication=True, append=True)


def read(body: bytes, form: Format | None = None, accept: Acceptance = COMPLETE_ONLY) -> Decoded:
    return decode(body, form, source="smq:q", accept=accept)


def the_event(body: bytes, form: Format | None = None, accept: Acceptance = COMPLETE_ONLY) -> ObjectEvent:
    found = read(body, form, accept)
    assert (len(found.events), found.dropped, found.undecodable) == (1, (), ())
    return found.events[0]


def reasons(body: bytes, accept: Acceptance = COMPLETE_ONLY) -> list[str]:
    found = read(body, accept=accept)
    assert (found.events, found.undecodable) == ((), ())
    return [each.reason.value for each in found.dropped]


# -- every format ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("configured", [True, False])
def test_each_format_tells_one_object(form: Format, configured: bool) -> None:
    event = the_event(PLAIN[form], form if configured else None)
    assert (event.bucket, event.key, event.etag, event.size) == ("media", KEY, ETAG.lower(), 7)
    assert (event.source, event.growing, event.known_revision) == ("smq:q", False, None)
    assert event.happened_at is not None
    assert event.happened_at.tzinfo is UTC


@pytest.mark.parametrize("form", Format)
def test_only_seaweedfs_is_believed_about_the_content(form: Format) -> None:
    assert the_event(PLAIN[form]).decided is (form is Format.SEAWEEDFS)


@pytest.mark.parametrize("written", Format)
@pytest.mark.parametrize("configured", Format)
def test_a_configured_format_never_takes_the_envelope_of_another(written: Format, configured: Format) -> None:
    family = {Format.S3, Format.MINIO, Format.CEPH}
    found = read(PLAIN[written], configured)
    if written is configured or {written, configured} <= family:
        assert found.events  # the three of S3 differ in the encoding of keys alone
    else:
        assert not found.events
        assert found.undecodable or found.dropped


def test_a_configured_format_decides_how_keys_are_written() -> None:
    body = bodies.s3(bodies.s3_record("a%2Bb+c"))
    assert the_event(body, Format.S3).key == "a+b c"
    assert the_event(body, Format.CEPH).key == "a%2Bb+c"


@pytest.mark.parametrize("form", [form for form in Format if form is not Format.SEAWEEDFS])
def test_base64_is_taken_off(form: Format) -> None:
    assert the_event(base64.encodebytes(PLAIN[form])).key == KEY


def test_several_in_one_body() -> None:
    body = bodies.oss(
        bodies.oss_event("a"), bodies.oss_inside("b"), bodies.oss_event("c", "ObjectRemoved:DeleteObject")
    )
    found = read(body)
    assert ([event.key for event in found.events], len(found.dropped)) == (["a", "b"], 1)


def test_a_list_of_notifications() -> None:
    body = b"[" + bodies.eventbridge("a") + b"," + bodies.cloud_event("b") + b"]"
    assert [event.key for event in read(body).events] == ["a", "b"]


def test_an_unreadable_part_costs_only_itself() -> None:
    found = read(bodies.oss(bodies.oss_event(""), bodies.oss_event("good"), {"eventSource": "acs:oss"}))
    assert [event.key for event in found.events] == ["good"]
    assert len(found.undecodable) == 2
    assert all(reason.startswith("read as oss: ") for reason in found.undecodable)


# -- envelopes -------------------------------------------------------------------------------------


def sns(message: str) -> bytes:
    return json.dumps({"Type": "Notification", "TopicArn": "arn:x", "Message": message}).encode()


def smq_json(message: str) -> bytes:
    return json.dumps(
        {"TopicOwner": "1", "TopicName": "t", "Subscriber": "1", "SubscriptionName": "s", "Message": message}
    ).encode()


def smq_xml(message: str, before: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="utf-8"?>{before}<Notification xmlns="http://mns.aliyuncs.com/doc/v1/">'
        f"<TopicOwner>1</TopicOwner><Message>{message}</Message></Notification>"
    ).encode()


@pytest.mark.parametrize("wrap", [sns, smq_json, smq_xml])
def test_the_envelopes_of_topics_are_taken_off(wrap: object) -> None:
    assert callable(wrap)
    encoded = base64.b64encode(PLAIN[Format.OSS]).decode()
    assert the_event(wrap(encoded)).key == KEY
    assert the_event(wrap(encoded), Format.OSS).key == KEY
    assert the_event(base64.b64encode(wrap(encoded))).key == KEY


def test_a_topic_inside_a_queue_inside_a_topic() -> None:
    assert the_event(sns(sns(PLAIN[Format.S3].decode()).decode())).key == KEY
    deep = PLAIN[Format.S3].decode()
    for _ in range(4):
        deep = sns(deep).decode()
    assert "wrapped more than" in read(deep.encode()).undecodable[0]


@pytest.mark.parametrize("kind", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_a_topic_speaking_of_itself_is_dropped(kind: str) -> None:
    body = json.dumps({"Type": kind, "TopicArn": "arn:x", "Token": "t", "SubscribeURL": "https://x"}).encode()
    assert reasons(body) == ["SUBSCRIPTION"]


def test_entities_of_xml_are_refused() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]>'
    (reason,) = read(smq_xml("&a;", bomb)).undecodable
    assert "document type" in reason


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"hello", "neither JSON nor base64"),
        (b"aGVsbG8=", "not of JSON"),
        (b"\xff\xfe\x00", "neither"),
        (b"7", "no object"),
        (b'"text"', "no object"),
        (b"[]", "no object"),
        (b"[1]", "list of something else"),
        (b"{}", "no known format"),
        (b'{"events": []}', "no known format"),
        (b'{"Records": [{"eventSource": "other:s3"}]}', "no known format"),
        (b"<a>", "none"),
        (b"<a><b/></a>", "without a Message"),
        (b"[" * 100_000, "neither"),
        (b'{"a":' * 100_000, "neither"),
    ],
)
def test_what_means_nothing_says_why(body: bytes, said: str) -> None:
    (reason,) = read(body).undecodable
    assert said in reason


# -- which events ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["PutObject", "PostObject", "CopyObject", "CompleteMultipartUpload", "PutSymlink"])
def test_complete_objects_of_oss(name: str) -> None:
    assert the_event(bodies.oss(bodies.oss_event("k", f"ObjectCreated:{name}"))).event_name == f"ObjectCreated:{name}"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ObjectCreated:InitiateMultipartUpload", "EVENT_TYPE"),
        ("ObjectCreated:UploadPart", "EVENT_TYPE"),
        ("ObjectCreated:UploadPartCopy", "EVENT_TYPE"),
        ("ObjectCreated:SomethingNew", "EVENT_TYPE"),
        ("ObjectRemoved:DeleteObject", "EVENT_TYPE"),
        ("ObjectModified:UpdateObjectMeta", "EVENT_TYPE"),
        ("ObjectRestore:FinishRestore", "EVENT_TYPE"),
        ("ObjectDownloaded:GetObject", "EVENT_TYPE"),
        ("ObjectCreated:AppendObject", "APPEND"),
        ("ObjectReplication:ObjectCreated", "REPLICATION"),
        ("ObjectReplication:ObjectModified", "REPLICATION"),
    ],
)
def test_other_events_of_oss_are_dropped_with_a_reason(name: str, reason: str) -> None:
    assert reasons(bodies.oss(bodies.oss_event("k", name))) == [reason]


def test_appended_and_replicated_objects_are_taken_where_accepted() -> None:
    appended = bodies.oss(bodies.oss_event("k", "ObjectCreated:AppendObject", position=3))
    assert the_event(appended, accept=ALL).growing
    assert reasons(appended, Acceptance(replication=True)) == ["APPEND"]
    replicated = bodies.oss(bodies.oss_event("k", "ObjectReplication:ObjectCreated"))
    assert not the_event(replicated, accept=ALL).growing
    assert reasons(replicated, Acceptance(append=True)) == ["REPLICATION"]
    assert not the_event(bodies.s3(bodies.s3_record("k", "s3:ObjectSynced:Create", "ceph:s3")), accept=ALL).growing


def test_a_cloud_event_is_judged_by_its_type() -> None:
    assert reasons(bodies.cloud_event("k", "oss:ObjectRemoved:DeleteObject")) == ["EVENT_TYPE"]


@pytest.mark.parametrize("name", ["Put", "Post", "Copy", "CompleteMultipartUpload"])
@pytest.mark.parametrize("prefix", ["", "s3:"])
@pytest.mark.parametrize("source", ["aws:s3", "minio:s3", "ceph:s3"])
def test_complete_objects_of_s3(name: str, prefix: str, source: str) -> None:
    event = the_event(bodies.s3(bodies.s3_record("k", f"{prefix}ObjectCreated:{name}", source)))
    assert event.event_name == f"ObjectCreated:{name}"


@pytest.mark.parametrize(
    "name", ["ObjectRemoved:Delete", "s3:ObjectAccessed:Get", "ObjectCreated:PutTagging", "ObjectRestore:Completed"]
)
def test_other_events_of_s3_are_dropped(name: str) -> None:
    assert reasons(bodies.s3(bodies.s3_record("k", name))) == ["EVENT_TYPE"]


@pytest.mark.parametrize("form", [None, Format.S3, Format.MINIO])
def test_the_test_event_is_dropped(form: Format | None) -> None:
    body = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "media", "RequestId": "1"}).encode()
    found = read(body, form)
    assert [each.reason for each in found.dropped] == [DropReason.TEST_EVENT]
    assert (found.events, found.undecodable) == ((), ())


@pytest.mark.parametrize("reason", ["PutObject", "POST Object", "CopyObject", "CompleteMultipartUpload"])
def test_complete_objects_of_eventbridge(reason: str) -> None:
    assert the_event(bodies.eventbridge("k", reason)).event_name == f"Object Created:{reason}"


@pytest.mark.parametrize(("reason", "kind"), [("New", "Object Created"), ("DeleteObject", "Object Deleted")])
def test_other_events_of_eventbridge_are_dropped(reason: str, kind: str) -> None:
    assert reasons(bodies.eventbridge("k", reason, kind)) == ["EVENT_TYPE"]


# -- fields ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("written", "size"), [("7", 7), (7, 7), (None, None), ("x", None), (-1, None), (True, None)])
def test_a_size_may_be_text_or_missing(written: object, size: int | None) -> None:
    assert the_event(bodies.s3(bodies.s3_record("k", size=written))).size == size


def test_a_missing_etag_leaves_the_rest() -> None:
    event = the_event(bodies.s3(bodies.s3_record("k", eTag=None)))
    assert (event.key, event.etag, event.size) == ("k", None, 7)


def test_the_time_of_the_event() -> None:
    assert the_event(PLAIN[Format.OSS]).happened_at == datetime(2026, 3, 14, 15, 9, 26, 535000, UTC)
    assert the_event(PLAIN[Format.OSS_EVENTBRIDGE]).happened_at == datetime(2026, 3, 14, 15, 9, 26, 535000, UTC)
    assert the_event(PLAIN[Format.SEAWEEDFS]).happened_at == datetime.fromtimestamp(1795331741, UTC)


@pytest.mark.parametrize("key", ["", None, 7, "\ud800", "a\udc80b", "k" * 1025])
def test_a_key_that_can_be_none_means_nothing(key: object) -> None:
    body = json.dumps({"events": [bodies.oss_event(key)]}).encode()  # type: ignore[arg-type] # as JSON may hold it
    assert len(read(body).undecodable) == 1
    assert len(read(bodies.s3({**bodies.s3_record("x", key=key)})).undecodable) == 1


@pytest.mark.parametrize("name", ["", None, 7, "a/b", "..", "b" * 256])
def test_a_bucket_that_can_be_none_means_nothing(name: object) -> None:
    event = bodies.oss_event("k")
    event["oss"]["bucket"]["name"] = name
    assert len(read(bodies.oss(event)).undecodable) == 1


def test_bytes_of_a_key_that_are_no_utf8_survive() -> None:
    assert the_event(bodies.s3(bodies.s3_record("a%FF%2Bb"))).key == "a\udcff+b"


# -- SeaweedFS -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (bodies.seaweedfs("/buckets/media/in", entry={"is_directory": True}), "FOLDER"),
        (bodies.seaweedfs("/buckets/media", entry={"is_directory": True}), "FOLDER"),
        (bodies.seaweedfs("/buckets/media/k", "delete", {"name": ""}), "EVENT_TYPE"),
        (bodies.seaweedfs("/buckets/media/.uploads/x/0001.part"), "NOT_AN_OBJECT"),
        (bodies.seaweedfs("/buckets/.system/owners/demo/media"), "NOT_AN_OBJECT"),
        (bodies.seaweedfs("/buckets/file"), "NOT_AN_OBJECT"),
        (bodies.seaweedfs("/topics/x"), "NOT_AN_OBJECT"),
        (
            bodies.seaweedfs(
                "/buckets/media/k.versions/v_1", Seaweed_X_Amz_Version_Id="1", Seaweed_X_Amz_Delete_Marker="true"
            ),
            "EVENT_TYPE",
        ),
        (
            bodies.seaweedfs(
                "/buckets/media/k.versions/v_1",
                "update",
                Seaweed_X_Amz_Version_Id="1",
                Seaweed_X_Amz_Noncurrent_Since_Ns="9",
            ),
            "EVENT_TYPE",
        ),
    ],
)
def test_what_is_no_object_of_seaweedfs(body: bytes, reason: str) -> None:
    assert reasons(body) == [reason]


def test_an_overwritten_object_of_seaweedfs_is_an_update() -> None:
    assert the_event(bodies.seaweedfs("/buckets/media/k", "update")).event_name == "update"


def test_a_renamed_entry_lies_at_its_new_path() -> None:
    body = json.loads(bodies.seaweedfs("/buckets/media/new", "rename"))
    body["key"] = "/buckets/media/old"
    assert the_event(json.dumps(body).encode()).key == "new"


def test_a_version_is_the_object_and_head_tells_whether_it_is_the_latest() -> None:
    event = the_event(bodies.seaweedfs("/buckets/media/in/k.mp4.versions/v_1", Seaweed_X_Amz_Version_Id="1"))
    assert (event.key, event.decided) == ("in/k.mp4", False)
    plain = the_event(bodies.seaweedfs("/buckets/media/in/k.mp4.versions/v_1"))
    assert (plain.key, plain.decided) == ("in/k.mp4.versions/v_1", True)


def test_an_entry_that_did_not_come_by_s3_is_asked_for_its_content() -> None:
    assert the_event(bodies.seaweedfs("/buckets/media/k", entry={"extended": {}})).etag is None


def test_an_empty_file_has_no_size_in_the_message() -> None:
    event = the_event(bodies.seaweedfs("/buckets/media/k", entry={"attributes": {"mtime": 1795331741}}))
    assert event.size == 0
    unknown = the_event(bodies.seaweedfs("/buckets/media/k", entry={"attributes": {"mtime": 1}, "chunks": [{}]}))
    assert unknown.size is None


def test_a_damaged_name_is_not_believed() -> None:
    assert not the_event(bodies.seaweedfs("/buckets/media/a\ufffd")).decided

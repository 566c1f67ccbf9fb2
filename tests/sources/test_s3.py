"""The signed requests and the whole source on real servers: SeaweedFS (checks signatures) and moto."""

from __future__ import annotations

import os
import random
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.core.events import encode_key
from dispatcher.core.segments import SegmentTuning
from dispatcher.core.settings import Addressing, BucketSettings, Credentials, Secret
from dispatcher.errors import (
    BucketDeniedError,
    BucketMissingError,
    CredentialsError,
    DispatcherError,
    ListingError,
    ServiceUnavailableError,
)
from dispatcher.sources import s3
from dispatcher.sources.refusals import refusal
from dispatcher.sources.s3 import S3Bucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.demo.s3server import S3Server
    from dispatcher.sources.store import Answer

STOP = threading.Event()

KEYS = [
    "plain.mp4",
    "with space.mp4",
    "plus+plus.mp4",
    "100%.mp4",
    "%41.mp4",
    "%2F.mp4",
    "a&b<c>\"d'.mp4",
    "semi;colon=equals?question#hash.mp4",
    "brackets[]{}|^`~.mp4",
    "日本語/ビデオ.mp4",
    "emoji-🎬.mp4",
    "nfc-é.mp4",
    "nfd-e\u0301.mp4",
    "high-\uffee.mp4",
    "trailing space ",
    " leading space",
    "dots/.../x",
    "deep/" + "d/" * 30 + "x.mp4",
    "l" * 200 + "/" + "m" * 200 + "/" + "n" * 200 + "/" + "o" * 200 + "/" + "p" * 216 + ".mp4",
    "file-and-folder",
    "file-and-folder/inside.mp4",
]
CONTROL = ["tab\there.mp4", "delete\x7f.mp4", "control-\x01\x1f.mp4"]
# moto's web framework has no route for line ends; SeaweedFS is a tree of files and turns `\\` into `/`.
ONLY_ON = {
    "moto": ["a//b.mp4", "/leading-slash.mp4", "folder/./x.mp4", "folder/../x.mp4", "..", "back\\slash.mp4"],
    "seaweedfs": ["line\nfeed.mp4", "return\rhere.mp4"],
}


def keys_of(server: S3Server) -> Callable[[], Credentials]:
    return lambda: Credentials(server.access_key_id, server.access_key_secret)


def open_bucket(server: S3Server, settings: BucketSettings, name: str) -> S3Bucket:
    return S3Bucket(replace(settings, name=name, endpoint=server.endpoint), keys_of(server), attempts=2)


@pytest.mark.parametrize("which", ["seaweedfs", "moto"])
def test_every_key_survives_listing_and_head(
    which: str, request: pytest.FixtureRequest, make_bucket: Any, make_world: Any, settings: BucketSettings
) -> None:
    server = request.getfixturevalue(which)
    client, name = make_bucket(server)
    lister = open_bucket(server, settings, name)
    keys = KEYS + CONTROL + ONLY_ON[which]
    world = make_world(store=lister, bucket=lister.bucket, tuning=SegmentTuning(4, 30, 7))
    world.listing()
    for number, key in enumerate(keys):
        client.put_object(Bucket=name, Key=key, Body=b"x" * (number + 1))
    assert sorted(event.key for event in world.listing()) == sorted(keys)
    for number, key in enumerate(keys):
        head = lister.head(key, STOP)
        assert head is not None, key
        assert head.size == number + 1, key
    assert world.listing() == []
    lister.close()


def test_the_servers_entries_are_scanned_and_need_no_xml_parser(
    seaweedfs: S3Server, bucket: tuple[Any, str], make_world: Any, settings: BucketSettings
) -> None:
    lister = open_bucket(seaweedfs, settings, bucket[1])
    world = make_world(store=lister, bucket=lister.bucket)
    bucket[0].put_object(Bucket=bucket[1], Key="a b.mp4", Body=b"x")
    source = world.source()
    world.listing(source)
    assert not source._respell
    lister.close()


def test_an_object_that_is_not_there_has_no_head(
    seaweedfs: S3Server, bucket: tuple[Any, str], settings: BucketSettings
) -> None:
    lister = open_bucket(seaweedfs, settings, bucket[1])
    assert lister.head("nothing.mp4", STOP) is None
    lister.close()


def test_a_multipart_upload_fires_once_it_is_complete(
    seaweedfs: S3Server, bucket: tuple[Any, str], make_world: Any, settings: BucketSettings
) -> None:
    client, name = bucket
    lister = open_bucket(seaweedfs, settings, name)
    world = make_world(store=lister, bucket=lister.bucket)
    world.listing()
    upload = client.create_multipart_upload(Bucket=name, Key="big.mp4")["UploadId"]
    part = client.upload_part(Bucket=name, Key="big.mp4", UploadId=upload, PartNumber=1, Body=b"x" * 1000)
    assert world.listing() == []
    client.complete_multipart_upload(
        Bucket=name,
        Key="big.mp4",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    [event] = world.listing()
    assert event.key == "big.mp4"
    assert event.etag == client.head_object(Bucket=name, Key="big.mp4")["ETag"].strip('"')
    lister.close()


class Remote:
    """A server's bucket with the operations of the store in memory."""

    def __init__(self, client: Any, name: str, lister: S3Bucket) -> None:
        self.client, self.name, self.lister = client, name, lister
        self.objects: dict[bytes, tuple[str, int]] = {}
        self.order = lambda key: key
        self.puts = 0
        self.between: Callable[[], None] | None = None

    def put(self, key: bytes, etag: str | None = None) -> Any:
        self.puts += 1
        body = b"%d" % self.puts
        answer = self.client.put_object(Bucket=self.name, Key=key.decode(), Body=body)
        self.objects[key] = (answer["ETag"].strip('"'), len(body))
        return (key, *self.objects[key])

    def delete(self, key: bytes) -> None:
        self.client.delete_object(Bucket=self.name, Key=key.decode())
        del self.objects[key]

    def list(self, root: str, token: str | None, page: int, stop: threading.Event) -> Answer:
        if self.between:
            self.between()
        return self.lister.list(root, token, page, stop)


@pytest.mark.parametrize(("which", "passes"), [("seaweedfs", 100), ("moto", 40)])
def test_random_life_on_a_real_server(
    which: str,
    passes: int,
    request: pytest.FixtureRequest,
    make_bucket: Any,
    make_world: Any,
    make_life: Any,
    settings: BucketSettings,
) -> None:
    server = request.getfixturevalue(which)
    client, name = make_bucket(server)
    lister = open_bucket(server, settings, name)
    dice = random.Random(which)
    remote = Remote(client, name, lister)
    world = make_world(store=remote, bucket=lister.bucket)
    folders = (b"", b"a", b"a/b", b"a-b", b"a b", b"z+%41", "中/é".encode())
    life = make_life(remote, dice, folders=folders)
    for _ in range(30):
        life.step()
    baseline = {(key, *content) for key, content in remote.objects.items()}
    world.listing()
    fired: set[Any] = set()
    for _ in range(int(os.environ.get("SNAPSHOT_PASSES", passes))):
        world.tuning = SegmentTuning(dice.randrange(1, 20), dice.randrange(1, 60), dice.randrange(3, 11), 20)
        for _ in range(dice.randrange(1, 16)):
            life.step()
        remote.between = (lambda: life.step() if dice.random() < 0.3 else None) if dice.random() < 0.3 else None
        world.listing()
        remote.between = None
        world.listing()
        contents = [(encode_key(event.key), event.etag, event.size) for event in world.fired]
        world.fired.clear()
        assert not {each for each in contents if each in fired} - life.returned, "fired twice"
        assert not (set(contents) & baseline) - life.returned, "fired what lay there before"
        fired.update(contents)
        there = {(key, *content) for key, content in remote.objects.items()}
        assert not there - fired - baseline, "lost"
        assert {world.hash_of(each) for each in there} <= set(world.hashes(live=True))
    world.listing()
    world.listing()
    there = {(key, *content) for key, content in remote.objects.items()}
    assert set(world.hashes(live=False)) == {world.hash_of(each) for each in there}
    lister.close()


def test_a_missing_bucket_says_so(seaweedfs: S3Server, settings: BucketSettings) -> None:
    lister = open_bucket(seaweedfs, settings, "media-that-is-not-there")
    with pytest.raises(BucketMissingError, match="media-that-is-not-there"):
        lister.list("", None, 10, STOP)
    lister.close()


@pytest.mark.parametrize(
    ("key_id", "secret", "hint"), [(None, "wrong", "secret"), ("NOSUCHKEY", "wrong", "access key")]
)
def test_wrong_credentials_are_refused_without_naming_them(
    key_id: str | None,
    secret: str,
    hint: str,
    seaweedfs: S3Server,
    bucket: tuple[Any, str],
    settings: BucketSettings,
) -> None:
    given = Credentials(key_id or seaweedfs.access_key_id, Secret(secret))
    lister = S3Bucket(replace(settings, name=bucket[1], endpoint=seaweedfs.endpoint), lambda: given)
    with pytest.raises(BucketDeniedError) as raised:
        lister.list("", None, 10, STOP)
    assert hint in raised.value.hint
    assert secret not in str(raised.value)
    lister.close()


def test_an_endpoint_that_is_down_is_unavailable(settings: BucketSettings) -> None:
    lister = S3Bucket(settings, lambda: Credentials("a", Secret("b")), attempts=2)
    with pytest.raises(ServiceUnavailableError, match="no answer"):
        lister.list("", None, 10, STOP)


def test_a_stop_ends_the_attempts(settings: BucketSettings) -> None:
    stop = threading.Event()
    stop.set()
    lister = S3Bucket(settings, lambda: Credentials("a", Secret("b")), attempts=1_000)
    with pytest.raises(ServiceUnavailableError):
        lister.list("", None, 10, stop)


def test_without_keys_the_error_says_what_to_set(settings: BucketSettings) -> None:
    with pytest.raises(CredentialsError, match="no access key"):
        S3Bucket(settings, Credentials).list("", None, 10, STOP)


def test_boto3s_chain_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    found = s3.keys_of_boto3()()
    assert found == Credentials("from-environment", Secret("secret"), Secret("token"))


def test_a_security_token_is_signed_and_sent(settings: BucketSettings) -> None:
    lister = S3Bucket(settings, lambda: Credentials("a", Secret("b"), Secret("the-token")))
    headers = lister._sign("GET", "/b/?list-type=2")
    assert headers["X-Amz-Security-Token"] == "the-token"
    assert "x-amz-security-token" in headers["Authorization"]


@pytest.mark.parametrize(
    ("addressing", "host", "path"),
    [
        (Addressing.VIRTUAL, "https://b.s3.oss-cn-hangzhou.aliyuncs.com", ""),
        (Addressing.PATH, "https://s3.oss-cn-hangzhou.aliyuncs.com", "/b"),
    ],
)
def test_the_bucket_stands_in_the_host_or_in_the_path(
    addressing: Addressing, host: str, path: str, settings: BucketSettings
) -> None:
    lister = S3Bucket(
        replace(settings, endpoint="https://s3.oss-cn-hangzhou.aliyuncs.com", addressing=addressing), Credentials
    )
    assert (lister._host, lister._path) == (host, path)


@pytest.mark.parametrize(
    ("status", "body", "kind", "hint"),
    [
        (404, b"<Error><Code>NoSuchBucket</Code></Error>", BucketMissingError, "name"),
        (403, b"<Error><Code>SecondLevelDomainForbidden</Code></Error>", BucketDeniedError, "virtual"),
        (403, b"<Error><Code>AccessDenied</Code><EC>0002-00000033</EC></Error>", BucketDeniedError, "api: oss"),
        (
            403,
            b"<Code>AccessDenied</Code><Message>The bucket must be addressed using the specified endpoint.</Message>",
            ListingError,
            "region",
        ),
        (403, b"<Error><Code>RequestTimeTooSkewed</Code></Error>", BucketDeniedError, "clock"),
        (301, b"<Error><Code>PermanentRedirect</Code></Error>", ListingError, "region"),
        (403, b"", BucketDeniedError, "grant"),
        (400, b"<html>", ListingError, "next pass"),
    ],
)
def test_a_refusal_says_what_to_do(
    status: int, body: bytes, kind: type[DispatcherError], hint: str, settings: BucketSettings
) -> None:
    error = refusal(settings, "listing", status, body)
    assert type(error) is kind
    assert hint in error.hint
    assert "bucket b" in str(error)


def test_an_hour_without_endpoint_loses_nothing(
    seaweedfs: S3Server, bucket: tuple[Any, str], make_world: Any, settings: BucketSettings
) -> None:
    client, name = bucket
    lister = open_bucket(seaweedfs, settings, name)
    world = make_world(store=lister, bucket=lister.bucket)
    world.listing()
    client.put_object(Bucket=name, Key="meanwhile.mp4", Body=b"x")
    world.store = S3Bucket(replace(lister.bucket, endpoint="http://127.0.0.1:1"), keys_of(seaweedfs), attempts=1)
    for _ in range(3):
        with suppress(ServiceUnavailableError):
            world.listing()
    world.store = lister
    assert [event.key for event in world.listing()] == ["meanwhile.mp4"]
    lister.close()

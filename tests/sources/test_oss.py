"""OSS's own API: our signature, the official client as second opinion, and the whole source on it."""

from __future__ import annotations

import os
import random
import socket
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import alibabacloud_oss_v2 as official
import pytest
from alibabacloud_oss_v2.signer.v4 import SignerV4
from alibabacloud_oss_v2.types import HttpRequest, SigningContext
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.events import encode_key
from dispatcher.core.segments import SegmentTuning
from dispatcher.core.settings import Addressing, BucketSettings, Credentials, Secret, StoreApi
from dispatcher.errors import BucketDeniedError, BucketMissingError, CredentialsError, ListingError
from dispatcher.sources.opening import open_bucket
from dispatcher.sources.oss import OssBucket
from dispatcher.sources.s3 import S3Bucket
from tests.sources.oss_server import Account, OssServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dispatcher.sources.store import Answer

STOP = threading.Event()
KEYS = [
    "plain.mp4",
    "with space.mp4",
    "plus+plus.mp4",
    "100%.mp4",
    "%41.mp4",
    "a&b<c>\"d'.mp4",
    "semi;colon=equals?question#hash.mp4",
    "brackets[]{}|^`~.mp4",
    "日本語/ビデオ.mp4",
    "emoji-🎬.mp4",
    "high-\uffee.mp4",
    "trailing space ",
    "a//b.mp4",
    "dots/.../x",
    "back\\slash.mp4",
    "star*(and)!.mp4",
]
# The official client's HTTP library resolves these before it sends them: the server refuses its signature.
DOTS = ["folder/./x.mp4", "folder/../x.mp4", ".."]
CONTROL = ["tab\there.mp4", "line\nfeed.mp4", "control-\x01\x1f.mp4"]


@pytest.fixture
def oss() -> Iterator[OssServer]:
    with OssServer() as server:
        yield server


def settings_of(server: OssServer, settings: BucketSettings) -> BucketSettings:
    return replace(
        settings, name=server.bucket, endpoint=server.endpoint, region=server.account.region, api=StoreApi.OSS
    )


def credentials_of(account: Account) -> Credentials:
    return Credentials(account.key_id, Secret(account.secret), Secret(account.token) if account.token else None)


def opened(server: OssServer, settings: BucketSettings) -> OssBucket:
    return OssBucket(settings_of(server, settings), lambda: credentials_of(server.account), attempts=2)


def official_client(server: OssServer) -> Any:
    account = server.account
    config = official.config.load_default()
    config.credentials_provider = official.credentials.StaticCredentialsProvider(
        account.key_id, account.secret, account.token
    )
    config.region = account.region
    config.endpoint = server.endpoint
    return official.Client(config)


# -- the signature ----------------------------------------------------------------------------------


def officially_signed(account: Account, url: str, method: str, key: str | None, bucket: str, now: datetime) -> str:
    context = SigningContext(
        product="oss",
        region=account.region,
        bucket=bucket,
        key=key,
        request=HttpRequest(method, url),
        credentials=official.credentials.Credentials(account.key_id, account.secret, account.token),
        signing_time=now,
    )
    context.request.headers.pop("Content-Type", None)
    SignerV4().sign(context)
    return str(context.request.headers["Authorization"])


@given(
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    token=st.none() | st.from_regex(r"[A-Za-z0-9+/=]{1,40}", fullmatch=True),
    when=st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds it
    path_style=st.booleans(),
)
def test_we_sign_as_the_official_client_signs(key: str, token: str | None, when: datetime, path_style: bool) -> None:
    account = Account(token=token)
    settings = _settings(Addressing.PATH if path_style else Addressing.VIRTUAL)
    bucket = Recording(settings, lambda: credentials_of(account), clock=lambda: when)
    bucket.list(key, key, 7, STOP)
    bucket.list("", None, 7, STOP)
    bucket.head(key, STOP)
    for (method, target), signed_key in zip(bucket.sent, (None, None, key), strict=True):
        expected = officially_signed(account, bucket._host + target, method, signed_key, settings.name, when)
        assert bucket._sign(method, target)["authorization"] == expected


@dataclass
class Recording(OssBucket):
    """Keeps the requests it would send."""

    sent: list[tuple[str, str]] = field(default_factory=list)

    def _ask(self, method: str, target: str, *_: object) -> tuple[int, Mapping[str, str], bytes]:
        self.sent.append((method, target))
        return 200, {"date": "Sun, 01 Nov 2026 00:00:00 GMT"}, b""


def _settings(addressing: Addressing) -> BucketSettings:
    from dispatcher.core.calls import Endpoint  # noqa: PLC0415 - only for this

    return BucketSettings(
        name="my-media",
        region="cn-hangzhou",
        endpoint="https://oss-cn-hangzhou.aliyuncs.com",
        addressing=addressing,
        on_oss=True,
        ims=Endpoint("cn-hangzhou", "https://ice.cn-hangzhou.aliyuncs.com"),
        api=StoreApi.OSS,
    )


@pytest.mark.parametrize("token", [None, "CAIS+token/=="])
def test_the_server_takes_both_clients_and_gives_them_the_same(
    token: str | None, oss: OssServer, settings: BucketSettings, make_world: Callable[..., Any]
) -> None:
    oss.account.token = token
    client = official_client(oss)
    lister = opened(oss, settings)
    world = make_world(store=lister, bucket=lister.bucket, tuning=SegmentTuning(4, 30, 7))
    world.listing()
    for number, key in enumerate(KEYS):
        client.put_object(official.PutObjectRequest(bucket=oss.bucket, key=key, body=b"x" * (number + 1)))
    ours = {(event.key, event.etag, event.size) for event in world.listing()}
    pages = client.list_objects_v2_paginator().iter_page(
        official.ListObjectsV2Request(bucket=oss.bucket, max_keys=5, encoding_type="url")
    )
    theirs = {(each.key, each.etag.strip('"').lower(), each.size) for page in pages for each in page.contents}
    assert ours == theirs
    assert {key for key, _, _ in ours} == set(KEYS)
    for key, etag, size in ours:
        head = lister.head(key, STOP)
        their_head = client.head_object(official.HeadObjectRequest(bucket=oss.bucket, key=key))
        assert head is not None, key
        assert (head.etag, head.size, head.modified_at) == (etag, size, their_head.last_modified)
    lister.close()


def test_the_bucket_stands_in_the_host_as_real_oss_wants_it(
    oss: OssServer, settings: BucketSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **named: real("127.0.0.1", *rest, **named))
    oss.put(b"a b/+.mp4", b"x")
    lister = opened(oss, settings)
    lister.bucket = replace(
        lister.bucket, endpoint=f"http://oss-cn-hangzhou.test:{oss.port}", addressing=Addressing.VIRTUAL
    )
    lister.__post_init__()
    assert b"a%20b%2F%2B.mp4" in lister.list("a b/", None, 10, STOP).body
    assert lister.head("a b/+.mp4", STOP) is not None
    assert {request.headers["host"] for request in oss.requests} == {f"{oss.bucket}.oss-cn-hangzhou.test:{oss.port}"}
    lister.close()


@pytest.mark.parametrize(
    ("change", "kind", "hint"),
    [
        ({"secret": "another"}, BucketDeniedError, "secret"),
        ({"key_id": "LTAInobody"}, BucketDeniedError, "access key"),
        ({"token": "expected"}, BucketDeniedError, "token"),
        ({"clock": lambda: datetime.now(UTC) + timedelta(minutes=16)}, BucketDeniedError, "clock"),
        ({"region": "cn-beijing"}, ListingError, "next pass"),
    ],
)
def test_a_refusal_of_the_service_says_what_to_do(
    change: dict[str, Any], kind: type[Exception], hint: str, oss: OssServer, settings: BucketSettings
) -> None:
    lister = opened(oss, settings)
    given = credentials_of(oss.account)
    lister.keys = lambda: given
    oss.account = replace(oss.account, **change)
    for ask in (lambda: lister.list("", None, 10, STOP), lambda: lister.head("a", STOP)):
        with pytest.raises(kind) as raised:
            ask()
        assert hint in raised.value.hint  # type: ignore[attr-defined]
        assert "test-secret" not in str(raised.value)
    lister.close()


def test_a_missing_bucket_is_not_taken_for_a_missing_object(oss: OssServer, settings: BucketSettings) -> None:
    lister = opened(oss, settings)
    assert lister.head("nothing.mp4", STOP) is None
    oss.bucket = "another-bucket"
    for ask in (lambda: lister.list("", None, 10, STOP), lambda: lister.head("nothing.mp4", STOP)):
        with pytest.raises(BucketMissingError):
            ask()
    lister.close()


def test_without_keys_the_error_says_what_to_set(settings: BucketSettings) -> None:
    with pytest.raises(CredentialsError, match="no access key"):
        OssBucket(settings, Credentials).list("", None, 10, STOP)


def test_the_settings_say_which_client_speaks(settings: BucketSettings) -> None:
    assert isinstance(open_bucket(settings, Credentials), S3Bucket)
    assert isinstance(open_bucket(replace(settings, api=StoreApi.OSS), Credentials), OssBucket)


# -- the source on it -------------------------------------------------------------------------------


@pytest.mark.parametrize("indent", [True, False])
def test_its_answers_are_scanned_and_need_no_xml_parser(
    indent: bool, oss: OssServer, settings: BucketSettings, make_world: Callable[..., Any]
) -> None:
    oss.indent = indent
    lister = opened(oss, settings)
    world = make_world(store=lister, bucket=lister.bucket, tuning=SegmentTuning(4, 30, 7))
    world.listing()
    for key in KEYS + DOTS + CONTROL:
        oss.put(encode_key(key), b"x")
    source = world.source()
    assert sorted(event.key for event in world.listing(source)) == sorted(KEYS + DOTS + CONTROL)
    assert all(lister.head(key, STOP) for key in KEYS + DOTS + CONTROL)
    assert world.listing(source) == []
    assert not source._respell
    assert source.report.segments_skipped > 0
    assert source.report.segments_parsed == 0
    lister.close()


def test_an_appended_object_is_seen_as_one_that_grows(
    oss: OssServer, settings: BucketSettings, make_world: Callable[..., Any]
) -> None:
    client = official_client(oss)
    lister = opened(oss, settings)
    world = make_world(store=lister, bucket=lister.bucket)
    world.listing()
    oss.put(b"whole.mp4", b"x")
    for position in range(3):
        client.append_object(
            official.AppendObjectRequest(bucket=oss.bucket, key="live.mp4", position=position, body=b"y")
        )
        grown = {event.key: event.growing for event in world.listing()}
        assert grown["live.mp4"]
        assert not grown.get("whole.mp4", False)
        head = lister.head("live.mp4", STOP)
        assert head is not None
        assert head.growing
    oss.put(b"live.mp4", b"sealed", "Appendable", sealed=True)
    [event] = world.listing()
    assert not event.growing
    head = lister.head("live.mp4", STOP)
    assert head is not None
    assert not head.growing
    lister.close()


class Remote:
    """The server's bucket with the operations of the store in memory."""

    def __init__(self, server: OssServer, lister: OssBucket) -> None:
        self.server, self.lister = server, lister
        self.order = lambda key: key
        self.puts = 0
        self.between: Callable[[], None] | None = None

    @property
    def objects(self) -> dict[bytes, tuple[str, int]]:
        return {key: (stored.etag.lower(), stored.size) for key, stored in self.server.objects.items()}

    def put(self, key: bytes, etag: str | None = None) -> Any:
        self.puts += 1
        self.server.put(key, b"%d" % self.puts, random.Random(self.puts).choice(["Normal", "Appendable"]))
        return (key, *self.objects[key])

    def delete(self, key: bytes) -> None:
        del self.server.objects[key]

    def list(self, root: str, token: str | None, page: int, stop: threading.Event) -> Answer:
        if self.between:
            self.between()
        return self.lister.list(root, token, page, stop)


@pytest.mark.parametrize("indent", [True, False])
def test_random_life(
    indent: bool, oss: OssServer, settings: BucketSettings, make_world: Callable[..., Any], make_life: Any
) -> None:
    oss.indent = indent
    lister = opened(oss, settings)
    dice = random.Random(f"oss{indent}")
    remote = Remote(oss, lister)
    world = make_world(store=remote, bucket=lister.bucket)
    life = make_life(remote, dice)
    for _ in range(30):
        life.step()
    baseline = {(key, *content) for key, content in remote.objects.items()}
    world.listing()
    fired: set[Any] = set()
    for _ in range(int(os.environ.get("SNAPSHOT_PASSES", "60"))):
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
    lister.close()

"""A store in memory that lists as real ones do, and worse; and a consumer that commits as intake does."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

import pytest
from sqlalchemy import StaticPool, create_engine, select

from dispatcher.core.calls import Endpoint
from dispatcher.core.events import ObjectEvent, encode_key
from dispatcher.core.segments import SegmentTuning, entry_hash, unpack_hashes
from dispatcher.core.settings import Addressing, BucketSettings
from dispatcher.errors import ListingError
from dispatcher.ledger import snapshots
from dispatcher.ledger.metadata import metadata
from dispatcher.ledger.snapshot_tables import snapshot_keys, snapshot_roots, snapshot_segments
from dispatcher.ledger.snapshots import LedgerSnapshots
from dispatcher.sources.bucket import BucketSource, Wanted
from dispatcher.sources.store import Answer

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection, Engine

START = datetime(2026, 11, 1, tzinfo=UTC)
Content = tuple[bytes, str, int]


def by_bytes(key: bytes) -> bytes:
    return key


@dataclass
class Store:
    """Objects and a listing of them. `order` may be changed between passes; `between` runs before each answer."""

    order: Callable[[bytes], Any] = by_bytes
    objects: dict[bytes, tuple[str, int, datetime]] = field(default_factory=dict)
    now: datetime = START
    between: Callable[[], None] = lambda: None
    fail: Callable[[], bool] = lambda: False
    empty: Callable[[], bool] = lambda: False
    requests: int = 0
    puts: int = 0

    def put(self, key: bytes | str, etag: str | None = None, modified: datetime | None = None) -> Content:
        raw = key if isinstance(key, bytes) else encode_key(key)
        self.puts += 1
        self.now += timedelta(seconds=1)
        self.objects[raw] = (etag or f"{self.puts:032x}", 10 + self.puts % 7, modified or self.now)
        return (raw, *self.objects[raw][:2])

    def delete(self, key: bytes | str) -> None:
        del self.objects[key if isinstance(key, bytes) else encode_key(key)]

    def contents(self, root: str = "") -> set[Content]:
        prefix = encode_key(root)
        return {(key, etag, size) for key, (etag, size, _) in self.objects.items() if key.startswith(prefix)}

    def answer(self, root: str, token: str | None, page: int) -> Answer:
        self.requests += 1
        self.between()
        if self.fail():
            raise ListingError("HTTP 503", hint="try again")
        keys = sorted((key for key in self.objects if key.startswith(encode_key(root))), key=self.order)
        if token is not None:
            last = bytes.fromhex(token.partition(".")[0])
            keys = [key for key in keys if self.order(key) > self.order(last)]
        if self.empty() and keys:
            before = token.partition(".")[0] if token else ""
            if before:
                return self.page_of([], f"{before}.{self.requests}")
        shown = keys[:page]
        return self.page_of(shown, shown[-1].hex() if len(keys) > page else None)

    def list(self, root: str, token: str | None, page: int, stop: threading.Event) -> Answer:
        return self.answer(root, token, page)

    def page_of(self, keys: Sequence[bytes], token: str | None) -> Answer:
        frame = f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>"
        if token:
            frame += f"<NextContinuationToken>{token}</NextContinuationToken>"
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>b</Name><EncodingType>url</EncodingType>{''.join(map(self._entry, keys))}{frame}</ListBucketResult>"
        )
        return Answer(body.encode(), self.now.replace(microsecond=0))

    def _entry(self, key: bytes) -> str:
        etag, size, modified = self.objects[key]
        return (
            f"<Contents><Key>{quote_from_bytes(key)}</Key><LastModified>{modified.isoformat()}</LastModified>"
            f"<ETag>&#34;{etag.upper()}&#34;</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )


@dataclass
class MemoryLedger:
    """The snapshot tables on a SQLite of the test."""

    engine: Engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self.engine.connect() as tx, tx.begin():
            yield tx

    write = read


class Crash(Exception):  # noqa: N818 - not an error of the product
    """The process ended here."""


@dataclass
class World:
    """One ledger and what reached it."""

    ledger: MemoryLedger
    bucket: BucketSettings
    store: Any
    tuning: SegmentTuning = field(default_factory=SegmentTuning)
    fired: list[ObjectEvent] = field(default_factory=list)
    crash_after: int | None = None
    revision: int = 7
    crash: type[Exception] = Crash

    def source(self, root: str = "", roots: tuple[str, ...] = (), wanted: Wanted | None = None) -> BucketSource:
        return BucketSource(
            bucket=self.bucket,
            root=root,
            memory=LedgerSnapshots(self.ledger),
            lister=self.store,
            revision=self.revision,
            roots=roots,
            wanted=wanted or Wanted(),
            tuning=self.tuning,
        )

    def listing(self, source: BucketSource | None = None, **kwargs: Any) -> list[ObjectEvent]:
        """Make one pass and commit its batches; return what it brought."""
        source = source or self.source(**kwargs)
        brought: list[ObjectEvent] = []
        for number, batch in enumerate(source.batches(threading.Event())):
            if self.crash_after is not None and number >= self.crash_after:
                raise Crash
            assert len(batch.events) <= max(self.tuning.events, self.tuning.target * 2)
            with self.ledger.write() as tx:
                if batch.progress is not None:
                    snapshots.apply(tx, batch.progress)
            brought += batch.events
            self.fired += batch.events
        return brought

    def hash_of(self, content: Content) -> int:
        with self.ledger.read() as tx:
            key = tx.execute(select(snapshot_keys.c.hash_key)).scalar_one()
        return entry_hash(key, *content)

    def hashes(self, *, live: bool) -> list[int]:
        query = select(snapshot_segments.c.hashes)
        if live:
            query = query.where(snapshot_segments.c.position.is_not(None))
        with self.ledger.read() as tx:
            return [each for row in tx.execute(query) for each in unpack_hashes(row.hashes)]


def new_contents(events: list[ObjectEvent]) -> list[Content]:
    """The contents of the events that are new, in order."""
    return [
        (encode_key(event.key), event.etag or "", event.size or 0) for event in events if event.known_revision is None
    ]


def bucket_settings(name: str = "b", endpoint: str = "http://127.0.0.1:1") -> BucketSettings:
    return BucketSettings(
        name=name,
        region="us-east-1",
        endpoint=endpoint,
        addressing=Addressing.PATH,
        on_oss=False,
        ims=Endpoint(region="cn-hangzhou", url="https://ice.cn-hangzhou.aliyuncs.com"),
    )


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    engines: list[Engine] = []

    def make(store: Any = None, tuning: SegmentTuning | None = None, bucket: BucketSettings | None = None) -> World:
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        engines.append(engine)
        metadata.create_all(engine, tables=[snapshot_keys, snapshot_roots, snapshot_segments])
        return World(
            MemoryLedger(engine),
            bucket or bucket_settings(),
            store if store is not None else Store(),
            tuning or SegmentTuning(),
        )

    yield make
    for engine in engines:
        engine.dispose()


@dataclass
class Life:
    """Random operations on a store, each content put once (or known to come back)."""

    store: Any
    dice: random.Random
    returned: set[Content] = field(default_factory=set)
    gone: list[tuple[bytes, str]] = field(default_factory=list)
    folders: tuple[bytes, ...] = (b"", b"a", b"a/b", b"a-b", b"a b", b"z+%41", "中/é".encode(), b"q\x01&<>")

    def key(self) -> bytes:
        folder = self.dice.choice(self.folders)
        name = b"%03d" % self.dice.randrange(200)
        return folder + b"/" + name if folder else name

    def step(self) -> None:  # noqa: C901 - a flat list of what can happen
        keys = sorted(self.store.objects, key=self.store.order)
        match self.dice.randrange(13):
            case 0 | 1 | 2 | 3:
                self.store.put(self.key())
            case 4 | 5 if keys:
                self.store.put(self.dice.choice(keys))
            case 6 | 7 if keys:
                self.remove(self.dice.choice(keys))
            case 8 if keys:
                start = self.dice.randrange(len(keys))
                for key in keys[start : start + self.dice.randrange(1, 60)]:
                    self.remove(key)
            case 9:
                for _ in range(self.dice.randrange(1, 40)):
                    self.store.put(self.key())
            case 10 if keys:
                key = self.dice.choice(keys)
                self.remove(key)
                self.store.put(key + b"/now-a-folder")
            case 11 if keys and self.dice.random() < 0.1:
                for key in keys:
                    self.remove(key)
            case 12 if self.gone:
                key, etag = self.dice.choice(self.gone)
                self.returned.add(self.store.put(key, etag))
            case _:
                self.store.put(self.key())

    def remove(self, key: bytes) -> None:
        self.gone = [*self.gone[-20:], (key, self.store.objects[key][0])]
        self.store.delete(key)


@pytest.fixture
def make_life() -> Callable[..., Life]:
    return Life


@pytest.fixture
def settings() -> BucketSettings:
    return bucket_settings()

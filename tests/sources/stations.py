"""The other side of each source, for the contract suite: where objects come into being and are told of.

A new source joins by a class like these and a line in `STATIONS`; the suite then runs over it.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import boto3
from moto.server import ThreadedMotoServer

from dispatcher.core.calls import Endpoint
from dispatcher.core.settings import Addressing, BucketSettings, Credentials, Secret, SmqSettings, SqsSettings
from dispatcher.ledger.snapshots import LedgerSnapshots
from dispatcher.service.assembly import register
from dispatcher.service.intake import Intake
from dispatcher.sources.bucket import BucketSource
from dispatcher.sources.opening import open_bucket
from dispatcher.sources.smq import open_smq
from dispatcher.sources.sqs import SqsQueue, open_sqs
from tests.service.fakes import make_rule, make_settings
from tests.sources import test_queue, test_sqs
from tests.sources.folder_station import folder_source, folder_station
from tests.sources.smq_server import Clock, SmqServer
from tests.sources.webhook_station import webhook_source, webhook_station

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dispatcher.ledger.engine import Ledger
    from dispatcher.ports import Batch, Source
    from dispatcher.sources.queue import QueueSource

PATIENT = 20.0
BUCKET = "media"
ROOT = "in/"
KEYS = Credentials("key", Secret("secret"))


def make_intake(ledger: Ledger) -> Intake:
    """The real front half, with one rule for everything under `in/` of the bucket."""
    settings = make_settings(make_rule("r", ROOT, BUCKET))
    registered = register(settings, ledger, datetime.now(UTC))
    return Intake(ledger, settings.rules, registered.first_revision, lambda: datetime.now(UTC), lambda: None)


def just_now() -> str:
    """The time of an event, later than that of the rules: what is older is none of theirs."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Station(Protocol):
    """What tells a source of objects, and what is asked of it.

    `run` makes a new source, as a restarted process has, and lets it bring batches to `take` until `stop` is
    set or there is nothing more; what `take` raises comes out of it. `process` names, with `describe`, what a
    process of its own needs to do the same: the name of a function in OPENERS and its arguments.
    """

    process: str

    def announce(self, *keys: str) -> None: ...

    def run(self, take: Callable[[Batch], object], stop: threading.Event) -> None: ...

    def time_passes(self) -> None:
        """What was brought and not acknowledged is brought again from now on."""

    def unacknowledged(self) -> int:
        """How many of the announced objects would be brought again if the process died now."""

    def wait_until_idle(self) -> None:
        """Return once a running source waits for the other side, which has nothing to say."""

    def describe(self) -> Mapping[str, str]: ...


class Telling:
    """A queue's wire that tells when it is asked."""

    def __init__(self, queue: Any, asked: threading.Event) -> None:
        self._queue, self._asked = queue, asked

    def receive(self) -> Any:
        self._asked.set()
        return self._queue.receive()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


def run_queue(
    source: QueueSource, asked: threading.Event, take: Callable[[Batch], object], stop: threading.Event
) -> None:
    source.queue = Telling(source.queue, asked)
    # A generator that is closed lets go of what it holds, as one does whose process ended.
    with closing(source), closing(source.batches(stop)) as batches:  # type: ignore[type-var]  # a generator
        for batch in batches:
            take(batch)


# -- SMQ --------------------------------------------------------------------------------------------


def smq_source(_: Ledger, **arguments: str) -> QueueSource:
    settings = SmqSettings("smq", arguments["url"], arguments["queue"], wait=timedelta(seconds=20))
    keys = Credentials("smq-key", Secret("smq-secret"))
    return open_smq(settings, lambda: keys)


@dataclass
class SmqStation:
    ledger: Ledger
    server: SmqServer
    clock: Clock
    asked: threading.Event = field(default_factory=threading.Event)
    process: str = "smq"

    def announce(self, *keys: str) -> None:
        self.server.send(*(test_queue.notification(key, bucket=BUCKET, at=just_now()) for key in keys))

    def run(self, take: Callable[[Batch], object], stop: threading.Event) -> None:
        run_queue(smq_source(self.ledger, **self.describe()), self.asked, take, stop)

    def time_passes(self) -> None:
        self.clock.later(minutes=5)
        self.server.moved()

    def unacknowledged(self) -> int:
        return self.server.left()

    def wait_until_idle(self) -> None:
        assert self.asked.wait(PATIENT)
        self.server.wait_for(lambda: self.server.count("GET") > 0, "the long poll began")

    def describe(self) -> dict[str, str]:
        return {"url": self.server.url, "queue": self.server.queue}


@contextmanager
def smq_station(ledger: Ledger) -> Iterator[Station]:
    clock = Clock()
    with SmqServer(clock=clock) as server:
        yield SmqStation(ledger, server, clock)


# -- SQS --------------------------------------------------------------------------------------------


@contextmanager
def moto(service: str) -> Iterator[tuple[str, Any]]:
    """A server of AWS's protocols, and a client of it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="other",
        aws_secret_access_key="other",
    )
    yield url, client
    client.close()
    server.stop()


def sqs_source(_: Ledger, **arguments: str) -> QueueSource:
    settings = SqsSettings("sqs", arguments["queue_url"], "us-east-1", arguments["endpoint"], KEYS)
    wait, visibility = timedelta(seconds=5), timedelta(seconds=1)
    queue = SqsQueue(settings, wait, visibility)
    return replace(open_sqs(settings), queue=queue, wait=wait, visibility=visibility)


@dataclass
class SqsStation:
    ledger: Ledger
    endpoint: str
    client: Any
    queue_url: str
    asked: threading.Event = field(default_factory=threading.Event)
    process: str = "sqs"

    def announce(self, *keys: str) -> None:
        for key in keys:
            body = test_sqs.notification(test_sqs.quoted(key), bucket=BUCKET, at=just_now())
            self.client.send_message(QueueUrl=self.queue_url, MessageBody=body)

    def run(self, take: Callable[[Batch], object], stop: threading.Event) -> None:
        run_queue(sqs_source(self.ledger, **self.describe()), self.asked, take, stop)

    def time_passes(self) -> None:
        deadline = time.monotonic() + PATIENT
        while self._counts()[1]:
            assert time.monotonic() < deadline, "messages stay hidden"
            threading.Event().wait(0.05)

    def unacknowledged(self) -> int:
        return sum(self._counts())

    def wait_until_idle(self) -> None:
        assert self.asked.wait(PATIENT)

    def describe(self) -> dict[str, str]:
        return {"endpoint": self.endpoint, "queue_url": self.queue_url}

    def _counts(self) -> tuple[int, int]:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])


@contextmanager
def sqs_station(ledger: Ledger) -> Iterator[Station]:
    with moto("sqs") as (endpoint, client):
        url = client.create_queue(QueueName=f"q-{time.monotonic_ns()}")["QueueUrl"]
        yield SqsStation(ledger, endpoint, client, url)
        client.delete_queue(QueueUrl=url)


# -- the bucket poll --------------------------------------------------------------------------------


class SlowLister:
    """The bucket's listing; the answer is late once nothing new is in the bucket."""

    def __init__(self, endpoint: str) -> None:
        ims = Endpoint("cn-hangzhou", "https://ice.cn-hangzhou.aliyuncs.com")
        bucket = BucketSettings(BUCKET, "us-east-1", endpoint, Addressing.PATH, on_oss=False, ims=ims)
        self.bucket = bucket
        self.store = open_bucket(bucket, lambda: KEYS)
        self.asked = threading.Event()
        self.late = False

    def list(self, root: str, token: str | None, page: int, stop: threading.Event) -> Any:
        self.asked.set()
        if self.late:
            stop.wait(PATIENT)
        return self.store.list(root, token, page, stop)


def poll_source(ledger: Ledger, lister: SlowLister | None = None, **arguments: str) -> BucketSource:
    lister = lister or SlowLister(arguments["endpoint"])
    return BucketSource(lister.bucket, ROOT, LedgerSnapshots(ledger), lister, revision=1, roots=(ROOT,))


@dataclass
class PollStation:
    ledger: Ledger
    endpoint: str
    client: Any
    lister: SlowLister
    process: str = "poll"

    def announce(self, *keys: str) -> None:
        for key in keys:
            self.client.put_object(Bucket=BUCKET, Key=key, Body=key.encode())

    def run(self, take: Callable[[Batch], object], stop: threading.Event) -> None:
        self.lister.late = self.unacknowledged() == 0
        self.lister.asked.clear()
        for batch in poll_source(self.ledger, self.lister).batches(stop):
            take(batch)

    def time_passes(self) -> None:
        pass

    def unacknowledged(self) -> int:
        """A pass that is not committed tells what the next one would bring."""
        self.lister.late = False
        for batch in poll_source(self.ledger, self.lister).batches(threading.Event()):
            if batch.events:
                return len(batch.events)
        return 0

    def wait_until_idle(self) -> None:
        assert self.lister.asked.wait(PATIENT)

    def describe(self) -> dict[str, str]:
        return {"endpoint": self.endpoint}


@contextmanager
def poll_station(ledger: Ledger) -> Iterator[Station]:
    with moto("s3") as (endpoint, client):
        client.create_bucket(Bucket=BUCKET)
        lister = SlowLister(endpoint)
        station = PollStation(ledger, endpoint, client, lister)
        intake = make_intake(ledger)
        for batch in poll_source(ledger, lister).batches(threading.Event()):
            intake.take(batch)
        yield station
        lister.store.close()
        # moto's servers of one process share what they hold.
        for each in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
            client.delete_object(Bucket=BUCKET, Key=each["Key"])
        client.delete_bucket(Bucket=BUCKET)


STATIONS: dict[str, Callable[[Ledger], Any]] = {
    "folder": folder_station,
    "folder-polled": partial(folder_station, polling="yes"),
    "poll": poll_station,
    "smq": smq_station,
    "sqs": sqs_station,
    "webhook": webhook_station,
}
"""A context manager for each source."""

OPENERS: dict[str, Callable[..., Source]] = {
    "folder": folder_source,
    "poll": poll_source,
    "smq": smq_source,
    "sqs": sqs_source,
    "webhook": webhook_source,
}
"""What opens the source in a process of its own, by `Station.process`, with `Station.describe` as arguments."""


def describe(station: Station) -> str:
    return json.dumps(station.describe())

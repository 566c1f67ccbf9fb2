"""The other side of a webhook, for the contract suite: a sender that keeps its notifications until they are taken.

MinIO with a queue directory is such a sender. The receiving half is the real listener; it hands every pushed
body over as a batch, and answers once that batch is acknowledged.
"""

from __future__ import annotations

import http.client
import json
import queue
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from dispatcher.core.decoding import Format
from dispatcher.core.settings import Address, BearerToken, Secret, WebhookSettings
from dispatcher.errors import ServiceUnavailableError
from dispatcher.service.receiving import batch_of
from dispatcher.web.server import WebServer
from dispatcher.web.webhooks import Webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dispatcher.core.decoding import Acceptance
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ports import Batch

BUCKET = "media"
TOKEN = "station"
SETTINGS = WebhookSettings("webhook", "/events/minio", BearerToken(Secret(TOKEN)), Format.MINIO)
PATIENT = 20.0
BETWEEN_ATTEMPTS = 0.05
LOOK = 0.02


@dataclass
class Pushed:
    """One pushed body on its way through the front half."""

    batch: Batch
    decided: threading.Event = field(default_factory=threading.Event)
    taken: bool = False

    def decide(self, *, taken: bool) -> None:
        self.taken = self.taken or taken
        self.decided.set()


class PushedSource:
    """What the listener on a port receives, batch by batch. `answered` waits until the sender has the answer."""

    name = SETTINGS.name

    def __init__(self, port: int, answered: Callable[[Callable[[], None]], None] = lambda decide: decide()) -> None:
        self._port = port
        self._answered = answered
        self._pushed: queue.Queue[Pushed] = queue.Queue()
        self._over = threading.Event()

    def batches(self, stop: threading.Event) -> Iterator[Batch]:
        hooks = Webhooks([SETTINGS], self._receive, lambda: datetime.now(UTC))
        try:
            with WebServer(hooks.app, Address("127.0.0.1", self._port)):
                try:
                    yield from self._until(stop)
                finally:
                    self._over.set()
        finally:
            hooks.close()

    def _until(self, stop: threading.Event) -> Iterator[Batch]:
        while not stop.is_set():
            with suppress(queue.Empty):
                pushed = self._pushed.get(timeout=LOOK)
                try:
                    yield self._with_ack(pushed)
                finally:
                    pushed.decide(taken=False)

    def _with_ack(self, pushed: Pushed) -> Batch:
        return replace(pushed.batch, ack=lambda: self._answered(lambda: pushed.decide(taken=True)))

    def _receive(self, source: str, body: bytes, format: Format | None, accept: Acceptance) -> None:  # noqa: A002 - the port's name
        pushed = Pushed(batch_of(source, body, format, accept))
        self._pushed.put(pushed)
        while not pushed.decided.wait(LOOK) and not self._over.is_set():
            pass
        if not pushed.taken:
            raise ServiceUnavailableError("not taken", hint="send it again")


def webhook_source(_: Ledger, **arguments: str) -> PushedSource:
    return PushedSource(int(arguments["port"]))


@dataclass
class WebhookStation:
    """A sender of its own thread: one notification after the other, each until it is taken."""

    port: int
    pending: list[str] = field(default_factory=list)
    answers: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)
    over: threading.Event = field(default_factory=threading.Event)
    process: str = "webhook"

    def announce(self, *keys: str) -> None:
        with self.changed:
            self.pending += keys

    def run(self, take: Callable[[Batch], object], stop: threading.Event) -> None:
        batches = PushedSource(self.port, self._until_answered).batches(stop)
        try:
            for batch in batches:
                take(batch)
        finally:
            batches.close()  # type: ignore[attr-defined]  # a generator

    def time_passes(self) -> None:
        """The sender tries again by itself."""

    def unacknowledged(self) -> int:
        with self.changed:
            return len(self.pending)

    def wait_until_idle(self) -> None:
        pause = threading.Event()
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), PATIENT).close()
            except ConnectionRefusedError:
                pause.wait(LOOK)
            else:
                return

    def describe(self) -> dict[str, str]:
        return {"port": str(self.port)}

    def send(self) -> None:
        """Send what there is until the station closes."""
        while not self.over.wait(BETWEEN_ATTEMPTS):
            while self.unacknowledged() and self._push(self.pending[0]):
                pass

    def _push(self, key: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENT)
        status = 0
        try:
            connection.request("POST", SETTINGS.path, notification(key), {"Authorization": f"Bearer {TOKEN}"})
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        with self.changed:
            if status == http.HTTPStatus.NO_CONTENT:
                self.pending.remove(key)
            self.answers += 1
            self.changed.notify_all()
        return status == http.HTTPStatus.NO_CONTENT

    def _until_answered(self, decide: Callable[[], None]) -> None:
        """Acknowledge, and return when the sender has heard it."""
        with self.changed:
            before = self.answers
            decide()
            assert self.changed.wait_for(lambda: self.answers > before, PATIENT)


def notification(key: str) -> str:
    """What MinIO sends for an upload: its keys are escaped, slashes too."""
    stored = {"key": quote_plus(key), "size": 7, "eTag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": "00"}
    record = {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "eventName": "s3:ObjectCreated:Put",
        "s3": {"bucket": {"name": BUCKET}, "object": stored},
    }
    return json.dumps({"EventName": "s3:ObjectCreated:Put", "Key": f"{BUCKET}/{key}", "Records": [record]})


@contextmanager
def webhook_station(_: Ledger) -> Iterator[WebhookStation]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    station = WebhookStation(port)
    sender = threading.Thread(target=station.send, name="webhook-sender")
    sender.start()
    try:
        yield station
    finally:
        station.over.set()
        sender.join()

"""A running listener with a receiver that remembers, a clock that stands, and certificates of our own."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from dispatcher.core.settings import Address, BearerToken, Secret, WebhookSettings
from dispatcher.web.fetching import FetchError
from dispatcher.web.server import WebServer
from dispatcher.web.webhooks import Webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dispatcher.core.decoding import Acceptance, Format
    from dispatcher.web.fetching import Fetch
    from dispatcher.web.limits import WebLimits

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TOKEN = "correct-horse"
PATH = "/events/minio"
MINIO = WebhookSettings("minio", PATH, BearerToken(Secret(TOKEN)))


class Clock:
    """The time, moved by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Inbox:
    """A receiver. `fails` is raised instead of taking; `gate` holds every body until it is set."""

    taken: list[tuple[str, bytes]] = field(default_factory=list)
    fails: Exception | None = None
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __post_init__(self) -> None:
        self.gate.set()

    def __call__(self, source: str, body: bytes, format: Format | None, accept: Acceptance) -> None:  # noqa: A002 - the port's name
        self.entered.release()
        assert self.gate.wait(10)
        if self.fails is not None:
            raise self.fails
        self.taken.append((source, body))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Listener:
    """A running listener and its client."""

    server: WebServer
    inbox: Inbox
    clock: Clock

    def request(
        self,
        method: str,
        path: str = PATH,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        client: str = "127.0.0.1",
    ) -> Answer:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.server.address.port, timeout=10, source_address=(client, 0)
        )
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def post(self, body: bytes = b"{}", headers: dict[str, str] | None = None, path: str = PATH) -> Answer:
        """POST with the right token unless other headers are given."""
        return self.request("POST", path, body, {"Authorization": f"Bearer {TOKEN}"} if headers is None else headers)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.address.port), timeout=10)

    def send_raw(self, *pieces: bytes) -> bytes:
        """Send bytes as they are, and return everything until the listener closes."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            return read_to_end(connection)


def read_to_end(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes; fails the test if it does not close in time."""
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def listen(inbox: Inbox, clock: Clock) -> Iterator[Callable[..., Listener]]:
    """Return a function that starts a listener; all are stopped when the test ends."""
    with ExitStack() as stack:
        stack.callback(inbox.gate.set)

        def start(*webhooks: WebhookSettings, limits: WebLimits | None = None, fetch: Fetch | None = None) -> Listener:
            hooks = Webhooks(webhooks or (MINIO,), inbox, clock, limits=limits, fetch=fetch)
            stack.callback(hooks.close)
            return Listener(
                stack.enter_context(WebServer(hooks.app, Address("127.0.0.1", 0), limits=limits)), inbox, clock
            )

        yield start


@dataclass
class Place:
    """What outward requests find, by URL; remembers what was asked for. `fails` makes every request fail."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    fails: bool = False

    def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        if self.fails or url not in self.files:
            raise FetchError("HTTP 404")
        return self.files[url]


@dataclass(frozen=True)
class Signer:
    """A service's key and the certificate that it publishes."""

    key: rsa.RSAPrivateKey
    pem: bytes


def make_signer(*, valid_from: datetime = NOW - timedelta(days=30), days: int = 365) -> Signer:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signing.example.com")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid_from)
        .not_valid_after(valid_from + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return Signer(key, certificate.public_bytes(Encoding.PEM))


@pytest.fixture(scope="session")
def signer() -> Signer:
    """The service whose certificate is found."""
    return make_signer()


@pytest.fixture(scope="session")
def stranger() -> Signer:
    """Somebody else."""
    return make_signer()

"""The only outward requests: by https, to an answer that is small, quick and direct."""

from __future__ import annotations

import datetime as dt
import http.server
import ipaddress
import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from dispatcher.web import fetching
from dispatcher.web.fetching import FetchError, HttpsFetch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for loopback that vouches for itself: (certificate, with key)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("authority")
    public, private = folder / "ca.pem", folder / "server.pem"
    public.write_bytes(certificate.public_bytes(Encoding.PEM))
    private.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()) + public.read_bytes()
    )
    return public, private


class _Site(http.server.BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        match self.path:
            case "/ok":
                self._answer(200, b"certificate")
            case "/moved":
                self._answer(302, b"", {"Location": "/ok"})
            case "/large":
                self._answer(200, b"x" * 1_000_000)
            case "/drips":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"x" * 10)
            case _:
                self._answer(404, b"")

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def running_site(private: Path) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(private)
    handler = type("Site", (_Site,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"https://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


@pytest.fixture
def site(authority: tuple[Path, Path]) -> Iterator[tuple[str, list[str]]]:
    with running_site(authority[1]) as running:
        yield running


def test_a_file_is_fetched(site: tuple[str, list[str]], authority: tuple[Path, Path]) -> None:
    assert HttpsFetch(authority[0])(f"{site[0]}/ok") == b"certificate"


def test_a_redirect_is_not_followed(site: tuple[str, list[str]], authority: tuple[Path, Path]) -> None:
    with pytest.raises(FetchError, match="HTTP 302"):
        HttpsFetch(authority[0])(f"{site[0]}/moved")
    assert site[1] == ["/moved"]


def test_a_large_answer_is_not_read(site: tuple[str, list[str]], authority: tuple[Path, Path]) -> None:
    with pytest.raises(FetchError, match="more than 65536 bytes"):
        HttpsFetch(authority[0])(f"{site[0]}/large")


def test_a_slow_answer_is_given_up(
    site: tuple[str, list[str]], authority: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_DEADLINE", 0.0)
    with pytest.raises(FetchError, match="slower than"):
        HttpsFetch(authority[0])(f"{site[0]}/drips")


def test_a_server_that_nobody_vouches_for_is_not_believed(site: tuple[str, list[str]]) -> None:
    with pytest.raises(FetchError, match="SSLError"):
        HttpsFetch()(f"{site[0]}/ok")
    assert site[1] == []


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/x", "file:///etc/passwd", "ftp://127.0.0.1/", "", "HTTPS://127.0.0.1/"]
)
def test_nothing_but_https_is_asked(url: str) -> None:
    with pytest.raises(FetchError, match="not an https URL"):
        HttpsFetch()(url)


def test_an_error_names_no_url(site: tuple[str, list[str]], authority: tuple[Path, Path]) -> None:
    with pytest.raises(FetchError) as raised:
        HttpsFetch(authority[0])(f"{site[0]}/x?Token=secret")
    assert "secret" not in str(raised.value)


def test_nobody_there_is_an_error_too(authority: tuple[Path, Path]) -> None:
    with running_site(authority[1]) as (url, _):
        pass
    with pytest.raises(FetchError, match="NewConnectionError"):
        HttpsFetch(authority[0])(f"{url}/ok")

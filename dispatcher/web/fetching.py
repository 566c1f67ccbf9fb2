"""The listener's only outward requests: certificates, and the confirmation of a configured subscription.

Callers pass URLs that they built or checked against an allow-list. Here: https alone, no redirects,
no proxies, a deadline for the whole answer and a limit of its size.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import urllib3

if TYPE_CHECKING:
    from pathlib import Path

_DEADLINE = 4.0  # SMQ waits 5 s for our answer
_MOST_BYTES = 64 << 10
_CHUNK = 4096
_OK = 200


class FetchError(Exception):
    """The URL gave no usable answer. The message holds no URL: a query may carry a token."""


class Fetch(Protocol):
    """Gets an https URL. Thread-safe."""

    def __call__(self, url: str) -> bytes:
        """Return the body of a 200 answer. Raises FetchError."""
        ...


class HttpsFetch:
    """Fetches what the certificate authorities of a file (None: the system's) vouch for."""

    def __init__(self, authorities: Path | None = None) -> None:
        self._pool = urllib3.PoolManager(
            retries=False,
            timeout=urllib3.Timeout(connect=2.0, read=2.0),
            num_pools=4,
            cert_reqs="CERT_REQUIRED",
            ca_certs=None if authorities is None else str(authorities),
        )

    def __call__(self, url: str) -> bytes:
        if not url.startswith("https://"):
            raise FetchError("not an https URL")
        deadline = time.monotonic() + _DEADLINE
        try:
            answer = self._pool.request("GET", url, redirect=False, preload_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise FetchError(type(error).__name__) from None
        try:
            if answer.status != _OK:
                raise FetchError(f"HTTP {answer.status}")
            return _read(answer, deadline)
        finally:
            answer.close()


def _read(answer: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    body = bytearray()
    try:
        for chunk in answer.stream(_CHUNK, decode_content=False):
            body += chunk
            if len(body) > _MOST_BYTES:
                raise FetchError(f"more than {_MOST_BYTES} bytes")
            if time.monotonic() > deadline:
                raise FetchError(f"slower than {_DEADLINE:.0f} s")
    except urllib3.exceptions.HTTPError as error:
        raise FetchError(type(error).__name__) from None
    return bytes(body)

"""Signing certificates: which URLs may name one, and the keys in them, fetched once and kept.

A signature only proves what its certificate proves, and the request itself names the certificate.
So the URL must lie where only the service can write (host and path are checked, the rest is refused),
and forged requests that name ever new files there cannot make us fetch without end.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from dispatcher.web.fetching import FetchError
from dispatcher.web.requests import RETRY_AFTER, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.web.fetching import Fetch

_KEPT_FOR = timedelta(hours=24)
_MOST_KEYS = 32
_FETCHES = 10
_FETCHES_WITHIN = timedelta(minutes=1)
_FETCH_WAIT = 4.0

# Letters, digits and single dots or slashes: no query, fragment, user, port, escape or `..`.
_PLAIN_PATH = r"(?:/[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)+"
_SMQ_URL = re.compile(
    r"https?://(?P<place>(?:mnstest\.oss-cn-hangzhou|mns-cert\.oss-cn-[a-z0-9-]+)\.aliyuncs\.com" + _PLAIN_PATH + ")"
)
_SNS_URL = re.compile(
    r"https://sns\.[a-z]{2}(?:-[a-z]+)+-\d\.amazonaws\.com(?:\.cn)?/SimpleNotificationService-[A-Za-z0-9]+\.pem"
)


def smq_certificate_url(text: str) -> str:
    """Return the URL to fetch an SMQ certificate from, always https. Raises RefusedError.

    The documentation's own sample names an http URL; the file is the same, and is fetched by https.
    """
    match = _SMQ_URL.fullmatch(text)
    if match is None:
        raise RefusedError(HTTPStatus.FORBIDDEN, "the certificate URL is not one of SMQ's")
    return "https://" + match["place"]


def sns_certificate_url(text: str) -> str:
    """Return the URL to fetch an SNS certificate from. Raises RefusedError."""
    if _SNS_URL.fullmatch(text) is None:
        raise RefusedError(HTTPStatus.FORBIDDEN, "the certificate URL is not one of SNS's")
    return text


@dataclass(frozen=True, slots=True)
class _Known:
    key: RSAPublicKey
    valid_from: datetime
    valid_until: datetime
    fetched_at: datetime


class Certificates:
    """The public keys behind checked URLs. Thread-safe; a key that is not known yet may take seconds."""

    def __init__(self, fetch: Fetch, clock: Callable[[], datetime]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._fetching = threading.Lock()
        self._fetches: deque[datetime] = deque(maxlen=_FETCHES)

    def key(self, url: str) -> RSAPublicKey:
        """Return the key of the certificate at a checked URL.

        Raises RefusedError: 503 if it cannot be fetched now, 403 if it is no valid certificate.
        """
        known = self._remembered(url)
        if known is None:
            known = self._fetch_once(url)
        now = self._clock()
        if not known.valid_from <= now <= known.valid_until:
            raise RefusedError(HTTPStatus.FORBIDDEN, "the signing certificate is not valid now")
        return known.key

    def _remembered(self, url: str) -> _Known | None:
        known = self._known.get(url)
        return known if known is not None and self._clock() - known.fetched_at < _KEPT_FOR else None

    def _fetch_once(self, url: str) -> _Known:
        """Fetch a certificate, one at a time: those who wait for the same one find it known."""
        if not self._fetching.acquire(timeout=_FETCH_WAIT):
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "other certificates are being fetched", RETRY_AFTER)
        try:
            known = self._remembered(url)
            if known is not None:
                return known
            known = self._parse(self._fetched(url))
            while len(self._known) >= _MOST_KEYS:
                del self._known[next(iter(self._known))]
            self._known[url] = known
            return known
        finally:
            self._fetching.release()

    def _fetched(self, url: str) -> bytes:
        now = self._clock()
        if len(self._fetches) == _FETCHES and now - self._fetches[0] < _FETCHES_WITHIN:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many certificates were asked for", RETRY_AFTER)
        self._fetches.append(now)
        try:
            return self._fetch(url)
        except FetchError as error:
            raise RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE, f"the signing certificate could not be fetched: {error}", RETRY_AFTER
            ) from None

    def _parse(self, pem: bytes) -> _Known:
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            key = certificate.public_key()
        except (ValueError, TypeError) as error:
            raise RefusedError(HTTPStatus.FORBIDDEN, "what the certificate URL gave is no certificate") from error
        if not isinstance(key, RSAPublicKey):
            raise RefusedError(HTTPStatus.FORBIDDEN, "the signing certificate holds no RSA key")
        return _Known(key, certificate.not_valid_before_utc, certificate.not_valid_after_utc, self._clock())

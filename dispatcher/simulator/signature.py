"""ACS3-HMAC-SHA256, verified as the service's gateway does: strictly, from the decoded request.

The scheme is that of the documentation "V3 request structure and signature". On the wire the
official SDK form-encodes the query (space as `+`), the signature covers the RFC 3986 form: so the
query is decoded and encoded again.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dispatcher.core.settings import Secret

ALGORITHM = "ACS3-HMAC-SHA256"
WINDOW = timedelta(minutes=15)
_REQUIRED = ("host", "x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256")
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=(?P<key>[^,\s]+),\s*SignedHeaders=(?P<headers>[a-z0-9;-]+),"
    r"\s*Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it arrived: names of `headers` in lower case, `query` decoded, in wire order."""

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The one identity that may call."""

    access_key_id: str
    access_key_secret: Secret
    security_token: Secret | None = None


class Refused(Exception):  # noqa: N818 - an answer of the service, not a failure of the program
    """The service's refusal of a request: HTTP status, code and message."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


def string_to_sign(request: SignedRequest, signed_headers: Sequence[str]) -> str:
    """Return the text that is signed, for these headers."""
    query = "&".join(f"{_encode(name)}={_encode(value)}" for name, value in sorted(request.query))
    headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in signed_headers)
    body_hash = request.headers["x-acs-content-sha256"]
    canonical = "\n".join((request.method, request.path, query, headers, ";".join(signed_headers), body_hash))
    return f"{ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"


def sign(secret: Secret, text: str) -> str:
    """Return the signature of `string_to_sign`, in hex."""
    return hmac.new(secret.value.encode(), text.encode(), hashlib.sha256).hexdigest()


def _encode(text: str) -> str:
    return quote(text, safe="-_.~")


class Verifier:
    """Verifies requests of one identity, and remembers nonces for the window. Thread-safe."""

    def __init__(self, keys: KeyPair) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._nonces: dict[str, datetime] = {}

    def verify(self, request: SignedRequest, now: datetime) -> None:
        """Return if the request is signed by our identity, now, for the first time; else raise Refused."""
        match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if match is None:
            raise Refused(400, "IncompleteSignature", f"The Authorization header is missing or is not {ALGORITHM}.")
        signed = match["headers"].split(";")
        self._require_signed(request, signed)
        if not hmac.compare_digest(match["key"].encode(), self._keys.access_key_id.encode()):
            raise Refused(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
        self._verify_token(request)
        _verify_date(request.headers["x-acs-date"], now)
        body_hash = hashlib.sha256(request.body).hexdigest()
        expected = sign(self._keys.access_key_secret, string_to_sign(request, signed))
        same_body = hmac.compare_digest(body_hash.encode(), request.headers["x-acs-content-sha256"].encode())
        if not (hmac.compare_digest(expected.encode(), match["signature"].encode()) and same_body):
            raise Refused(
                400, "SignatureDoesNotMatch", "Specified signature does not match what the server calculated."
            )
        self._use_nonce(request.headers["x-acs-signature-nonce"], now)

    def _require_signed(self, request: SignedRequest, signed: Sequence[str]) -> None:
        """Every header that means something must be present once and covered by the signature."""
        travelling = {name for name in request.headers if name.startswith("x-acs-") or name == "content-type"}
        missing = sorted((set(_REQUIRED) | travelling) - set(signed))
        absent = sorted((set(_REQUIRED) | set(signed)) - set(request.headers))
        if missing or absent or list(signed) != sorted(set(signed)):
            raise Refused(400, "IncompleteSignature", f"These headers must be sent and signed: {missing + absent}.")

    def _verify_token(self, request: SignedRequest) -> None:
        token = self._keys.security_token
        sent = request.headers.get("x-acs-security-token")
        if token is None and sent is None:
            return
        if sent is None:
            raise Refused(400, "MissingSecurityToken", "SecurityToken is mandatory for this action.")
        if token is None or not hmac.compare_digest(token.value.encode(), sent.encode()):
            raise Refused(400, "InvalidSecurityToken.MismatchWithAccessKey", "Specified SecurityToken is not valid.")

    def _use_nonce(self, nonce: str, now: datetime) -> None:
        with self._lock:
            # In order of use, so the expired ones stand first.
            while self._nonces and now - next(iter(self._nonces.values())) > 2 * WINDOW:
                del self._nonces[next(iter(self._nonces))]
            if nonce in self._nonces:
                raise Refused(400, "SignatureNonceUsed", "Specified signature nonce was used already.")
            self._nonces[nonce] = now


def _verify_date(text: str, now: datetime) -> None:
    try:
        date = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused(400, "InvalidTimeStamp.Format", "Specified time stamp is not well formed.") from None
    if abs(now - date) > WINDOW:
        raise Refused(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")

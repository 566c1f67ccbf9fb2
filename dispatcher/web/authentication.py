"""Who may post: one check for each kind of authentication of the configuration.

A check looks twice: at the head, before a byte of the body is read, and at head and body together.
Each refuses by RefusedError; secrets are compared in constant time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar, Protocol, assert_never

from dispatcher.core.settings import (
    BearerToken,
    EventBridgeToken,
    Hmac,
    NoAuthentication,
    Secret,
    SmqSignature,
    SnsSignature,
)
from dispatcher.web.admission import Admission, Deliver
from dispatcher.web.requests import RefusedError
from dispatcher.web.smq import SmqCheck
from dispatcher.web.sns import SnsCheck

if TYPE_CHECKING:
    from datetime import datetime

    from dispatcher.core.settings import Authentication
    from dispatcher.web.certificates import Certificates
    from dispatcher.web.fetching import Fetch
    from dispatcher.web.requests import RequestHead

EVENTBRIDGE_HEADER = "x-eventbridge-signature-token"
_CHALLENGE = {"WWW-Authenticate": 'Bearer, Basic realm="notifications"'}


class Check(Protocol):
    """One kind of authentication. Thread-safe. `may_block`: `verify` may have to fetch a certificate."""

    may_block: ClassVar[bool]

    def admit(self, head: RequestHead) -> None:
        """Refuse what the head alone shows to be wrong. Does not block."""
        ...

    def verify(self, head: RequestHead, body: bytes, now: datetime) -> Admission:
        """Return what to do with a genuine request."""
        ...


def check_of(authentication: Authentication, certificates: Certificates, fetch: Fetch) -> Check:
    """Return the check that a webhook's configuration asks for."""
    match authentication:
        case NoAuthentication():
            return _Anyone()
        case BearerToken(secret):
            return _Authorization(secret)
        case EventBridgeToken(secret):
            return _Token(EVENTBRIDGE_HEADER, secret)
        case Hmac(secret, header):
            return _BodyHmac(header.lower(), secret)
        case SmqSignature():
            return SmqCheck(certificates)
        case SnsSignature(topic_arns):
            return SnsCheck(frozenset(topic_arns), certificates, fetch)
        case _:
            assert_never(authentication)


@dataclass(frozen=True, slots=True)
class _Anyone:
    """No authentication: the configuration allows it on a loopback listener alone."""

    may_block: ClassVar[bool] = False

    def admit(self, head: RequestHead) -> None:
        pass

    def verify(self, head: RequestHead, body: bytes, now: datetime) -> Admission:  # noqa: ARG002 - nothing to look at
        return Deliver(body)


@dataclass(frozen=True, slots=True)
class _Authorization:
    """The secret as a bearer token; or as the password, with any user, of a sender that can only put it in its URL."""

    may_block: ClassVar[bool] = False
    secret: Secret

    def admit(self, head: RequestHead) -> None:
        scheme, _, given = (head.header("authorization") or "").partition(" ")
        match scheme.lower():
            case "bearer":
                token = given.strip().encode("latin-1")
            case "basic":
                token = _password(given.strip())
            case _:
                raise RefusedError(HTTPStatus.UNAUTHORIZED, "there is no bearer token", _CHALLENGE)
        if not _same(token, self.secret.value.encode()):
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "the token is wrong", _CHALLENGE)

    def verify(self, head: RequestHead, body: bytes, now: datetime) -> Admission:  # noqa: ARG002 - `admit` saw all
        return Deliver(body)


@dataclass(frozen=True, slots=True)
class _Token:
    """A header that holds the secret alone."""

    may_block: ClassVar[bool] = False
    header: str
    secret: Secret

    def admit(self, head: RequestHead) -> None:
        if not _same(head.required(self.header).encode("latin-1"), self.secret.value.encode()):
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "the token is wrong")

    def verify(self, head: RequestHead, body: bytes, now: datetime) -> Admission:  # noqa: ARG002 - `admit` saw all
        return Deliver(body)


@dataclass(frozen=True, slots=True)
class _BodyHmac:
    """HMAC-SHA256 of the body in a header: hex, `sha256=` before it or not, or base64."""

    may_block: ClassVar[bool] = False
    header: str
    secret: Secret

    def admit(self, head: RequestHead) -> None:
        head.required(self.header)

    def verify(self, head: RequestHead, body: bytes, now: datetime) -> Admission:  # noqa: ARG002 - it signs no time
        given = head.required(self.header)
        digest = hmac.new(self.secret.value.encode(), body, hashlib.sha256).digest()
        hexadecimal = given.lower().removeprefix("sha256=").encode("latin-1")
        right = _same(hexadecimal, digest.hex().encode())
        if not (right or _same(given.encode("latin-1"), base64.b64encode(digest))):
            raise RefusedError(HTTPStatus.FORBIDDEN, f"header {self.header} is not the HMAC of this body")
        return Deliver(body)


def _password(credentials: str) -> bytes:
    """Return the password of Basic credentials; what is no such thing has an empty one."""
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def _same(given: bytes, expected: bytes) -> bool:
    """Compare in a time that tells nothing, the lengths included. Nothing is the same as an empty secret."""
    return bool(expected) and hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(expected).digest())

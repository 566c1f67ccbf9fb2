"""The signature of an SMQ topic's HTTP push (SMQ documentation, "Verify HTTP push message signatures").

RSA-SHA1 over verb, Content-MD5, Content-Type, Date, the `x-mns-` headers and the path. The body is
covered by its MD5 alone, so a push without Content-MD5 proves nothing and is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from dispatcher.web.admission import Admission, Deliver, OneTime
from dispatcher.web.certificates import smq_certificate_url
from dispatcher.web.requests import RefusedError

if TYPE_CHECKING:
    from dispatcher.web.certificates import Certificates
    from dispatcher.web.requests import RequestHead

WINDOW = timedelta(minutes=15)
CERTIFICATE_HEADER = "x-mns-signing-cert-url"


def string_to_sign(head: RequestHead) -> bytes:
    """Return what the signature covers. Raises RefusedError for a signed header that stands twice."""
    plain = (head.header(name) or "" for name in ("content-md5", "content-type", "date"))
    names = sorted({name for name, _ in head.headers if name.startswith("x-mns-")})
    own = (f"{name}:{head.header(name)}\n" for name in names)
    text = "\n".join((head.method, *plain)) + "\n" + "".join(own) + head.target
    return text.encode("latin-1")


@dataclass(frozen=True, slots=True)
class SmqCheck:
    """Admits what SMQ signed, within 15 minutes of its Date, once.

    The signature proves that SMQ sent it, not whose topic it came from: the path must be one that
    only the owner's subscription knows.
    """

    may_block: ClassVar[bool] = True
    certificates: Certificates

    def admit(self, head: RequestHead) -> None:
        for name in ("authorization", CERTIFICATE_HEADER, "content-md5", "date"):
            head.required(name)

    def verify(self, head: RequestHead, body: bytes, now: datetime) -> Admission:
        """Check what costs nothing first; the certificate is asked for last."""
        sent_at = _date(head.required("date"))
        if abs(now - sent_at) > WINDOW:
            raise RefusedError(HTTPStatus.FORBIDDEN, "Date is not within 15 minutes of now")
        if not _is_md5(head.required("content-md5"), body):
            raise RefusedError(HTTPStatus.FORBIDDEN, "Content-MD5 is not that of this body")
        signature = _base64(head.required("authorization"), "authorization")
        url = smq_certificate_url(_base64(head.required(CERTIFICATE_HEADER), CERTIFICATE_HEADER).decode("latin-1"))
        signed = string_to_sign(head)
        try:
            self.certificates.key(url).verify(signature, signed, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - SMQ's own
        except InvalidSignature:
            raise RefusedError(HTTPStatus.FORBIDDEN, "the signature is not SMQ's for this request") from None
        mark = hashlib.sha256(signature).digest()
        return Deliver(body, OneTime(mark, sent_at + WINDOW, copies_are_redelivery=False))


def _date(text: str) -> datetime:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "Date is no date") from None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _is_md5(given: str, body: bytes) -> bool:
    """Tell whether this is the body's MD5: base64 of its hex form, as SMQ sends it, or of its bytes, as HTTP says."""
    digest = hashlib.md5(body, usedforsecurity=False)
    forms = (base64.b64encode(digest.hexdigest().encode()), base64.b64encode(digest.digest()))
    return any(hmac.compare_digest(given.encode("latin-1"), form) for form in forms)


def _base64(text: str, header: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"header {header} is not base64") from None

"""What a store's error answer means to the operator: one place knows the codes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dispatcher.errors import BucketDeniedError, BucketMissingError, DispatcherError, ListingError

if TYPE_CHECKING:
    from dispatcher.core.settings import BucketSettings

_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,80})</Code>")
_REQUEST = re.compile(rb"<RequestId>([A-Za-z0-9-]{1,80})</RequestId>")
_COMPATIBILITY_OFF = b"0002-00000033"
_OTHER_ENDPOINT = b"must be addressed using the specified endpoint"
"""OSS says AccessDenied for a bucket of another region, too."""

_DENIED = {
    "AccessDenied": "grant oss:ListObjects (s3:ListBucket) and oss:GetObject (s3:GetObject) on the bucket to this key",
    "InvalidAccessKeyId": "the access key does not exist on this store: check the access key id and the endpoint",
    "SignatureDoesNotMatch": "the access key secret does not belong to the access key id",
    "ExpiredToken": "the temporary credentials have expired: renew them",
    "InvalidToken": "the security token does not belong to the access key: renew the temporary credentials",
    "InvalidSecurityToken": "the security token does not belong to the access key: renew the temporary credentials",
    "SecurityTokenExpired": "the temporary credentials have expired: renew them",
    "RequestTimeTooSkewed": "the clock of this machine is wrong: set it (for example by NTP)",
    "SecondLevelDomainForbidden": "OSS takes the bucket's name in the host only: set `addressing: virtual`",
    "UserDisable": "the account of this store is disabled or in arrears",
}
_WRONG_PLACE = frozenset({"PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocation"})


def refusal(bucket: BucketSettings, doing: str, status: int, body: bytes) -> DispatcherError:
    """Return the error for an answer that is final: repeating the request would not help.

    The message names the bucket, the endpoint, the store's code and its request id; never a key or a signature.
    """
    code = _first(_CODE, body)
    request = _first(_REQUEST, body)
    where = f"{doing} bucket {bucket.name} at {bucket.endpoint}"
    said = f"HTTP {status}" + (f" {code}" if code else "") + (f", request {request}" if request else "")
    if code == "NoSuchBucket" or (not code and status == 404):  # noqa: PLR2004 - HTTP: not found
        return BucketMissingError(
            f"{where} failed: there is no such bucket ({said})", hint="check the bucket's name, region and endpoint"
        )
    if _COMPATIBILITY_OFF in body:
        return BucketDeniedError(
            f"{where} failed: the S3 protocol is not enabled for this account ({said})",
            hint="set `api: oss` on the bucket, or have Alibaba Cloud enable S3 compatibility for the account",
        )
    if code in _WRONG_PLACE or _OTHER_ENDPOINT in body or status in (301, 307):
        return ListingError(
            f"{where} failed: the bucket is elsewhere ({said})", hint="set the bucket's `region` and `endpoint`"
        )
    if code in _DENIED or status in (401, 403):
        return BucketDeniedError(f"{where} failed: refused ({said})", hint=_DENIED.get(code, _DENIED["AccessDenied"]))
    return ListingError(
        f"{where} failed ({said})", hint="look the code up in the store's documentation; the next pass tries again"
    )


def _first(pattern: re.Pattern[bytes], body: bytes) -> str:
    found = pattern.search(body)
    return found.group(1).decode("ascii") if found else ""

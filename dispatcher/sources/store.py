"""Requests to an object store: list a page, and HEAD an object. How they are signed is each store's own file.

urllib3 fetches: an SDK's client parses every entry of every answer, which costs a hundred times what an
unchanged listing needs.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from http import HTTPStatus
from typing import IO, TYPE_CHECKING
from urllib.parse import quote, urlsplit

import urllib3
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_when_event_set, wait_random_exponential
from tenacity.nap import sleep_using_event

from dispatcher.core.events import encode_key, normalise_etag
from dispatcher.core.settings import Addressing, BucketSettings, Credentials
from dispatcher.errors import BucketDeniedError, BucketMissingError, ListingError, ServiceUnavailableError
from dispatcher.sources.refusals import refusal

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 30.0
ATTEMPTS = 4
_LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes. 1,000 entries with keys of 1,024 bytes, each byte spelled with three, are about 4 MiB."""
_CHUNK = 256 * 1024
_UNRESERVED = "-_.~"
_NO_BUCKET = b"<Code>NoSuchBucket</Code>"


class _PassingError(ServiceUnavailableError):
    """A failure that may be gone in a moment."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a listing: its body, complete, and the store's clock."""

    body: bytes
    date: datetime


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """What HEAD tells of an object; `etag` is normalised, `modified_at` by the store's clock.

    `growing`: an appendable object of OSS that is not sealed, so that more may be appended to it.
    """

    etag: str
    size: int
    modified_at: datetime | None
    growing: bool = False


@dataclass
class StoreBucket(ABC):
    """One bucket over HTTP. Thread-safe. `keys` is asked before each request, so it may renew."""

    bucket: BucketSettings
    keys: Callable[[], Credentials]
    attempts: int = ATTEMPTS
    _host: str = field(init=False)
    _path: str = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.bucket.endpoint)
        prefix = parts.path.rstrip("/")
        match self.bucket.addressing:
            case Addressing.VIRTUAL:
                self._host, self._path = f"{parts.scheme}://{self.bucket.name}.{parts.netloc}", prefix
            case Addressing.PATH:
                self._host, self._path = f"{parts.scheme}://{parts.netloc}", f"{prefix}/{self.bucket.name}"

    @cached_property
    def _pool(self) -> urllib3.HTTPConnectionPool:
        # A pool of one host takes targets as they are; a PoolManager would resolve `.` and `..` inside keys.
        return urllib3.connectionpool.connection_from_url(
            self._host,
            maxsize=4,
            retries=False,
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
        )

    def close(self) -> None:
        """Close idle connections. The bucket can still be used."""
        self._pool.close()

    def list(
        self, root: str, token: str | None, page: int, stop: threading.Event, *, after: str | None = None
    ) -> Answer:
        """Return one answer of ListObjectsV2, unread, after a few attempts.

        `after` begins behind a key, in the store's own order: good for a sample, never to go on from.
        Raises DispatcherError: BucketMissingError, BucketDeniedError, ListingError for an answer
        that is no success, ServiceUnavailableError when none came.
        """
        query = [("encoding-type", "url"), ("list-type", "2"), ("max-keys", str(page))]
        if root:
            query.append(("prefix", root))
        if token is not None:
            query.append(("continuation-token", token))
        if after is not None:
            query.append(("start-after", after))
        target = f"{self._path}/?" + _query(query)
        status, headers, body = self._ask("GET", target, "listing", stop)
        if status != HTTPStatus.OK:
            error = refusal(self.bucket, "listing", status, body)
            if isinstance(error, BucketDeniedError | BucketMissingError):
                error.answered_at = _date(headers)
            raise error
        date = _date(headers)
        if date is None:
            raise ListingError(
                f"the answer of bucket {self.bucket.name} at {self.bucket.endpoint} carries no date",
                hint="check that this is an S3 endpoint and that no proxy removes its headers",
            )
        return Answer(body, date)

    def head(self, key: str, stop: threading.Event) -> ObjectHead | None:
        """Return what an object is now, None if there is none. Raises DispatcherError."""
        target = f"{self._path}/" + quote(encode_key(key), safe=_UNRESERVED + "/")
        status, headers, _ = self._ask("HEAD", target, "reading an object of", stop)
        said = _error_of(headers)
        if status == HTTPStatus.NOT_FOUND and _NO_BUCKET not in said:
            return None
        if status != HTTPStatus.OK:
            raise refusal(self.bucket, "reading an object of", status, said)
        modified = headers.get("last-modified")
        return ObjectHead(
            etag=normalise_etag(headers.get("etag", "")),
            size=int(headers.get("content-length", "0")),
            modified_at=parsedate_to_datetime(modified).astimezone(UTC) if modified else None,
            growing=headers.get("x-oss-object-type") == "Appendable" and "x-oss-sealed-time" not in headers,
        )

    def download(self, key: str, to: IO[bytes], stop: threading.Event) -> bool:
        """Write an object's bytes, as they are stored, to a seekable file; tell whether there is such an object.

        After a failure it begins anew, a few times. Raises DispatcherError.
        """
        target = f"{self._path}/" + quote(encode_key(key), safe=_UNRESERVED + "/")
        status, body = self._retrying(stop)(self._download_once, target, to, stop)
        if status == HTTPStatus.NOT_FOUND and _NO_BUCKET not in body:
            return False
        if status != HTTPStatus.OK:
            raise refusal(self.bucket, "reading an object of", status, body)
        return True

    def _download_once(self, target: str, to: IO[bytes], stop: threading.Event) -> tuple[int, bytes]:
        where = f"reading an object of bucket {self.bucket.name} at {self.bucket.endpoint} failed"
        to.seek(0)
        to.truncate()
        try:
            response = self._pool.urlopen(
                "GET", target, headers=self._sign("GET", target), preload_content=False, redirect=False
            )
            try:
                if response.status != HTTPStatus.OK:
                    self._refuse_passing(response.status, where)
                    return response.status, response.read(_LARGEST_ANSWER)
                for chunk in response.stream(_CHUNK, decode_content=False):
                    if stop.is_set():
                        raise _PassingError(f"{where}: it was asked to stop", hint="run it again to go on")
                    to.write(chunk)
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise _PassingError(
                f"{where}: no complete answer ({type(error).__name__})",
                hint="check the endpoint and the network, then run it again",
            ) from error
        return HTTPStatus.OK, b""

    def _ask(self, method: str, target: str, doing: str, stop: threading.Event) -> tuple[int, Mapping[str, str], bytes]:
        return self._retrying(stop)(self._ask_once, method, target, doing)

    def _retrying(self, stop: threading.Event) -> Retrying:
        return Retrying(
            stop=stop_after_attempt(self.attempts) | stop_when_event_set(stop),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            sleep=sleep_using_event(stop),
            retry=retry_if_exception_type(_PassingError),
            reraise=True,
        )

    def _ask_once(self, method: str, target: str, doing: str) -> tuple[int, Mapping[str, str], bytes]:
        where = f"{doing} bucket {self.bucket.name} at {self.bucket.endpoint} failed"
        try:
            # The pool encodes again what it takes for a mistake; our targets have nothing to encode.
            response = self._pool.urlopen(
                method, target, headers=self._sign(method, target), preload_content=False, redirect=False
            )
            body = response.read(_LARGEST_ANSWER + 1)
            if len(body) > _LARGEST_ANSWER:
                response.close()
            response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise _PassingError(
                f"{where}: no answer ({type(error).__name__})",
                hint="check the endpoint and the network; nothing is lost, the next pass lists again",
            ) from error
        if len(body) > _LARGEST_ANSWER:
            raise ListingError(f"{where}: the answer is larger than 16 MiB", hint="check that this is an S3 endpoint")
        self._refuse_passing(response.status, where)
        return response.status, response.headers, body

    @staticmethod
    def _refuse_passing(status: int, where: str) -> None:
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _PassingError(f"{where}: HTTP {status}", hint="the store is busy or down; the next pass tries again")

    def _keys(self) -> tuple[str, str, str | None]:
        """Return the access key's id and secret, and the security token. Raises BucketDeniedError without a key."""
        keys = self.keys()
        if keys.access_key_id is None or keys.access_key_secret is None:
            raise BucketDeniedError(
                f"there is no access key for bucket {self.bucket.name}", hint="set `credentials:` of the bucket"
            )
        token = keys.security_token.value if keys.security_token else None
        return keys.access_key_id, keys.access_key_secret.value, token

    @abstractmethod
    def _sign(self, method: str, target: str) -> dict[str, str]:
        """Return the headers of a signed request without a body. `target` is path and query as they are sent."""


def _date(headers: Mapping[str, str]) -> datetime | None:
    try:
        return parsedate_to_datetime(headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return None


def _error_of(headers: Mapping[str, str]) -> bytes:
    """Return the error of an answer to HEAD, which has no body: OSS puts it into a header."""
    try:
        return base64.b64decode(headers.get("x-oss-err", ""), validate=True)
    except ValueError:
        return b""


def _query(pairs: Sequence[tuple[str, str]]) -> str:
    """Return the query in the order and spelling that the signature needs."""
    return "&".join(f"{name}={quote(encode_key(value), safe=_UNRESERVED)}" for name, value in sorted(pairs))

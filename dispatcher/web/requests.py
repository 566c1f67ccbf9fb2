"""A pushed request as the checks see it, and how one is refused."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

RETRY_AFTER = {"Retry-After": "5"}


class RefusedError(Exception):
    """A request that is not taken. `reason` is for the log: it holds nothing secret.

    The sender is told the status alone: why a forgery failed would help the next one.
    """

    def __init__(self, status: HTTPStatus, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Request line and headers. `target` is path and query as they came; header names are lower-case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str | None:
        """Return a header's value, None without it. Raises RefusedError where it stands twice."""
        values = [value for each, value in self.headers if each == name]
        if len(values) > 1:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"header {name} stands {len(values)} times")
        return values[0].strip() if values else None

    def required(self, name: str) -> str:
        """Return a header's value. Raises RefusedError (401) without it."""
        value = self.header(name)
        if not value:
            raise RefusedError(HTTPStatus.UNAUTHORIZED, f"header {name} is missing")
        return value


def is_notification(head: RequestHead) -> None:
    """Check that the request may be a notification at all. Raises RefusedError.

    A browser never sends one, but a hostile page could make it post to a loopback listener without
    authentication: what carries a browser's marks is refused.
    """
    for mark in ("origin", "sec-fetch-site"):
        if head.header(mark) is not None:
            raise RefusedError(HTTPStatus.FORBIDDEN, f"header {mark}: sent by a browser")
    encoding = (head.header("content-encoding") or "identity").lower()
    if encoding != "identity":
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body is compressed")
    media_type = (head.header("content-type") or "application/json").partition(";")[0].strip().lower()
    family, _, kind = media_type.partition("/")
    if family != "text" and kind not in {"json", "xml", "octet-stream"} and not kind.endswith(("+json", "+xml")):
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the media type is none of a notification")


def head_of(request: Request) -> RequestHead:
    """Return the head of a request as it came."""
    raw_path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    target = raw_path + (b"?" + query if query else b"")
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.scope["headers"])
    return RequestHead(request.method, target.decode("latin-1"), headers)

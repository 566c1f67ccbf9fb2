"""How the page answers: headers that keep a browser from doing anything else, JSON, and errors with their hint."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

import structlog
from starlette.responses import Response

from dispatcher.errors import (
    CredentialsError,
    DispatcherError,
    LedgerError,
    LocationError,
    MissingError,
    ServiceUnavailableError,
    UsageError,
)
from dispatcher.web.page.access import DeniedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request

    from dispatcher.core.documents import Json
    from dispatcher.web.page.desk import Query

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: a browser would tell of its own page's forms that they come from nowhere.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MOST_BODY = 256 << 10
"""Bytes of a form: a thousand ids take thirty thousand."""


def json_response(document: Json, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    """Return a document as JSON, ASCII only: keys may hold what is no text."""
    body = json.dumps(document, ensure_ascii=True, indent=1).encode() + b"\n"
    return Response(body, status, headers={**HEADERS, **(headers or {})}, media_type="application/json")


def query_of(request: Request) -> Query:
    """Return the parameters of a request's URL; bytes that are no text survive, as in keys."""
    return _parameters(request.scope["query_string"].decode("latin-1"))


async def form_of(request: Request) -> Query:
    """Return the parameters of a form. Raises DeniedError for a body that is none, or too large."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise DeniedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "this is no form", "use the page, or /api/v1/")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY:
            raise DeniedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the form is too large", "select fewer at once")
    return _parameters(body.decode("latin-1"))


def encoded(pairs: Iterable[tuple[str, str]]) -> str:
    """Return parameters as they stand in a URL; the inverse of `query_of`."""
    return urlencode(list(pairs), errors="surrogateescape")


def _parameters(text: str) -> Query:
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=2_000):
        found.setdefault(name, []).append(value)
    return found


def first(query: Query, name: str) -> str:
    """Return the first value that is not empty; an empty text without one."""
    return next((each for each in query.get(name, ()) if each), "")


def said_yes(query: Query, name: str) -> bool:
    """Tell whether a parameter is switched on."""
    return first(query, name) in {"1", "true", "yes", "on"}


def status_of(error: DispatcherError) -> HTTPStatus:
    """Return what an error is called in HTTP."""
    match error:
        case MissingError():
            return HTTPStatus.NOT_FOUND
        case UsageError() | LocationError():
            return HTTPStatus.BAD_REQUEST
        case LedgerError():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case CredentialsError() | ServiceUnavailableError():
            return HTTPStatus.BAD_GATEWAY
        case _:
            return HTTPStatus.INTERNAL_SERVER_ERROR


def defect(request: Request, error: Exception) -> tuple[str, str]:
    """Log an error that is a defect of ours; return the message and the hint for whoever asked."""
    structlog.get_logger().error("page.failed", path=request.url.path[:200], exc_info=error)
    return "this is a defect of oss-dispatcher", "its log tells more; please report it"

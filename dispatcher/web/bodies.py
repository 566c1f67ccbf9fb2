"""The body of a pushed request, within the listener's limits."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from dispatcher.web.requests import RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request

    from dispatcher.web.limits import WebLimits


async def read_body(request: Request, limits: WebLimits) -> bytes:
    """Return the body. Raises RefusedError if it is too long, too slow, broken off, or empty."""
    limit = limits.body_bytes
    length = request.headers.get("content-length", "0")
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_within):
            if int(length) > limit:  # h11 took only digits
                raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {limit} bytes")
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {limit} bytes")
    except TimeoutError:
        raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "the body came too slowly") from None
    except ClientDisconnect:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body broke off") from None
    if not body:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is empty")
    return bytes(body)

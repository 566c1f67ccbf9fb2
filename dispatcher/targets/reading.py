"""Reads of the service: a page at a time, repeated in place where that may help, with one map of their errors."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_never

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from dispatcher.core.observations import Called, CallEnd, end_of
from dispatcher.core.outcomes import (
    NotSent,
    Outcome,
    Registered,
    Rejected,
    Started,
    Throttled,
    Unauthorized,
    Uncertain,
)
from dispatcher.errors import CredentialsError, DispatcherError, ServiceUnavailableError
from dispatcher.targets.alibaba import Product
from dispatcher.targets.answers import outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from enum import StrEnum

    from dispatcher.core.calls import Endpoint
    from dispatcher.targets.alibaba import AlibabaClients

PAGE_SIZE = 100
TRIES = 3
_NOT_FOUND = 404


class UnknownIdError(ServiceUnavailableError):
    """The service says that what was asked for does not exist."""


class PassingError(ServiceUnavailableError):
    """A failure that a second try may not meet."""


class Reader:
    """Reads one service through its official SDK. Thread-safe.

    A read that is throttled, refused by a server error or lost on the way is repeated, twice at most,
    after a wait by `pause` (seconds); reads change nothing.
    """

    def __init__(
        self,
        clients: AlibabaClients,
        product: Product = Product.ICE,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clients = clients
        self._product = product
        self._pause = pause

    def read(
        self,
        endpoint: Endpoint,
        api: StrEnum,
        call: Callable[[Any, Any], Any],
        *,
        before: Callable[[], None] = lambda: None,
    ) -> Any:  # noqa: ANN401 - the SDK ships no types
        """Return the body of `call(client, models)`. `before` is called before each request; it may raise.

        Raises CredentialsError or ServiceUnavailableError: UnknownIdError if the service says that what
        was asked for does not exist.
        """
        retrying = Retrying(
            stop=stop_after_attempt(TRIES),
            wait=wait_random_exponential(multiplier=0.5, max=5),
            retry=retry_if_exception(lambda error: isinstance(error, PassingError)),
            sleep=self._pause,
            reraise=True,
        )
        return retrying(self._read_once, endpoint, api, call, before)

    def pages(self, endpoint: Endpoint, api: StrEnum, page: Callable[[str | None], Any]) -> Iterator[Any]:
        """Yield the bodies of all pages; `page` reads one from its token, when the one before is used up.

        Raises ServiceUnavailableError for tokens that go round in a circle, and what `page` raises.
        """
        seen: set[str] = set()
        token: str | None = None
        while True:
            body = page(token)
            yield body
            token = body.next_token
            if not token:
                return
            if token in seen:
                raise malformed(api, endpoint, "its pages go round in a circle")
            seen.add(token)

    def _read_once(
        self, endpoint: Endpoint, api: StrEnum, call: Callable[[Any, Any], Any], before: Callable[[], None]
    ) -> Any:  # noqa: ANN401 - the SDK ships no types
        before()
        begun = time.monotonic()
        try:
            answer = call(self._clients.client(endpoint, self._product), models_of(self._product))
        except DispatcherError:
            raise
        except Exception as error:  # noqa: BLE001 - the SDK raises what it likes; all of it is mapped here
            outcome = outcome_of(error, frozenset())
            self._clients.meter(Called(api, *end_of(outcome), timedelta(seconds=time.monotonic() - begun)))
            failure = as_error(outcome, self._product, api, endpoint)
            if _is_not_found(error, outcome):
                raise UnknownIdError(failure.message, hint=failure.hint) from None
            raise failure from None
        self._clients.meter(Called(api, CallEnd.ANSWERED, None, timedelta(seconds=time.monotonic() - begun)))
        body = answer.body
        # `{}` must not pass for an empty listing: that would be proof of an absence.
        if getattr(body, "request_id", None) is None:
            raise malformed(api, endpoint, "it carries no RequestId")
        return body


def models_of(product: Product) -> Any:  # noqa: ANN401 - the SDK ships no types
    """Return the module with the requests of a service."""
    match product:
        case Product.ICE:
            from alibabacloud_ice20201109 import models  # noqa: PLC0415 - heavy: only where calls are made
        case Product.IMM:
            from alibabacloud_imm20200930 import models  # noqa: PLC0415 - as above
        case Product.RAM:
            from alibabacloud_tea_openapi import utils_models as models  # noqa: PLC0415 - as above
        case _:
            assert_never(product)
    return models


def as_error(outcome: Outcome, product: Product, api: StrEnum, endpoint: Endpoint) -> DispatcherError:
    """Return the error of a read that ended so."""
    where = f"{api} at {endpoint.url}"
    match outcome:
        case Unauthorized(code=code, message=message):
            return CredentialsError(
                f"{where} is refused: {code} {message}".rstrip(),
                hint=f"let the credentials of this program call {product}:{api},"
                " and see whether the account is in arrears",
            )
        case Throttled(code=code):
            return PassingError(f"{where} is throttled: {code}", hint="it is tried again later; nothing is lost")
        case NotSent(reason=reason):
            return PassingError(
                f"{where} cannot be reached: {reason}", hint="check the endpoint, the network and the proxy settings"
            )
        case Uncertain(reason=reason, message=message):
            return PassingError(
                f"{where} gave no usable answer: {reason} {message}".rstrip(), hint="it is tried again later"
            )
        case Rejected(code=code, message=message):
            return ServiceUnavailableError(
                f"{where} is rejected: {code} {message}".rstrip(),
                hint="check the ids and the region; only what the last 90 days brought is listed",
            )
        case Started() | Registered():
            return ServiceUnavailableError(f"{where} gave an answer to another call", hint="report this")
        case _:
            assert_never(outcome)


def malformed(api: StrEnum, endpoint: Endpoint, reason: str) -> ServiceUnavailableError:
    """Return the error of an answer that says nothing."""
    return PassingError(
        f"the answer of {api} at {endpoint.url} cannot be used: {reason}",
        hint="check that the endpoint is that of the service, and that no proxy answers in its place",
    )


def _is_not_found(error: Exception, outcome: Outcome) -> bool:
    """Whether the service answered that something does not exist (and not that our key does not)."""
    if not isinstance(outcome, Rejected):
        return False
    return getattr(error, "status_code", None) == _NOT_FOUND or "notfound" in outcome.code.lower().replace("_", "")


def format_time(at: datetime) -> str:
    """Return the time as requests carry it: UTC, whole seconds that have begun."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: object) -> datetime | None:
    """Return the time of an answer (ISO 8601, UTC), None where there is none that can be read."""
    if not isinstance(text, str) or not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)

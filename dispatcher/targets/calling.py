"""One request through the official SDK, and every way in which it can end without being answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dispatcher.core.outcomes import Outcome, Uncertain
from dispatcher.targets.answers import outcome_of, safe_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from dispatcher.core.calls import Endpoint
    from dispatcher.targets.alibaba import AlibabaClients


@dataclass(frozen=True, slots=True)
class Answered:
    """The service answered with success: `body` is the SDK's, its texts are read by `text`."""

    body: Any
    request_id: str | None

    def text(self, name: str) -> str | None:
        """Return a text of the answer, None where it has none."""
        value = getattr(self.body, name, None)
        return value if isinstance(value, str) and value else None

    def without(self, name: str) -> Uncertain:
        """Return the outcome of an answer that lacks what tells that the call was taken."""
        return Uncertain(f"answer without a {name}", safe_text("HTTP 200, but it names none"), self.request_id)


@dataclass(frozen=True, slots=True)
class Caller:
    """Makes calls, each one HTTP request without retries. Thread-safe.

    `not_started_codes` are codes of server errors which the operator knows to mean "not started".
    """

    clients: AlibabaClients
    not_started_codes: AbstractSet[str] = frozenset()

    def call(self, endpoint: Endpoint, send: Callable[[Any, Any], Any]) -> Answered | Outcome:
        """Return the answer of `send(client, models)`, or how the call ended without one. Never raises."""
        try:
            client = self.clients.client(endpoint)
            from alibabacloud_ice20201109 import models  # noqa: PLC0415 - heavy: only where calls are made

            body = send(client, models).body
        except Exception as error:  # noqa: BLE001 - the contract: every end is an Outcome
            return outcome_of(error, self.not_started_codes)
        request_id = getattr(body, "request_id", None)
        return Answered(body, request_id if isinstance(request_id, str) else None)

"""What reached the wire: every API request of this process, also those that read or were refused.

In memory and bounded: the journal is the durable truth of what was accepted, this is the means to
compare each field of a request with its documentation.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from dispatcher.simulator.faults import Fault

REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class WireCall:
    """One API request and how it ended.

    `api` and `version` are its headers. `query` and `form` are its parameters, decoded; both are
    empty where the request did not get as far as its parameters (signature, version, permission, quota).
    `code` is the service's refusal, empty if it was accepted; `fault` what went wrong on purpose.
    """

    at: datetime
    api: str
    version: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    code: str = ""
    fault: Fault | None = None

    @property
    def parameters(self) -> dict[str, str]:
        """Query and form together."""
        return {**self.query, **self.form}

    def to_json(self) -> dict[str, object]:
        """Return the request as `GET /simulator/wire` shows it."""
        return asdict(self) | {"at": self.at.isoformat()}


class WireLog:
    """The last `REMEMBERED` requests. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[WireCall] = deque(maxlen=REMEMBERED)

    def add(self, call: WireCall) -> None:
        with self._lock:
            self._calls.append(call)

    def calls(self, api: str | None = None) -> list[WireCall]:
        """Return the remembered requests, in order of their answers; of one API if it is named."""
        with self._lock:
            return [call for call in self._calls if api is None or call.api == api]

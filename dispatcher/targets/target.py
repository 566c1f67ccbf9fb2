"""The target of all calls: which file makes which."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, assert_never

from dispatcher.core.calls import EditingCall, RegisterCall, WorkflowCall
from dispatcher.targets.calling import Caller
from dispatcher.targets.editing import submit_job
from dispatcher.targets.media import register_media
from dispatcher.targets.reading import Reader
from dispatcher.targets.tasks import no_wait
from dispatcher.targets.workflow import start_workflow

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from dispatcher.core.calls import Api, Call, Endpoint
    from dispatcher.core.outcomes import Outcome
    from dispatcher.targets.alibaba import AlibabaClients


class AlibabaTarget:
    """Makes every call through the official SDK. Implements `ports.Target`; thread-safe.

    `not_started_codes` are codes of server errors which the operator knows to mean "not started".
    `before_read` is asked before each read that a call needs (GetMediaInfo), `pause` (seconds) between two.
    """

    def __init__(
        self,
        clients: AlibabaClients,
        *,
        not_started_codes: AbstractSet[str] = frozenset(),
        before_read: Callable[[Endpoint, Api], None] = no_wait,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._caller = Caller(clients, not_started_codes)
        self._reader = Reader(clients, pause=pause)
        self._before_read = before_read

    def start(self, call: Call) -> Outcome:
        """Make the call once, without retries, within the configured time-out. Never raises."""
        match call:
            case WorkflowCall():
                return start_workflow(self._caller, call)
            case RegisterCall():
                return register_media(self._caller, self._reader, call, self._before_read)
            case EditingCall():
                return submit_job(self._caller, call)
            case _:
                assert_never(call)

"""An SMQ queue (Alibaba's Simple Message Queue, formerly MNS) as a source."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.sources.queue import BusyQueueError, Message, QueueSource, Received
from dispatcher.sources.smq_client import GONE, MOST, SmqClient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dispatcher.core.settings import Credentials, SmqSettings


@dataclass(frozen=True)
class SmqQueue:
    """The wire of an SMQ queue (sources.queue.Queue). Thread-safe.

    SMQ hides what is received for the time that is an attribute of the queue, and says when that ends.
    """

    client: SmqClient
    wait: timedelta

    def receive(self) -> Received:
        found, now = self.client.receive(MOST, self.wait)
        hidden_for = min((message.visible_at - now for message in found), default=timedelta())
        return Received(tuple(Message(message.handle, message.body) for message in found), max(timedelta(), hidden_for))

    def delete(self, handles: Sequence[str]) -> Sequence[str]:
        left: list[str] = []
        for begin in range(0, len(handles), MOST):
            chunk = handles[begin : begin + MOST]
            try:
                failed = self.client.delete(chunk)
            except BusyQueueError:
                return [*left, *handles[begin:]]
            left += [handle for handle in chunk if handle in failed and failed[handle] not in GONE]
        return left

    def hide(self, handles: Sequence[str], during: timedelta) -> Mapping[str, str]:
        """There is no batch for this: after a failure that may pass, the other messages keep their handles."""
        now: dict[str, str] = {}
        busy = False
        for handle in handles:
            if busy:
                now[handle] = handle
                continue
            try:
                renewed = self.client.hide(handle, during)
            except BusyQueueError:
                now[handle], busy = handle, True
            else:
                if renewed is not None:
                    now[handle] = renewed
        return now

    def close(self) -> None:
        self.client.close()


def open_smq(settings: SmqSettings, keys: Callable[[], Credentials]) -> QueueSource:
    """Return the source of a queue; nothing is requested yet. `keys` is asked before each request."""
    client = SmqClient(settings.endpoint, settings.queue, keys)
    return QueueSource(
        name=settings.name,
        queue=SmqQueue(client, settings.wait),
        wait=settings.wait,
        visibility=settings.visibility,
        format=settings.format,
        accept=settings.accept,
    )

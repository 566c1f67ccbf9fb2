"""A message queue as a source: receive, hand over, delete after the commit. SMQ and SQS differ only in their wire.

A received message is *hidden* from other receivers for a time and comes back unless it is deleted. So what is
not acknowledged is not lost, whatever happens to this process; and while a batch waits for its commit its
messages are kept hidden (`Hold`), so that waiting alone does not make them come twice.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_when_event_set, wait_random_exponential
from tenacity.nap import sleep_using_event

from dispatcher.core.decoding import Acceptance, decode
from dispatcher.errors import QueueError
from dispatcher.ports import Batch, Undecodable
from dispatcher.sources.longpoll import Hold, ask

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dispatcher.core.decoding import Format
    from dispatcher.core.events import ObjectEvent

ATTEMPTS = 4
LEAST_BETWEEN_EMPTY = timedelta(seconds=1)
"""Between two answers without messages: a queue that does not wait must not be asked in a circle."""
LONGEST_HOLD = timedelta(minutes=15)
"""Messages of a batch that is committed later than that come back: nobody may hide them for ever."""
GIVE_BACK = timedelta(seconds=1)
_LONGER_THAN_WAIT = 30.0
"""Seconds in which an answer must have come after the wait that was asked for, whatever the socket does."""


class BusyQueueError(QueueError):
    """A failure that may be gone in a moment."""


@dataclass(frozen=True, slots=True)
class Message:
    """A received message. `handle` names this receipt of it, for deleting and hiding."""

    handle: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """What one request brought, and how long it is hidden from now on."""

    messages: tuple[Message, ...]
    hidden_for: timedelta


class Queue(Protocol):
    """The wire of one queue. Thread-safe. Raises DispatcherError, BusyQueueError where trying again makes sense."""

    def receive(self) -> Received:
        """Wait for messages, at most the configured time, and hide what is returned."""
        ...

    def delete(self, handles: Sequence[str]) -> Sequence[str]:
        """Delete messages; return the handles for which it should be tried again.

        A handle that is valid no more is done: its message is deleted, or it comes back.
        """
        ...

    def hide(self, handles: Sequence[str], during: timedelta) -> Mapping[str, str]:
        """Hide messages from now on; return the handle that each has after that, without those that are lost."""
        ...

    def close(self) -> None:
        """Close idle connections. The queue can still be used."""
        ...


@dataclass
class QueueSource:
    """Brings the notifications of one queue (ports.Source). One thread iterates it.

    `wait` is the longest time of one request, `visibility` for how long messages stay hidden when they
    are hidden again, `renew_every` how often (default: at half of the time they are hidden). `answered` is
    called whenever the queue answered, also that it is empty.
    """

    name: str
    queue: Queue
    wait: timedelta
    visibility: timedelta
    format: Format | None = None
    accept: Acceptance = field(default_factory=Acceptance)
    renew_every: timedelta | None = None
    monotonic: Callable[[], float] = time.monotonic
    answered: Callable[[], None] = lambda: None
    _hold: Hold | None = field(default=None, init=False)

    def batches(self, stop: threading.Event) -> Iterator[Batch]:
        """Yield what each request brings until `stop` is set; a request in flight is then not waited for.

        Failures that may pass are tried again, a few times with growing pauses. Raises DispatcherError when
        that does not help or the queue refuses: nothing is lost, and iterating again goes on. A batch that
        was not acknowledged when the next one is asked for comes again once its messages are visible.
        """
        self._release()
        while not stop.is_set():
            begun = self.monotonic()
            received = _retrying(stop)(self._receive, stop)
            if received is None:
                return
            self.answered()
            if not received.messages:
                stop.wait(max(0.0, LEAST_BETWEEN_EMPTY.total_seconds() - (self.monotonic() - begun)))
                continue
            hold = self._hold = Hold(self.queue, received, self.visibility, self.renew_every, LONGEST_HOLD)
            try:
                yield self._batch(received, hold, stop)
            finally:
                hold.release()

    def close(self) -> None:
        """Hide nothing any longer and close connections."""
        self._release()
        self.queue.close()

    def _release(self) -> None:
        if self._hold is not None:
            self._hold.release()

    def _receive(self, stop: threading.Event) -> Received | None:
        within = self.wait.total_seconds() + _LONGER_THAN_WAIT
        try:
            return ask(self.name, self.queue.receive, stop, within=within, late=self._give_back)
        except TimeoutError as error:
            raise BusyQueueError(
                f"{self.name}: {error}",
                hint="check the endpoint, the name service and the network; nothing is lost, it is asked again",
            ) from error

    def _give_back(self, received: Received) -> None:
        """Let messages that came after everybody had left be received again soon."""
        self.queue.hide([message.handle for message in received.messages], GIVE_BACK)

    def _batch(self, received: Received, hold: Hold, stop: threading.Event) -> Batch:
        events: list[ObjectEvent] = []
        formats: list[str] = []
        dropped: list[str] = []
        undecodable: list[Undecodable] = []
        form = None if self.format is None else str(self.format)
        for message in received.messages:
            decoded = decode(message.body, self.format, source=self.name, accept=self.accept)
            events += decoded.events
            formats += decoded.formats
            dropped += [part.reason for part in decoded.dropped]
            undecodable += [Undecodable(self.name, message.body, reason, form) for reason in decoded.undecodable]
        return Batch(
            tuple(events),
            ack=lambda: self._delete(hold.release(), stop),
            undecodable=tuple(undecodable),
            formats=tuple(formats),
            dropped=tuple(dropped),
        )

    def _delete(self, handles: Sequence[str], stop: threading.Event) -> None:
        """Delete what was committed, trying again what failed. Raises QueueError: it then comes again, known."""
        left = list(handles)

        def delete() -> None:
            if left:
                left[:] = self.queue.delete(left)
            if left:
                raise BusyQueueError(
                    f"{self.name}: {len(left)} messages could not be deleted after they were recorded",
                    hint="they are brought again and recognised then: nothing starts twice",
                )

        _retrying(stop)(delete)


def _retrying(stop: threading.Event) -> Retrying:
    return Retrying(
        stop=stop_after_attempt(ATTEMPTS) | stop_when_event_set(stop),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        sleep=sleep_using_event(stop),
        retry=retry_if_exception_type(BusyQueueError),
        reraise=True,
    )

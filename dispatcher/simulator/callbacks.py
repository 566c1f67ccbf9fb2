"""Completion callbacks: posts each event when its task or job becomes final, and notes what became of it.

As the service does ("Callback events overview"): delivered is an answer of 200 within three
seconds; two more tries, a second apart; then the event is dropped. An event that was under way when
the simulator stopped is not posted again.
"""

from __future__ import annotations

import heapq
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dispatcher.simulator.events import event_body, on_loopback, promise_of, signed_headers
from dispatcher.simulator.journal import AcceptedCall, Delivery, DeliveryOutcome, JournalEntry

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dispatcher.simulator.account import Account
    from dispatcher.simulator.events import Promise

TRIES = 3
_AT_ONCE = 8
_WATCH = 0.02


class Callbacks:
    """Posts events, from the first `expect` to `stop`. Thread-safe. Without an address in sight it costs no thread."""

    def __init__(self, account: Account, clock: Callable[[], datetime], signing_clock: Callable[[], datetime]) -> None:
        self._account = account
        self._settings = account.settings.callbacks
        self._clock = clock
        self._signing_clock = signing_clock
        self._changed = threading.Condition()
        self._due: list[tuple[datetime, int, Promise]] = []
        self._number = 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._posting: ThreadPoolExecutor | None = None

    def resume(self) -> None:
        """Expect the end of everything in the account that is not final yet."""
        now = self._clock()
        for entry in self._account.tasks.entries():
            if self._account.tasks.final_at(entry) > now:
                self.expect(entry)
        for call in self._account.jobs.calls():
            if self._account.jobs.final_at(call) > now:
                self.expect(call)

    def expect(self, accepted: JournalEntry | AcceptedCall) -> None:
        """Post the event of this start or job when it is final, if somebody is to be told."""
        promise = promise_of(accepted, self._account)
        if promise is None:
            return
        with self._changed:
            if self._stopping.is_set():
                return
            if self._thread is None:
                self._posting = ThreadPoolExecutor(_AT_ONCE, "simulator-callback")
                self._thread = threading.Thread(target=self._watch, args=(self._posting,), name="simulator-callbacks")
                self._thread.start()
            self._number += 1
            heapq.heappush(self._due, (promise.due_at, self._number, promise))
            self._changed.notify()

    def stop(self) -> None:
        """Post nothing more; a post that is under way ends within its time-out. Idempotent."""
        with self._changed:
            self._stopping.set()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        if self._posting is not None:
            self._posting.shutdown(cancel_futures=True)

    def _watch(self, posting: ThreadPoolExecutor) -> None:
        # The clock may be a test's, which tells nobody when it moves: so it is looked at while something is due.
        with self._changed:
            while not self._stopping.is_set():
                while self._due and self._due[0][0] <= self._clock():
                    posting.submit(self._deliver, heapq.heappop(self._due)[2])
                self._changed.wait(_WATCH if self._due else None)

    def _deliver(self, promise: Promise) -> None:
        if not (self._settings.allow_remote or on_loopback(promise.url)):
            self._note(promise, DeliveryOutcome.NOT_ALLOWED, ())
            return
        body = event_body(promise, self._account)
        tries: list[str] = []
        for number in range(TRIES):
            if number and self._stopping.wait(self._settings.try_again_after.total_seconds()):
                return
            tries.append(self._post(promise.url, body))
            if tries[-1] == "200":
                self._note(promise, DeliveryOutcome.DELIVERED, tuple(tries))
                return
        self._note(promise, DeliveryOutcome.DROPPED, tuple(tries))

    def _post(self, url: str, body: bytes) -> str:
        """Return the status of the answer as text, or what kept it away."""
        import urllib3  # noqa: PLC0415 - most simulators post nothing

        within = self._settings.answer_within.total_seconds()
        headers = signed_headers(url, self._settings.auth_key, self._signing_clock())
        began = time.monotonic()
        try:
            with urllib3.PoolManager(timeout=urllib3.Timeout(total=within), retries=False) as pool:
                answer = pool.request("POST", url, body=body, headers=headers, redirect=False, preload_content=False)
                answer.close()
        except urllib3.exceptions.NewConnectionError:
            return "no connection"
        except urllib3.exceptions.TimeoutError:
            return "timeout"
        except urllib3.exceptions.HTTPError as error:
            return type(error).__name__
        return str(answer.status) if time.monotonic() - began <= within else "timeout"

    def _note(self, promise: Promise, outcome: DeliveryOutcome, tries: tuple[str, ...]) -> None:
        if not self._stopping.is_set():
            self._account.add(Delivery(self._clock(), promise.event_type, promise.subject, promise.url, outcome, tries))

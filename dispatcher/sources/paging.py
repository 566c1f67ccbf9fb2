"""Following a listing from answer to answer, and noticing a server that cannot page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from dispatcher.errors import ListingError

if TYPE_CHECKING:
    import threading

    from dispatcher.core.listing import ListingPage
    from dispatcher.sources.store import Answer


class Lister(Protocol):
    """Fetches one answer of a listing."""

    def list(self, root: str, token: str | None, page: int, stop: threading.Event) -> Answer:
        """Return the answer behind `token`, the first one for None. Raises DispatcherError."""
        ...


class Listed(Protocol):
    """What is listed: the name by which it is remembered, and where it is, for messages."""

    @property
    def name(self) -> str: ...

    @property
    def endpoint(self) -> str: ...


@dataclass(slots=True)
class Continuation:
    """Where a listing of one root goes on. Each answer is checked first, and then left behind."""

    bucket: Listed
    root: str
    token: str | None = None
    answers: int = 0
    _earlier_token: str | None = field(default=None, init=False)
    _last_key: bytes = field(default=b"", init=False)

    def check(self, page: ListingPage) -> None:
        """Raise ListingError for an answer that repeats what came before."""
        self.answers += 1
        if self._last_key and self._last_key in page.entries:
            raise self.error("it lists a key again on the next page: this server does not honour paging")
        if page.token is not None and page.token == self._earlier_token:
            raise self.error("it gives a continuation token twice: the listing would never end")

    def leave(self, page: ListingPage) -> bool:
        """Go on behind an answer; tell whether anything follows it."""
        if page.token is None:
            return False
        self.token = page.token
        if self.answers.bit_count() == 1:
            self._earlier_token = self.token  # at every power of two: finds any circle, and remembers one token
        self._last_key = _last_key(page.entries) or self._last_key
        return True

    def error(self, what: str) -> ListingError:
        """Return the error of a listing of this root that cannot be used."""
        return unusable(self.bucket, self.root, what)


def unusable(bucket: Listed, root: str, what: str) -> ListingError:
    """Return the error of a listing that cannot be used, and why."""
    return ListingError(
        f"the listing of bucket {bucket.name} (prefix {root!r}) at {bucket.endpoint} cannot be used: {what}",
        hint="nothing of this answer was used and nothing is lost; check that the endpoint is an S3 store "
        "and that no proxy cuts its answers",
    )


def _last_key(entries: bytes) -> bytes:
    """Return the element of the last key, raw; empty without one."""
    start = entries.rfind(b"<Key>")
    return entries[start : entries.index(b"</Key>", start) + len(b"</Key>")] if start >= 0 else b""

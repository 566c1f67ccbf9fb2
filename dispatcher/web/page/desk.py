"""What the page and the API ask for: the two halves of the operator's desk, as the services provide them.

Everything is a document of the contract. Queries are parameters by name, in the order in which they came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dispatcher.core.documents import Record

Query: TypeAlias = "Mapping[str, Sequence[str]]"


class Page(Protocol):
    """Some records, and the cursor (`after`) behind the last one; None at the end."""

    @property
    def records(self) -> tuple[Record, ...]:
        """The records."""
        ...

    @property
    def after(self) -> str | None:
        """The cursor."""
        ...


class Looks(Protocol):
    """Shows. Thread-safe; each may raise DispatcherError, LedgerError where the ledger cannot answer in time."""

    def overview(self) -> Record:
        """Return how it is going."""
        ...

    def status(self) -> Record:
        """Return what `status` prints."""
        ...

    def sources(self) -> Sequence[Record]:
        """Return each source with what was last seen of it."""
        ...

    def rules(self) -> Sequence[Record]:
        """Return what `rules list` prints, and overlaps."""
        ...

    def backfills(self) -> Sequence[Record]:
        """Return what `backfill list` prints."""
        ...

    def failed(self) -> Record:
        """Return failures by rule and code."""
        ...

    def dispatches(self, query: Query) -> Page:
        """Return a page of what `dispatches list` prints."""
        ...

    def dispatch(self, dispatch_id: str) -> Record:
        """Return what `dispatches show` prints. Raises MissingError."""
        ...

    def explain(self, url: str, *, live: bool) -> Record:
        """Return what `explain` prints."""
        ...

    def quarantine(self, query: Query) -> Page:
        """Return a page of what `quarantine list` prints."""
        ...

    def quarantined(self, number: int) -> Record:
        """Return what `quarantine show` prints. Raises MissingError."""
        ...

    def config(self) -> Record:
        """Return the configuration as it is understood, secrets masked."""
        ...


class Changes(Protocol):
    """Changes. Thread-safe, each idempotent; each may raise DispatcherError."""

    def count(self, verb: str, query: Query) -> int:
        """Return how many dispatches a verb would change."""
        ...

    def change(self, verb: str, query: Query, again: str = "") -> Record:
        """Do it to the selected dispatches."""
        ...

    def pause(self, rule: str | None, detail: str) -> Record:
        """Hold a rule, or all."""
        ...

    def resume(self, rule: str | None) -> Record:
        """End the hold of a rule, or all holds of operators."""
        ...

    def release(self, rule: str, count: int | None) -> Record:
        """Let rows that wait for a budget go."""
        ...

    def retry_quarantined(self, query: Query) -> Record:
        """Decode chosen bodies again."""
        ...

    def drop_quarantined(self, query: Query) -> Record:
        """Forget chosen bodies."""
        ...

    def backfill(self, number: int, verb: str) -> Record:
        """Pause, resume or cancel a backfill."""
        ...

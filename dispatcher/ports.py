"""The seams: what brings sightings in (Source), and where calls go out (Target, Tasks).

Services depend on these protocols alone; sources, targets and ledger never import each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from dispatcher.core.calls import Call, Endpoint, ServiceTask, TaskHint, TaskQuery
    from dispatcher.core.decoding import Acceptance, Format
    from dispatcher.core.events import ObjectEvent
    from dispatcher.core.jobs import EditingJob, JobFilter, Window
    from dispatcher.core.outcomes import Outcome
    from dispatcher.core.segments import RootState, SegmentHead, SnapshotChange


def nothing_to_acknowledge() -> None:
    """Acknowledge a batch of a source whose only progress is in the ledger."""


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A body, or a part of one, that means nothing to us. `format` is what it was read as, None if nothing fits."""

    source: str
    body: bytes
    reason: str
    format: str | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Sightings that are committed together, with the source's progress.

    Intake writes the dispatches of `events`, the quarantine of `undecodable` and `progress` in one
    transaction and calls `ack` only after the commit. A batch that is not acknowledged is brought
    again by its source. `ack` may raise DispatcherError: what it acknowledged is then brought again.
    `formats` tells as which each event was read (empty: none was), `dropped` why other parts are no sightings.
    """

    events: Sequence[ObjectEvent]
    progress: SnapshotChange | None = None
    ack: Callable[[], None] = nothing_to_acknowledge
    undecodable: Sequence[Undecodable] = ()
    formats: Sequence[str] = ()
    dropped: Sequence[str] = ()


class Source(Protocol):
    """Something that brings sightings. One thread iterates it; `stop` ends it promptly."""

    name: str

    def batches(self, stop: threading.Event) -> Iterator[Batch]:
        """Yield batches until there is nothing more for now (a listing) or `stop` is set (a queue).

        Raises DispatcherError when the store or queue refuses or fails; what was yielded before
        stays valid, and iterating again brings what is missing.
        """
        ...


class Receiver(Protocol):
    """Takes bodies that were pushed to us. Thread-safe."""

    def __call__(self, source: str, body: bytes, format: Format | None, accept: Acceptance) -> None:  # noqa: A002 - the word of the configuration
        """Decode and commit; return only after the commit. Idempotent.

        What means nothing is committed to quarantine and counts as taken. Raises DispatcherError
        (LedgerError: the sender should try again later).
        """
        ...


class SnapshotMemory(Protocol):
    """What a listing reads of the ledger while it runs; it writes only through `Batch.progress`.

    Each call sees what was committed before it. Raises LedgerError.
    """

    def load(self, bucket: str, root: str) -> RootState:
        """Return what is remembered of a root, with the earlier roots that it continues."""
        ...

    def roots(self, bucket: str) -> Mapping[str, bool]:
        """Return every remembered root of a bucket, and whether its baseline is complete."""
        ...

    def heads(self, root_id: int, after: int, limit: int) -> Sequence[SegmentHead]:
        """Return the next live segments behind a position, in order."""
        ...

    def first_fence(self, root_id: int, after: int, raw_keys: Sequence[bytes]) -> SegmentHead | None:
        """Return the first live segment behind a position whose fence is one of these keys."""
        ...

    def revisions(self, root_id: int, after: int, last: int) -> Mapping[int, int]:
        """Return hash and revision of the entries at positions in (after, last]; a few segments."""
        ...

    def known(self, root_ids: Sequence[int], hashes: Collection[int]) -> dict[int, int]:
        """Return the revision of each of these hashes that the roots know, live or limbo."""
        ...

    def counts(self, root_id: int, number: int) -> tuple[int, int]:
        """Return how many entries are live, and how many became limbo in pass `number`."""
        ...

    def missing(self, root_id: int, number: int) -> int:
        """Return how many entries that became limbo in pass `number` are not live."""
        ...


class Target(Protocol):
    """Makes calls. Thread-safe. Never raises: every end is an Outcome."""

    def start(self, call: Call) -> Outcome:
        """Make the call once, without retries, within the configured time-out."""
        ...


class Tasks(Protocol):
    """The service's own list of tasks: the evidence. Thread-safe."""

    def list_tasks(self, query: TaskQuery) -> Iterator[ServiceTask]:
        """Yield every task of the query, all pages. Raises DispatcherError if any page fails:
        an incomplete listing proves nothing.
        """
        ...

    def get_task(self, endpoint: Endpoint, task_id: str) -> ServiceTask | None:
        """Return one task with its results, None if the service does not know it."""
        ...


class Jobs(Protocol):
    """The service's own list of producing jobs: the evidence of SubmitMediaProducingJob. Thread-safe."""

    def list_jobs(self, endpoint: Endpoint, asked: JobFilter, window: Window) -> Iterator[EditingJob]:
        """Yield the jobs created in a window of at most 30 days, all pages. Raises DispatcherError if any
        page fails: an incomplete listing proves nothing.
        """
        ...

    def get_job(self, endpoint: Endpoint, job_id: str) -> EditingJob | None:
        """Return one job with everything that is told of it, None if the service does not know it."""
        ...


class HintTaker(Protocol):
    """Takes hints at tasks that may have ended. Thread-safe; never blocks or raises, and may drop a hint."""

    def __call__(self, hint: TaskHint) -> None: ...

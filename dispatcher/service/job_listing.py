"""Listing jobs: window by window, over every endpoint of the configuration, joined with the ledger's rows."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from dispatcher.core.jobs import LONGEST_WINDOW, Window, check_window, windows
from dispatcher.core.tracing import token_of
from dispatcher.errors import DispatcherError, UsageError
from dispatcher.ledger import joining
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.place import path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from dispatcher.core.calls import Endpoint
    from dispatcher.core.jobs import EditingJob, JobFilter, QuickJob, QuickJobFilter
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.joining import JoinedRow

_EDGE = timedelta(seconds=1)
_CHUNK = 100
"""Jobs that are looked up in the ledger at once."""


class Jobs(Protocol):
    """What reads jobs: `targets.jobs.AlibabaJobs`."""

    def list_jobs(self, endpoint: Endpoint, asked: JobFilter, window: Window) -> Iterator[EditingJob]:
        """Yield the editing jobs of one window."""
        ...

    def get_job(self, endpoint: Endpoint, job_id: str) -> EditingJob | None:
        """Return one editing job."""
        ...

    def list_quick_jobs(self, endpoint: Endpoint, asked: QuickJobFilter) -> Iterator[QuickJob]:
        """Yield the quick-production jobs."""
        ...


@dataclass(frozen=True, slots=True)
class ListedJob:
    """An editing job, where it was listed, the dispatch id that it carries, and the ledger's row of it."""

    job: EditingJob
    region: str
    dispatch_id: str | None = None
    row: JoinedRow | None = None


@dataclass(frozen=True, slots=True)
class ListedQuickJob:
    """A quick-production job, and where it was listed."""

    job: QuickJob
    region: str


def endpoints_of(settings: Settings, region: str | None) -> tuple[Endpoint, ...]:
    """Return the endpoints of the rules' buckets, or the one of a region; each URL once, whatever region it serves.

    Raises UsageError for a region that no rule has.
    """
    found = [settings.buckets[bucket].ims for bucket in settings.rules.buckets()]
    by_url: dict[str, Endpoint] = {}
    for endpoint in found:
        if region is None or endpoint.region == region:
            by_url.setdefault(endpoint.url, endpoint)
    chosen = tuple(by_url.values())
    if not chosen:
        known = ", ".join(sorted({endpoint.region for endpoint in found}))
        raise UsageError(f"--region {region}: no rule has its bucket there", hint=f"there are {known}")
    return chosen


@dataclass(frozen=True)
class JobListing:
    """Lists jobs of the endpoints, one endpoint after the other. `now` is the end of an open window.

    Each function raises CredentialsError or ServiceUnavailableError if the service does not say, and
    UsageError before any call for a window that ends before it begins.
    """

    jobs: Jobs
    endpoints: tuple[Endpoint, ...]
    now: datetime

    def editing(
        self, asked: JobFilter, since: datetime | None, until: datetime | None, limit: int | None
    ) -> Iterator[tuple[EditingJob, str]]:
        """Yield (job, region), each job once; without `since` those of 30 days. Longer times are listed by windows."""
        check_window(since, until)
        end = self.now if until is None else until
        start = end - LONGEST_WINDOW if since is None else since
        check_window(start, end)
        found = ((job, endpoint.region) for endpoint in self.endpoints for job in self._of(endpoint, asked, start, end))
        return islice(found, limit)

    def _of(self, endpoint: Endpoint, asked: JobFilter, since: datetime, until: datetime) -> Iterator[EditingJob]:
        before: set[str] = set()
        for window in windows(since, until, asked.order):
            here: set[str] = set()
            for job in self.jobs.list_jobs(endpoint, asked, window):
                if _at_an_edge(job, window):
                    here.add(job.job_id)
                    if job.job_id in before:
                        continue
                yield job
            before = here

    def quick(self, asked: QuickJobFilter, limit: int | None) -> Iterator[ListedQuickJob]:
        """Yield quick-production jobs."""
        check_window(asked.since, asked.until)
        found = (
            ListedQuickJob(job, endpoint.region)
            for endpoint in self.endpoints
            for job in self.jobs.list_quick_jobs(endpoint, asked)
        )
        return islice(found, limit)

    def one(self, job_id: str) -> tuple[EditingJob, str] | None:
        """Return (job, region) with everything that is told of it, None if no endpoint knows it."""
        for endpoint in self.endpoints:
            job = self.jobs.get_job(endpoint, job_id)
            if job is not None:
                return job, endpoint.region
        return None


def _at_an_edge(job: EditingJob, window: Window) -> bool:
    """Tell whether the neighbouring window may list the job too."""
    at = job.created_at
    return at is None or at <= window.since + _EDGE or at >= window.until - _EDGE


# -- the ledger -----------------------------------------------------------------------------------


@contextmanager
def open_for_joining(settings: Settings, say: Callable[[str], None]) -> Iterator[Ledger | None]:
    """Open the ledger for reading; None where there is none yet, or it cannot be read (`say` tells why)."""
    opened = None
    if path_of(settings.ledger.url).exists():
        try:
            opened = Ledger.open(settings.ledger.url, readonly=True)
        except DispatcherError as error:
            say(f"jobs are shown without the ledger's rows: {error.message} ({error.hint})")
    if opened is None:
        yield None
        return
    with closing(opened):
        yield opened


def joined(found: Iterator[tuple[EditingJob, str]], ledger: Ledger | None) -> Iterator[ListedJob]:
    """Yield the jobs with the ledger's rows: by the id in UserData, else by the job id."""
    while some := tuple(islice(found, _CHUNK)):
        yield from _join(some, ledger)


def _join(some: Sequence[tuple[EditingJob, str]], ledger: Ledger | None) -> Iterator[ListedJob]:
    carried = {job.job_id: token[0] for job, _ in some if (token := token_of(job.user_data or "")) is not None}
    by_id: dict[str, JoinedRow] = {}
    by_job: dict[str, JoinedRow] = {}
    if ledger is not None:
        with ledger.read() as tx:
            by_id = {row.dispatch_id: row for row in joining.by_dispatch_id(tx, set(carried.values()))}
            others = [job.job_id for job, _ in some if carried.get(job.job_id) not in by_id]
            by_job = {row.task_id: row for row in joining.by_job_id(tx, others) if row.task_id is not None}
    for job, region in some:
        dispatch_id = carried.get(job.job_id)
        row = by_id.get(dispatch_id or "") or by_job.get(job.job_id)
        yield ListedJob(job, region, dispatch_id if row is None else row.dispatch_id, row)

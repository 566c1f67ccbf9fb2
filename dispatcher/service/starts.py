"""What the account started: workflow tasks and editing jobs of a window, as the service lists them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from dispatcher.core.belonging import Start, start_of_job, start_of_task
from dispatcher.core.calls import TaskQuery
from dispatcher.core.jobs import JobFilter, Order, windows
from dispatcher.core.rules import EditingAction
from dispatcher.targets.jobs import AlibabaJobs
from dispatcher.targets.tasks import AlibabaTasks

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from dispatcher.core.calls import Api, Endpoint
    from dispatcher.core.jobs import EditingJob, Window
    from dispatcher.core.settings import Settings
    from dispatcher.ports import Tasks
    from dispatcher.targets.alibaba import AlibabaClients

LISTED_FOR = timedelta(days=90)
"""How long the service lists what was started."""
_EDGE = timedelta(minutes=1)
"""Kept from the edge of what is listed: the service's clock is not ours, and it refuses what lies before."""
PAGE = 100


class Jobs(Protocol):
    """The service's list of editing jobs."""

    def list_jobs(self, endpoint: Endpoint, asked: JobFilter, window: Window) -> Iterator[EditingJob]:
        """Yield the jobs of one window, all pages. Raises DispatcherError if any page fails."""
        ...


@dataclass(frozen=True, slots=True)
class ServiceStarts:
    """Lists the starts of every endpoint that rules call. Yields pages; reads one when the one before is used up."""

    settings: Settings
    tasks: Tasks
    jobs: Jobs

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the endpoints that rules call, in the order of the configuration."""
        return tuple(dict.fromkeys(self.settings.buckets[name].ims for name in self.settings.rules.buckets()))

    def workflows(self, endpoint: Endpoint) -> tuple[str, ...]:
        """Return the workflows that rules start at this endpoint."""
        return tuple(
            dict.fromkeys(
                rule.workflow_id
                for rule in self.settings.rules.rules
                if rule.workflow_id is not None and self.settings.buckets[rule.input.bucket].ims == endpoint
            )
        )

    def everything(self, since: datetime, until: datetime) -> Iterator[list[Start]]:
        """Yield every start in the window, whichever workflow it runs, in pages of at most 100.

        Editing jobs are listed where a rule makes such jobs. Raises DispatcherError if any page fails.
        """
        for endpoint in self.endpoints():
            if self.workflows(endpoint):
                yield from pages(self.tasks_of(TaskQuery(endpoint, "", since, until)))
            if self.makes_jobs(endpoint):
                yield from pages(self.jobs_of(endpoint, since, until))

    def tasks_of(self, query: TaskQuery) -> Iterator[Start]:
        """Yield the starts of a query, in the service's order."""
        rules, names = self.settings.rules, self.settings.names
        for task in self.tasks.list_tasks(query):
            yield start_of_task(task, query.endpoint, rules, names)

    def jobs_of(self, endpoint: Endpoint, since: datetime, until: datetime) -> Iterator[Start]:
        """Yield the editing jobs of the window, the newest first."""
        for window in windows(since, until, Order.DESC):
            for job in self.jobs.list_jobs(endpoint, JobFilter(), window):
                yield start_of_job(job, endpoint, self.settings.rules)

    def makes_jobs(self, endpoint: Endpoint) -> bool:
        """Tell whether a rule submits editing jobs at this endpoint."""
        return any(
            isinstance(rule.action, EditingAction) and self.settings.buckets[rule.input.bucket].ims == endpoint
            for rule in self.settings.rules.rules
        )


def pages(starts: Iterable[Start]) -> Iterator[list[Start]]:
    """Yield what is listed in pages of at most 100."""
    rest = iter(starts)
    while page := list(islice(rest, PAGE)):
        yield page


def earliest(now: datetime) -> datetime:
    """Return the earliest time that can be listed at `now`."""
    return now - LISTED_FOR + _EDGE


def open_starts(
    settings: Settings, clients: AlibabaClients, permits: Callable[[Endpoint, Api], None], stop: threading.Event
) -> ServiceStarts:
    """Return the lists of the service, read within their share of the quota. Nothing is requested yet."""

    def pause(seconds: float) -> None:
        stop.wait(seconds)

    tasks = AlibabaTasks(clients, before_read=permits, pause=pause)
    return ServiceStarts(settings, tasks, AlibabaJobs(clients, pause=pause))

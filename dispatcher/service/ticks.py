"""The clockwork: jobs that run again after as long as they say. APScheduler ticks; nothing is kept in it."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

from dispatcher.service.health import AT_WORK, SLACK, Health

if TYPE_CHECKING:
    from collections.abc import Callable

SOONEST = timedelta(milliseconds=10)


class _Scheduler(BackgroundScheduler):  # type: ignore[misc]  # it ships no types
    """A scheduler that may be shut down while it looks at its jobs: what it wants to remove then is gone already."""

    def remove_job(self, job_id: str, jobstore: str | None = None) -> None:
        with suppress(JobLookupError):
            super().remove_job(job_id, jobstore)


class Ticks:
    """Runs each job in a thread of a pool: at once, and again after the time it returned.

    A job never runs twice at the same time. `failed` is called with what a job raised; it is not run again.
    `health` hears of each job when it begins and when it ends, so that one that hangs, or is forgotten, is found.
    """

    def __init__(self, jobs: int, failed: Callable[[BaseException], None], health: Health | None = None) -> None:
        self._failed = failed
        self._health = health or Health()
        self._idle = threading.Condition()
        self._running = 0
        self._open = True
        self._scheduler = _Scheduler(
            executors={"default": ThreadPoolExecutor(max(1, jobs))},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )

    def add(self, name: str, job: Callable[[], timedelta]) -> None:
        """Run the job as soon as the ticks start, or now if they did."""
        self._schedule(name, job, timedelta())

    def start(self) -> None:
        """Begin to tick."""
        self._scheduler.start()

    def stop(self, deadline: float) -> bool:
        """Start no job any more, and wait for those that run; False if one still does at the deadline.

        `deadline` is a time of `time.monotonic`.
        """
        with self._idle:
            self._open = False
            while self._running and (left := deadline - time.monotonic()) > 0:
                self._idle.wait(left)
            ended = not self._running
        self._scheduler.shutdown(wait=ended)
        return ended

    def _schedule(self, name: str, job: Callable[[], timedelta], wait: timedelta) -> None:
        at = datetime.now(UTC) + max(wait, SOONEST)
        self._health.expect(name, wait + SLACK)
        self._scheduler.add_job(self._run, "date", run_date=at, args=(name, job), id=name, replace_existing=True)

    def _run(self, name: str, job: Callable[[], timedelta]) -> None:
        with self._idle:
            if not self._open:
                return
            self._running += 1
        self._health.expect(name, AT_WORK)
        wait: timedelta | None = None
        try:
            wait = job()
        except BaseException as error:  # noqa: BLE001 - top of a thread; what it means is decided by `failed`
            self._failed(error)
        finally:
            with self._idle:
                self._running -= 1
                self._health.forget(name)
                if wait is not None and self._open:
                    self._schedule(name, job, wait)
                self._idle.notify_all()

"""The account's quick-production jobs: given to the simulator, since none of its calls makes one."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from dispatcher.simulator.settings import QuickJob, SimulatorSettings


class QuickBook:
    """All quick-production jobs of the account, in order of creation. Thread-safe. Not journalled."""

    def __init__(self, settings: SimulatorSettings, now: datetime) -> None:
        self._lock = threading.Lock()
        self._jobs: list[QuickJob] = []
        for job in settings.quick_jobs:
            self.add(job, now)

    def add(self, job: QuickJob, now: datetime) -> None:
        """Take a job over, in place of the one that has its id."""
        dated = job if job.created_at is not None else replace(job, created_at=now)
        with self._lock:
            others = [each for each in self._jobs if each.job_id != job.job_id]
            self._jobs = sorted([*others, dated], key=created_at)

    def jobs(self) -> list[QuickJob]:
        """Return the jobs, in order of creation."""
        with self._lock:
            return list(self._jobs)


def created_at(job: QuickJob) -> datetime:
    """Return when a job of the book was made."""
    if job.created_at is None:
        raise ValueError("a job of the book has its time")
    return job.created_at

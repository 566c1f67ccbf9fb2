"""The account's editing jobs (SubmitMediaProducingJob), moved on by the clock alone."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dispatcher.simulator.pages import Cursor, Page, cut

if TYPE_CHECKING:
    from datetime import datetime

    from dispatcher.simulator.journal import AcceptedCall
    from dispatcher.simulator.settings import SimulatorSettings

_ERROR = ("InvalidMaterial", "A material cannot be decoded.")


class JobStatus(StrEnum):
    """Status of an editing job, as GetMediaProducingJob documents it."""

    INIT = "Init"
    QUEUING = "Queuing"
    PROCESSING = "Processing"
    SUCCESS = "Success"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What ListMediaProducingJobs asks for. Times are whole seconds, both ends included."""

    status: JobStatus | None = None
    keyword: str | None = None
    project_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class JobView:
    """One editing job as it stands at a moment."""

    call: AcceptedCall
    status: JobStatus
    modified_at: datetime
    finished_at: datetime | None

    @property
    def job_id(self) -> str:
        return self.call.answer["JobId"]

    @property
    def error(self) -> tuple[str, str] | None:
        """Code and message of a failed job."""
        return _ERROR if self.status is JobStatus.FAILED else None

    @property
    def output_url(self) -> str:
        """Where the output goes: its URL, or its place in a VOD bucket."""
        return output_url(self.call)


def output_url(call: AcceptedCall) -> str:
    """Return where the job's output goes: its MediaURL, for a VOD asset `vod://location/file name`, or nothing."""
    config = json.loads(call.parameters["OutputMediaConfig"])
    if "StorageLocation" in config:
        return f"vod://{config['StorageLocation']}/{config.get('FileName', '')}"
    return str(config.get("MediaURL", ""))


def _searched(call: AcceptedCall) -> tuple[str, ...]:
    return (*call.answer.values(), output_url(call))


class JobBook:
    """All editing jobs of the account. Thread-safe."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._calls: list[AcceptedCall] = []
        self._by_id: dict[str, AcceptedCall] = {}

    def apply(self, call: AcceptedCall) -> None:
        """Begin the job of an accepted SubmitMediaProducingJob call."""
        with self._lock:
            self._by_id[call.answer["JobId"]] = call
            self._calls.append(call)

    def calls(self) -> list[AcceptedCall]:
        """Return the call of each job, in order of acceptance."""
        with self._lock:
            return list(self._calls)

    def get(self, job_id: str, now: datetime) -> JobView | None:
        """Return a job as it stands; the listing delay does not apply."""
        with self._lock:
            call = self._by_id.get(job_id)
        return None if call is None else self.view(call, now)

    def page(self, wanted: JobFilter, cursor: Cursor, now: datetime) -> Page[JobView]:
        """Return a page of the jobs that listings show now."""
        listed = now - self._settings.listing_delay
        page = cut(self.calls(), cursor, lambda call: call.at <= listed and self._wanted(wanted, call, now))
        return Page([self.view(call, now) for call in page.items], page.next_token)

    def final_at(self, call: AcceptedCall) -> datetime:
        """Return when the job is or was final."""
        duration = self._settings.job_duration
        return (
            call.at + self._settings.queue_duration + (self._settings.task_duration if duration is None else duration)
        )

    def view(self, call: AcceptedCall, now: datetime) -> JobView:
        begins_at, ends_at = call.at + self._settings.queue_duration, self.final_at(call)
        if now < begins_at:
            return JobView(call, JobStatus.INIT, call.at, None)
        if now < ends_at:
            return JobView(call, JobStatus.PROCESSING, begins_at, None)
        failed = any(fnmatchcase(output_url(call), pattern) for pattern in self._settings.failing)
        return JobView(call, JobStatus.FAILED if failed else JobStatus.SUCCESS, ends_at, ends_at)

    def _wanted(self, wanted: JobFilter, call: AcceptedCall, now: datetime) -> bool:
        created = call.at.replace(microsecond=0)
        return (
            (wanted.status is None or wanted.status is self.view(call, now).status)
            and (wanted.keyword is None or any(wanted.keyword in text for text in _searched(call)))
            and (wanted.project_id is None or wanted.project_id == call.answer["ProjectId"])
            and (wanted.since is None or created >= wanted.since)
            and (wanted.until is None or created <= wanted.until)
        )

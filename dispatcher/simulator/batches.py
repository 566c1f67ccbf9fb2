"""The account's IMM batches: moved on by the clock, and stopped, resumed, changed and removed by calls."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.simulator.journal import AcceptedCall
    from dispatcher.simulator.settings import SimulatorSettings


class BatchState(StrEnum):
    """State of a batch, as the model DataIngestion documents it."""

    READY = "Ready"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    FAILED = "Failed"
    SUCCEEDED = "Succeeded"


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as the calls left it; its state follows from the time.

    `fields` are the JSON texts of Input, Actions, Notification and Tags. It has run for `ran` until
    `running_since`, from which it runs on; None stops it. `failed_at` holds a batch that was changed after it failed.
    """

    batch_id: str
    project: str
    service_role: str
    created_at: datetime
    updated_at: datetime
    fields: Mapping[str, str]
    running_since: datetime | None
    ran: timedelta = timedelta()
    failed_at: datetime | None = None

    @property
    def tags(self) -> dict[str, object]:
        """The tags of the batch."""
        tags = json.loads(self.fields.get("Tags") or "{}")
        return tags if isinstance(tags, dict) else {}


@dataclass(frozen=True, slots=True)
class BatchView:
    """A batch as it stands at a moment; `done` of its simulated files have been submitted."""

    batch: Batch
    state: BatchState
    updated_at: datetime
    done: int


def input_of(fields: Mapping[str, str]) -> tuple[str, str]:
    """Return (bucket, prefix) of the Input of a batch."""
    oss = json.loads(fields["Input"])["OSS"]
    return str(oss["Bucket"]), str(oss.get("Prefix") or "")


class BatchBook:
    """All batches of the account. Thread-safe."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._batches: dict[str, Batch] = {}
        duration = settings.batch_duration
        self._duration = settings.task_duration if duration is None else duration

    def apply(self, call: AcceptedCall) -> None:
        """Do what an accepted call says to its batch. Raises KeyError for a call of another family."""
        change = {
            "CreateBatch": self._create,
            "SuspendBatch": self._suspend,
            "ResumeBatch": self._resume,
            "UpdateBatch": self._update,
            "DeleteBatch": self._delete,
        }[call.api]
        change(call)

    def get(self, project: str, batch_id: str, now: datetime) -> BatchView | None:
        """Return a batch of a project as it stands."""
        with self._lock:
            batch = self._batches.get(batch_id)
        return None if batch is None or batch.project != project else self._view(batch, now)

    def all(self, now: datetime) -> list[BatchView]:
        """Return every batch as it stands, in order of creation."""
        with self._lock:
            batches = list(self._batches.values())
        return [self._view(batch, now) for batch in batches]

    def listed(self, now: datetime) -> list[BatchView]:
        """Return the batches that listings show now."""
        return [view for view in self.all(now) if now - view.batch.created_at >= self._settings.listing_delay]

    def _create(self, call: AcceptedCall) -> None:
        parameters = call.parameters
        batch = Batch(
            batch_id=call.answer["Id"],
            project=parameters["ProjectName"],
            service_role=parameters["ServiceRole"],
            created_at=call.at,
            updated_at=call.at,
            fields={name: parameters[name] for name in _FIELDS if name in parameters},
            running_since=call.at + self._settings.queue_duration,
        )
        with self._lock:
            self._batches[batch.batch_id] = batch

    def _suspend(self, call: AcceptedCall) -> None:
        batch = self._batches[call.parameters["Id"]]
        ran = batch.ran if batch.running_since is None else batch.ran + (call.at - batch.running_since)
        self._put(replace(batch, running_since=None, ran=ran, updated_at=call.at))

    def _resume(self, call: AcceptedCall) -> None:
        batch = self._batches[call.parameters["Id"]]
        ran = batch.ran if self._view(batch, call.at).state is BatchState.SUSPENDED else timedelta()
        self._put(replace(batch, running_since=call.at, ran=ran, failed_at=None, updated_at=call.at))

    def _update(self, call: AcceptedCall) -> None:
        batch, parameters = self._batches[call.parameters["Id"]], call.parameters
        failed = self._view(batch, call.at).state is BatchState.FAILED
        fields = dict(batch.fields) | {name: parameters[name] for name in _FIELDS if name in parameters}
        self._put(replace(batch, fields=fields, updated_at=call.at, failed_at=call.at if failed else None))

    def _delete(self, call: AcceptedCall) -> None:
        with self._lock:
            del self._batches[call.parameters["Id"]]

    def _put(self, batch: Batch) -> None:
        with self._lock:
            self._batches[batch.batch_id] = batch

    def _view(self, batch: Batch, now: datetime) -> BatchView:
        files = self._settings.batch_files
        if batch.failed_at is not None:
            return BatchView(batch, BatchState.FAILED, batch.updated_at, 0)
        if batch.running_since is None:
            return BatchView(batch, BatchState.SUSPENDED, batch.updated_at, self._done(batch.ran))
        if now < batch.running_since:
            return BatchView(batch, BatchState.READY, batch.updated_at, 0)
        ran = batch.ran + (now - batch.running_since)
        if ran < self._duration:
            return BatchView(batch, BatchState.RUNNING, max(batch.updated_at, batch.running_since), self._done(ran))
        ended_at = max(batch.updated_at, batch.running_since + self._duration - batch.ran)
        bucket, prefix = input_of(batch.fields)
        if any(fnmatchcase(f"oss://{bucket}/{prefix}", pattern) for pattern in self._settings.failing):
            return BatchView(batch, BatchState.FAILED, ended_at, 0)
        return BatchView(batch, BatchState.SUCCEEDED, ended_at, files)

    def _done(self, ran: timedelta) -> int:
        return int(self._settings.batch_files * (ran / self._duration)) if self._duration else 0


_FIELDS = ("Input", "Actions", "Notification", "Tags")

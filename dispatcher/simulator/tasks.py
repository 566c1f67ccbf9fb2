"""The simulated account's tasks: accepted once, journalled, and moved on by the clock alone."""

from __future__ import annotations

import json
import posixpath
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dispatcher.core.dispatch import TaskStatus
from dispatcher.simulator.settings import SimulatedWorkflow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.simulator.journal import JournalEntry, JournalFile
    from dispatcher.simulator.settings import SimulatorSettings

_TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_NAMED = re.compile(r"\{(bucket|key|name|stem|task_id)\}")


@dataclass(frozen=True, slots=True)
class MediaInput:
    """What a task reads: a media id, or an object of a bucket."""

    type: str
    media: str
    bucket: str = ""
    key: str = ""

    @classmethod
    def parse(cls, task_input: str) -> MediaInput:
        """Return the input that a TaskInput text names. Raises ValueError that says what is wrong."""
        try:
            fields = json.loads(task_input)
        except ValueError:
            raise ValueError("TaskInput is not JSON") from None
        kind, media = (fields.get("Type"), fields.get("Media")) if isinstance(fields, dict) else (None, None)
        if kind not in ("OSS", "Media") or not isinstance(media, str) or not media:
            raise ValueError('TaskInput must be {"Type": "OSS" or "Media", "Media": text}')
        if kind == "Media":
            return cls(kind, media)
        bucket, key = split_object_url(media)
        if not key:
            raise ValueError("Media names a bucket, not an object")
        return cls(kind, media, bucket, key)


def split_object_url(url: str) -> tuple[str, str]:
    """Return (bucket, key) of an oss:// or http(s):// URL; the key may be empty. Raises ValueError for another text."""
    scheme, separator, rest = url.partition("://")
    host, _, key = rest.partition("/")
    if not separator or scheme not in ("oss", "http", "https") or not host:
        raise ValueError("Media of an OSS input must be an object's URL, as oss://bucket/key")
    if scheme != "oss":
        host = urlsplit(url).hostname or ""
    return host.split(".")[0], key


def format_time(at: datetime) -> str:
    """Return the time as the service writes it: UTC, whole seconds."""
    return at.astimezone(UTC).strftime(_TIME_FORMAT)


def parse_time(text: str) -> datetime:
    """Return the time of a parameter. Raises ValueError for anything but `yyyy-MM-ddTHH:mm:ssZ`."""
    return datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """What ListWorkflowTasks asks for. Times are whole seconds, both ends included."""

    workflow_id: str | None = None
    workflow_name: str | None = None
    key_text: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class TaskView:
    """One task as it stands at a moment, with its number in order of acceptance."""

    number: int
    entry: JournalEntry
    workflow: SimulatedWorkflow
    status: TaskStatus
    finished_at: datetime | None

    def activity_results(self) -> str:
        """Return the JSON text of what the task's activities did, with the outputs of a finished one."""
        results: list[dict[str, object]] = [{"Name": "Act-Start", "Type": "Start", "Status": "Succeed"}]
        work: dict[str, object] = {"Name": "Act-Transcode", "Type": "Transcode", "Status": str(self.status)}
        if self.status is TaskStatus.SUCCEED:
            work["Result"] = {"OutputMedias": [{"Type": "OSS", "Media": self._output_url()}]}
        if self.status is TaskStatus.FAILED:
            work |= {"Code": "InvalidMedia", "Message": "The input cannot be decoded."}
        results.append(work)
        return json.dumps(results, ensure_ascii=False)

    def _output_url(self) -> str:
        source = MediaInput.parse(self.entry.task_input)
        name = posixpath.basename(source.key) or source.media
        values = {
            "bucket": source.bucket or "media",
            "key": source.key or source.media,
            "name": name,
            "stem": posixpath.splitext(name)[0],
            "task_id": self.entry.task_id,
        }
        return _NAMED.sub(lambda match: values[match[1]], self.workflow.output)


class TaskBook:
    """All tasks of the account. Thread-safe. Each accepted one is journalled before `accept` returns."""

    def __init__(self, settings: SimulatorSettings, file: JournalFile | None) -> None:
        self._settings = settings
        self._file = file
        self._lock = threading.Lock()
        self._entries: list[JournalEntry] = file.load() if file else []
        self._numbers = {entry.task_id: number for number, entry in enumerate(self._entries)}

    def accept(self, entry: JournalEntry) -> None:
        """Start a task. If the journal cannot be written, it raises OSError and nothing is started."""
        with self._lock:
            if self._file is not None:
                self._file.append(entry)
            self._numbers[entry.task_id] = len(self._entries)
            self._entries.append(entry)

    def entries(self) -> list[JournalEntry]:
        """Return the journal, in order of acceptance."""
        with self._lock:
            return list(self._entries)

    def get(self, task_id: str, now: datetime) -> TaskView | None:
        """Return a task as it stands; the listing delay does not apply."""
        with self._lock:
            number = self._numbers.get(task_id)
            entry = None if number is None else self._entries[number]
        return None if entry is None or number is None else self._view(number, entry, now)

    def page(self, wanted: TaskFilter, *, before: int | None, size: int, now: datetime) -> Sequence[TaskView]:
        """Return up to `size` tasks that listings show now, newest first, with numbers below `before`."""
        with self._lock:
            entries = self._entries[:before]
        found: list[TaskView] = []
        for number in range(len(entries) - 1, -1, -1):
            entry = entries[number]
            if now - entry.at >= self._settings.listing_delay and self._wanted(wanted, entry):
                found.append(self._view(number, entry, now))
                if len(found) == size:
                    break
        return found

    def _wanted(self, wanted: TaskFilter, entry: JournalEntry) -> bool:
        created = entry.at.replace(microsecond=0)
        return (
            (wanted.workflow_id is None or wanted.workflow_id == entry.workflow_id)
            and (wanted.workflow_name is None or wanted.workflow_name == self._workflow(entry).name)
            and (wanted.key_text is None or wanted.key_text in entry.task_input)
            and (wanted.since is None or created >= wanted.since)
            and (wanted.until is None or created <= wanted.until)
        )

    def _workflow(self, entry: JournalEntry) -> SimulatedWorkflow:
        # The journal may hold tasks of a workflow that the settings do not name any more.
        return self._settings.workflow(entry.workflow_id) or SimulatedWorkflow(entry.workflow_id)

    def _view(self, number: int, entry: JournalEntry, now: datetime) -> TaskView:
        workflow = self._workflow(entry)
        begins_at = entry.at + self._settings.queue_duration
        ends_at = begins_at + self._settings.task_duration
        if now < begins_at:
            return TaskView(number, entry, workflow, TaskStatus.INIT, None)
        if now < ends_at:
            return TaskView(number, entry, workflow, TaskStatus.PROCESSING, None)
        media = MediaInput.parse(entry.task_input).media
        failed = any(fnmatchcase(media, pattern) for pattern in workflow.failing)
        return TaskView(number, entry, workflow, TaskStatus.FAILED if failed else TaskStatus.SUCCEED, ends_at)


class CallQuota:
    """The account's calls of one API in any second. Thread-safe."""

    def __init__(self, per_second: int | None) -> None:
        self._per_second = per_second
        self._lock = threading.Lock()
        self._taken: list[datetime] = []

    def take(self, now: datetime) -> bool:
        """Return whether one more call is within the quota; a refused call does not count."""
        if self._per_second is None:
            return True
        with self._lock:
            self._taken = [at for at in self._taken if timedelta() <= now - at < timedelta(seconds=1)]
            if len(self._taken) >= self._per_second:
                return False
            self._taken.append(now)
            return True

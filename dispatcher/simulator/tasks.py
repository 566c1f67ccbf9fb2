"""The simulated account's workflow tasks: accepted once, and moved on by the clock alone."""

from __future__ import annotations

import json
import posixpath
import re
import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dispatcher.core.dispatch import TaskStatus
from dispatcher.simulator.pages import Cursor, Page, cut
from dispatcher.simulator.settings import SimulatedWorkflow

if TYPE_CHECKING:
    from datetime import datetime

    from dispatcher.simulator.journal import JournalEntry
    from dispatcher.simulator.settings import SimulatorSettings

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
    """One task as it stands at a moment."""

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
    """All workflow tasks of the account. Thread-safe."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._entries: list[JournalEntry] = []
        self._by_id: dict[str, JournalEntry] = {}

    def add(self, entry: JournalEntry) -> None:
        with self._lock:
            self._by_id[entry.task_id] = entry
            self._entries.append(entry)

    def entries(self) -> list[JournalEntry]:
        """Return the started tasks, in order of acceptance."""
        with self._lock:
            return list(self._entries)

    def get(self, task_id: str, now: datetime) -> TaskView | None:
        """Return a task as it stands; the listing delay does not apply."""
        with self._lock:
            entry = self._by_id.get(task_id)
        return None if entry is None else self.view(entry, now)

    def page(self, wanted: TaskFilter, cursor: Cursor, now: datetime) -> Page[TaskView]:
        """Return a page of the tasks that listings show now, newest first."""
        listed = now - self._settings.listing_delay
        page = cut(self.entries(), cursor, lambda entry: entry.at <= listed and self._wanted(wanted, entry))
        return Page([self.view(entry, now) for entry in page.items], page.next_token)

    def final_at(self, entry: JournalEntry) -> datetime:
        """Return when the task is or was final."""
        return entry.at + self._settings.queue_duration + self._settings.task_duration

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

    def view(self, entry: JournalEntry, now: datetime) -> TaskView:
        """Return a task as it stands."""
        workflow = self._workflow(entry)
        ends_at = self.final_at(entry)
        if now < entry.at + self._settings.queue_duration:
            return TaskView(entry, workflow, TaskStatus.INIT, None)
        if now < ends_at:
            return TaskView(entry, workflow, TaskStatus.PROCESSING, None)
        media = MediaInput.parse(entry.task_input).media
        failed = any(fnmatchcase(media, pattern) for pattern in workflow.failing)
        return TaskView(entry, workflow, TaskStatus.FAILED if failed else TaskStatus.SUCCEED, ends_at)

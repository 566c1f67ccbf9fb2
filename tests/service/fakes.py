"""Strict stand-ins for what the services speak to, and settings made in one line.

A fake that is asked for something it was not told to expect remembers it; the fixture then fails the test,
also where the product turns an exception into an outcome.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from dispatcher.core.calls import Api, EditingCall, Endpoint, RegisterCall, ServiceTask, WorkflowCall
from dispatcher.core.dispatch import attempt_token
from dispatcher.core.events import ObjectEvent
from dispatcher.core.extensions import MEDIA
from dispatcher.core.jobs import EditingJob, JobFilter, Order
from dispatcher.core.location import Location, Names
from dispatcher.core.ratelimit import Rate
from dispatcher.core.rules import Rule, RuleSet, WorkflowAction
from dispatcher.core.settings import (
    Addressing,
    BucketSettings,
    Credentials,
    LedgerSettings,
    OverlapPolicy,
    PollSettings,
    Settings,
    UncertainSettings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dispatcher.core.calls import Call, TaskQuery
    from dispatcher.core.jobs import Window
    from dispatcher.core.outcomes import Outcome
    from dispatcher.errors import DispatcherError

    Answer = Outcome | Exception | Callable[[Call], Outcome]

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
MODIFIED = datetime(2026, 3, 14, 11, tzinfo=UTC)
ENDPOINT = Endpoint("cn-hangzhou", "https://ice.cn-hangzhou.aliyuncs.com")
OTHER_ENDPOINT = Endpoint("cn-beijing", "https://ice.cn-beijing.aliyuncs.com")
TARGET = "default/cn-hangzhou/StartWorkflow"
PATIENT = 30.0
"""Seconds after which something that never happens fails a test."""


@dataclass
class Clock:
    """A clock that only a test moves."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def later(self, **wait: float) -> None:
        self.now += timedelta(**wait)


def make_rule(rule_id: str = "r", prefix: str = "in/", bucket: str = "b", **changes: Any) -> Rule:
    """A rule that starts workflow `wf` for media under `in/`."""
    rule = Rule(rule_id, rule_id, Location(bucket, prefix), MEDIA, WorkflowAction("wf"))
    return replace(rule, **changes)


def make_bucket(name: str = "b", ims: Endpoint = ENDPOINT) -> BucketSettings:
    return BucketSettings(name, ims.region, f"https://s3.oss-{ims.region}.aliyuncs.com", Addressing.VIRTUAL, True, ims)


def make_settings(*rules: Rule, **changes: Any) -> Settings:
    """Settings with these rules (one that `make_rule` makes, without any), a high rate and few calls at once."""
    given = rules or (make_rule(),)
    buckets = {rule.input.bucket: make_bucket(rule.input.bucket) for rule in given}
    settings = Settings(
        path=Path("oss-dispatcher.yaml"),
        names=Names(buckets=frozenset(buckets)),
        buckets=buckets,
        rules=RuleSet(given),
        credentials=Credentials(),
        poll=PollSettings(),
        overlap=OverlapPolicy.WARN,
        rates={api: Rate(10_000) for api in Api},
        concurrent_calls=4,
        not_started_codes=frozenset(),
        call_timeout=timedelta(seconds=10),
        drain_timeout=timedelta(seconds=PATIENT),
        uncertain=UncertainSettings(timedelta(seconds=60), timedelta(seconds=60), 3),
        ledger=LedgerSettings("sqlite://"),
    )
    return replace(settings, **changes)


def seen(key: str, etag: str | None = "e1", size: int | None = 7, **changes: Any) -> ObjectEvent:
    """A sighting of an object in bucket `b` by its listing."""
    event = ObjectEvent("b", key, etag, size, MODIFIED, "Listed", "poll:b/in/")
    return replace(event, **changes)


def key_of(call: Call) -> str:
    """What the script of a call is kept under: the key it names, else its media id or client token."""
    match call:
        case WorkflowCall():
            media: str = json.loads(call.task_input)["Media"]
            return media.removeprefix("oss://b/")
        case RegisterCall():
            return call.input_url.removeprefix("oss://b/")
        case EditingCall():
            return call.client_token
        case _:
            assert_never(call)


class ScriptedTarget:
    """A Target that gives the answers a test laid out for each key, and knows how many calls run at once."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.unexpected: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self._answers: defaultdict[str, deque[Answer]] = defaultdict(deque)
        self._changed = threading.Condition()
        self._open = True

    def expect(self, key: str, *answers: Answer) -> None:
        self._answers[key].extend(answers)

    def close_gate(self) -> None:
        """Let calls begin but not end until `open_gate`."""
        self._open = False

    def open_gate(self) -> None:
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def wait_for_calls(self, number: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.at_once >= number, PATIENT), f"{self.at_once} calls run"

    def start(self, call: Call) -> Outcome:
        key = key_of(call)
        with self._changed:
            self.calls.append(call)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._open, PATIENT)
            self.at_once -= 1
            if not self._answers[key]:
                self.unexpected.append(key)
                raise AssertionError(f"nobody expects a call for {key}")
            answer = self._answers[key].popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer(call) if callable(answer) else answer


def service_task(
    task_id: str,
    *,
    dispatch: str | None = None,
    attempt: int = 1,
    key: str = "in/a.mp4",
    status: str = "Processing",
    workflow: str = "wf",
    results: str | None = None,
    user_data: str | None = None,
    at: datetime = NOW,
) -> ServiceTask:
    """A task as the service tells it; without `dispatch` it carries no id of ours."""
    mine = {} if dispatch is None else {"DispatchId": attempt_token(dispatch, attempt)}
    final = status in {"Succeed", "Failed", "Canceled"}
    return ServiceTask(
        task_id=task_id,
        workflow_id=workflow,
        status=status,
        task_input=json.dumps({"Type": "OSS", "Media": f"oss://b/{key}"}),
        user_data=json.dumps(mine) if user_data is None else user_data,
        created_at=at,
        finished_at=at if final else None,
        activity_results=results,
    )


@dataclass
class ScriptedTasks:
    """The service's task list as a test wrote it: `pages` for each workflow, an error ends the listing there."""

    pages: dict[str, list[Sequence[ServiceTask] | DispatcherError]] = field(default_factory=dict)
    single: dict[str, ServiceTask | DispatcherError | None] = field(default_factory=dict)
    queries: list[TaskQuery] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def list_tasks(self, query: TaskQuery) -> Iterator[ServiceTask]:
        self.queries.append(query)
        if query.workflow_id not in self.pages:
            self.unexpected.append(query.workflow_id)
            raise AssertionError(f"nobody expects a sweep of {query.workflow_id}")
        for page in self.pages[query.workflow_id]:
            if isinstance(page, Exception):
                raise page
            yield from page

    def get_task(self, endpoint: Endpoint, task_id: str) -> ServiceTask | None:
        assert endpoint.url
        self.asked.append(task_id)
        if task_id not in self.single:
            self.unexpected.append(task_id)
            raise AssertionError(f"nobody expects a look at task {task_id}")
        found = self.single[task_id]
        if isinstance(found, Exception):
            raise found
        return found


def editing_job(
    job_id: str,
    *,
    dispatch: str | None = None,
    attempt: int = 1,
    status: str = "Processing",
    at: datetime = NOW,
    **told: Any,
) -> EditingJob:
    """A producing job as the service tells it; without `dispatch` it carries no id of ours."""
    mine = {} if dispatch is None else {"DispatchId": attempt_token(dispatch, attempt)}
    final = status in {"Success", "Failed"}
    told = {"created_at": at, "completed_at": at if final else None} | told
    return EditingJob(job_id, status, user_data=json.dumps(mine), **told)


@dataclass
class ScriptedJobs:
    """The service's list of producing jobs as a test wrote it; None: nobody expects a look. An error ends it there."""

    pages: list[Sequence[EditingJob] | DispatcherError] | None = None
    single: dict[str, EditingJob | DispatcherError | None] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def list_jobs(self, endpoint: Endpoint, asked: JobFilter, window: Window) -> Iterator[EditingJob]:
        assert endpoint.url
        assert asked == JobFilter(order=Order.ASC), "nothing may be left out of a sweep"
        self.windows.append(window)
        if self.pages is None:
            self.unexpected.append("list")
            raise AssertionError("nobody expects a sweep of jobs")
        for page in self.pages:
            if isinstance(page, Exception):
                raise page
            yield from page

    def get_job(self, endpoint: Endpoint, job_id: str) -> EditingJob | None:
        assert endpoint.url
        self.asked.append(job_id)
        if job_id not in self.single:
            self.unexpected.append(job_id)
            raise AssertionError(f"nobody expects a look at job {job_id}")
        found = self.single[job_id]
        if isinstance(found, Exception):
            raise found
        return found

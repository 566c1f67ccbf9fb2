"""Whose start was it: tasks and jobs of the service as one kind of value, beside the rules they may be of. Pure.

A ledger that was lost or is old must know its own starts among those of the account: by the id that
they carry, and by what they read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.core.calls import Api
from dispatcher.core.dispatch import content_identity, dispatch_id
from dispatcher.core.rules import EditingAction, InputType, WorkflowAction
from dispatcher.core.tracing import input_of, objects_under_rules, reads_asset, token_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from dispatcher.core.calls import Endpoint, ServiceTask
    from dispatcher.core.jobs import EditingJob
    from dispatcher.core.location import Names
    from dispatcher.core.rules import Rule, RuleSet


@dataclass(frozen=True, slots=True)
class Start:
    """One start that the service tells of.

    `token` is the dispatch id and the attempt that it carries, None if nothing of our form. `input` is the object
    that its input names, and `objects` are those under a rule that it may read. `of_a_rule`: by what it reads, or
    by its template, it may be of one of the rules; a start of another dispatcher in the same account is not.
    """

    api: Api
    endpoint: Endpoint
    task_id: str
    workflow_id: str
    status: str
    token: tuple[str, int] | None
    input: tuple[str, str] | None
    objects: tuple[tuple[str, str], ...]
    of_a_rule: bool
    created_at: datetime | None
    finished_at: datetime | None
    error: str | None = None


def start_of_task(task: ServiceTask, endpoint: Endpoint, rules: RuleSet, names: Names) -> Start:
    """Return the start of a workflow task."""
    objects = objects_under_rules(task.task_input, rules, names)
    return Start(
        api=Api.START_WORKFLOW,
        endpoint=endpoint,
        task_id=task.task_id,
        workflow_id=task.workflow_id,
        status=task.status,
        token=token_of(task.user_data),
        input=input_of(task.task_input, names),
        objects=objects,
        of_a_rule=bool(objects) or _reads_media_of_a_rule(task, rules),
        created_at=task.created_at,
        finished_at=task.finished_at,
    )


def start_of_job(job: EditingJob, endpoint: Endpoint, rules: RuleSet) -> Start:
    """Return the start of an editing job: what it reads is not told in a form that names an object."""
    return Start(
        api=Api.SUBMIT_MEDIA_PRODUCING_JOB,
        endpoint=endpoint,
        task_id=job.job_id,
        workflow_id="",
        status=job.status,
        token=token_of(job.user_data or ""),
        input=None,
        objects=(),
        of_a_rule=any(_is_made_by(rule.action, job) for rule in rules.rules if isinstance(rule.action, EditingAction)),
        created_at=job.created_at,
        finished_at=job.completed_at,
        error=" ".join(text for text in (job.code, job.message) if text) or None,
    )


def ids_of(rule: Rule, bucket: str, key: str, etag: str, size: int) -> Iterator[str]:
    """Yield the ids of live dispatches of this content: that of the rule first, then those of its former names."""
    identity = content_identity(etag, size)
    for name in (rule.id, *rule.was):
        yield dispatch_id(name, bucket, key, identity)


def _reads_media_of_a_rule(task: ServiceTask, rules: RuleSet) -> bool:
    """Tell whether the task reads a media asset, by a workflow that a rule gives media assets to."""
    return reads_asset(task.task_input) and any(
        isinstance(rule.action, WorkflowAction)
        and rule.action.input_type is InputType.MEDIA
        and rule.action.workflow_id == task.workflow_id
        for rule in rules.rules
    )


def _is_made_by(action: EditingAction, job: EditingJob) -> bool:
    if action.template_id is not None:
        return job.template_id == action.template_id
    if action.project_id is not None:
        return job.project_id == action.project_id
    return job.template_id is None  # a timeline names nothing that a listing shows

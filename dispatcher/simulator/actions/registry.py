"""Every action by service version and name: what the version header and the action header choose from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.simulator.actions import batches, editing, media, projects, quick, workflow

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dispatcher.simulator.account import Account
    from dispatcher.simulator.actions.parameters import Parameters

ICE, IMM = "2020-11-09", "2020-09-30"
PRODUCTS = {ICE: "ice", IMM: "imm"}
"""The name of each service, as it stands in RAM actions, by its version."""


@dataclass(frozen=True, slots=True)
class Starting:
    """StartWorkflow: it has its own kind of journal line."""


@dataclass(frozen=True, slots=True)
class Reading:
    """An action that only tells: `answer` gives its fields, or raises Refused."""

    answer: Callable[[Parameters, Account, datetime], dict[str, object]]


@dataclass(frozen=True, slots=True)
class Changing:
    """An action that changes the account: `decide` gives the ids of its answer, or raises Refused.

    Only an action with `check_token` takes a client token.
    """

    decide: Callable[[Parameters, Account, datetime], dict[str, str]]
    check_token: Callable[[str], None] | None = None


Action = Starting | Reading | Changing

ACTIONS: dict[tuple[str, str], Action] = {
    (ICE, "StartWorkflow"): Starting(),
    (ICE, "GetWorkflowTask"): Reading(workflow.get_task),
    (ICE, "ListWorkflowTasks"): Reading(workflow.list_tasks),
    (ICE, "SubmitMediaProducingJob"): Changing(editing.submit_job, editing.check_token),
    (ICE, "GetMediaProducingJob"): Reading(editing.get_job),
    (ICE, "ListMediaProducingJobs"): Reading(editing.list_jobs),
    (ICE, "ListBatchMediaProducingJobs"): Reading(quick.list_quick_jobs),
    (ICE, "RegisterMediaInfo"): Changing(media.register_media, media.check_token),
    (ICE, "GetMediaInfo"): Reading(media.get_media),
    (IMM, "CreateBatch"): Changing(batches.create_batch),
    (IMM, "GetBatch"): Reading(batches.get_batch),
    (IMM, "ListBatches"): Reading(batches.list_batches),
    (IMM, "SuspendBatch"): Changing(batches.suspend_batch),
    (IMM, "ResumeBatch"): Changing(batches.resume_batch),
    (IMM, "UpdateBatch"): Changing(batches.update_batch),
    (IMM, "DeleteBatch"): Changing(batches.delete_batch),
    (IMM, "GetProject"): Reading(projects.get_project),
    (IMM, "GetOSSBucketAttachment"): Reading(projects.get_attachment),
    (IMM, "ListAttachedOSSBuckets"): Reading(projects.list_attached),
}

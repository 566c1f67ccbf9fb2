"""IMM's batches: CreateBatch, GetBatch, ListBatches, SuspendBatch, ResumeBatch, UpdateBatch and DeleteBatch.

Which state allows which call stands in the description of each of the calls. There is no client token.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

from dispatcher.simulator.actions.batch_input import check_actions, check_input, check_notification, check_tags
from dispatcher.simulator.actions.parameters import Parameters, invalid, one_of, required, whole_number
from dispatcher.simulator.batches import BatchState
from dispatcher.simulator.signature import Refused
from dispatcher.simulator.times import format_nanos

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from dispatcher.simulator.account import Account
    from dispatcher.simulator.batches import BatchView

PAGE = 100
SORTS = ("CreateTime", "UpdateTime")
ORDERS = ("ASC", "DES")
SUSPENDABLE = (BatchState.RUNNING,)
RESUMABLE = (BatchState.SUSPENDED, BatchState.FAILED)
CHANGEABLE = (BatchState.READY, BatchState.FAILED)
REMOVABLE = (BatchState.READY, BatchState.FAILED, BatchState.SUSPENDED, BatchState.SUCCEEDED)


def create_batch(parameters: Parameters, account: Account, _now: datetime) -> dict[str, str]:
    """Return the id of a batch that may begin, else raise Refused."""
    project = check_project(parameters, account)
    for name in ("Input", "Actions"):
        required(parameters, name)
    bucket, prefix = check_input(parameters)
    if account.settings.projects is not None and bucket not in account.buckets_of(project):
        raise Refused(400, "BucketNotAttached", f"The bucket {bucket} is not bound to the project {project}.")
    check_actions(parameters, bucket, prefix)
    check_notification(parameters)
    check_tags(parameters)
    role = required(parameters, "ServiceRole")
    roles = account.settings.service_roles
    if roles is not None and role not in roles:
        raise Refused(404, "EntityNotExist.Role", f"The role {role} does not exist.")
    return {"Id": f"batch-{uuid.uuid4()}"}


def get_batch(parameters: Parameters, account: Account, now: datetime) -> dict[str, object]:
    """Return the answer of GetBatch, else raise Refused."""
    return {"Batch": _batch_fields(_found(parameters, account, now))}


def suspend_batch(parameters: Parameters, account: Account, now: datetime) -> dict[str, str]:
    """Raise Refused unless the batch is running."""
    return _in_state(parameters, account, now, SUSPENDABLE)


def resume_batch(parameters: Parameters, account: Account, now: datetime) -> dict[str, str]:
    """Raise Refused unless the batch is suspended or failed."""
    return _in_state(parameters, account, now, RESUMABLE)


def delete_batch(parameters: Parameters, account: Account, now: datetime) -> dict[str, str]:
    """Raise Refused if the batch is running."""
    return _in_state(parameters, account, now, REMOVABLE)


def update_batch(parameters: Parameters, account: Account, now: datetime) -> dict[str, str]:
    """Raise Refused unless the batch is ready or failed and the change makes sense. The state stays as it is."""
    view = _found(parameters, account, now)
    after = dict(view.batch.fields) | {name: text for name, text in parameters.items() if text}
    bucket, prefix = check_input(after)
    check_actions(after, bucket, prefix)
    check_tags(after)
    return _in_state(parameters, account, now, CHANGEABLE)


def list_batches(parameters: Parameters, account: Account, now: datetime) -> dict[str, object]:
    """Return one page of ListBatches, oldest first unless Order is DES; else raise Refused.

    TagSelector is `key=value`, several joined by commas. A token is the place after the last batch
    that was shown; it stays good when batches come and go.
    """
    project = check_project(parameters, account)
    size = whole_number(parameters, "MaxResults", PAGE, 0, PAGE) or PAGE
    state = one_of(parameters, "State", list(BatchState))
    by_update = one_of(parameters, "Sort", SORTS) == "UpdateTime"
    descending = one_of(parameters, "Order", ORDERS) == "DES"
    tags = _selector(parameters.get("TagSelector", ""))
    views = sorted(
        (
            view
            for view in account.batches.listed(now)
            if view.batch.project == project
            and (state is None or view.state == state)
            and tags.items() <= view.batch.tags.items()
        ),
        key=lambda view: _place(view, by_update=by_update),
        reverse=descending,
    )
    token = parameters.get("NextToken")
    if token:
        views = [
            view
            for view in views
            if _place(view, by_update=by_update) != token
            and (_place(view, by_update=by_update) > token) is not descending
        ]
    shown = views[:size]
    following = _place(shown[-1], by_update=by_update) if len(views) > size else ""
    return {"NextToken": following, "Batches": [_batch_fields(view) for view in shown]}


def check_project(parameters: Parameters, account: Account) -> str:
    """Return the name of the project, else raise Refused."""
    name = required(parameters, "ProjectName")
    if account.settings.project(name) is None:
        raise Refused(404, "ResourceNotFound", f"The project {name} does not exist.")
    return name


def _place(view: BatchView, *, by_update: bool) -> str:
    at = view.updated_at if by_update else view.batch.created_at
    return f"{format_nanos(at)} {view.batch.batch_id}"


def _selector(text: str) -> dict[str, object]:
    tags: dict[str, object] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise invalid("TagSelector", "write key=value")
        tags[key] = value
    return tags


def _found(parameters: Parameters, account: Account, now: datetime) -> BatchView:
    project = check_project(parameters, account)
    view = account.batches.get(project, required(parameters, "Id"), now)
    if view is None:
        raise Refused(404, "ResourceNotFound", "The batch does not exist.")
    return view


def _in_state(
    parameters: Parameters, account: Account, now: datetime, states: Collection[BatchState]
) -> dict[str, str]:
    state = _found(parameters, account, now).state
    if state not in states:
        raise Refused(409, "InvalidBatchState", f"The batch is {state}; it must be {' or '.join(states)}.")
    return {}


def _batch_fields(view: BatchView) -> dict[str, object]:
    batch = view.batch
    fields: dict[str, object] = {name: json.loads(text) for name, text in batch.fields.items() if text}
    fields |= {
        "Id": batch.batch_id,
        "ServiceRole": batch.service_role,
        "State": str(view.state),
        "Phase": "FullScanning",
        "Marker": "",
        "Statistic": {"SubmitSuccess": view.done, "SubmitFailure": 0, "SkipFiles": 0},
        "CreateTime": format_nanos(batch.created_at),
        "UpdateTime": format_nanos(view.updated_at),
    }
    if view.state is BatchState.FAILED:
        fields["Error"] = "The service role may not read the bucket."
    return fields

"""Which of the service's calls a configuration needs: to start, and to follow what was started. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from dispatcher.core.calls import Api
from dispatcher.core.rules import EditingAction, InputType, WorkflowAction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dispatcher.core.rules import Action, Rule

_WORKFLOW = (Api.START_WORKFLOW, Api.LIST_WORKFLOW_TASKS, Api.GET_WORKFLOW_TASK)
_REGISTERING = (Api.REGISTER_MEDIA_INFO, Api.GET_MEDIA_INFO)
_EDITING = (Api.SUBMIT_MEDIA_PRODUCING_JOB, Api.LIST_MEDIA_PRODUCING_JOBS, Api.GET_MEDIA_PRODUCING_JOB)


def apis_needed(rules: Iterable[Rule]) -> tuple[Api, ...]:
    """Return the calls that these rules need, each once."""
    return tuple(dict.fromkeys(api for rule in rules for api in _needed(rule.action)))


def _needed(action: Action) -> tuple[Api, ...]:
    match action:
        case WorkflowAction(input_type=InputType.MEDIA):
            return _REGISTERING + _WORKFLOW
        case WorkflowAction():
            return _WORKFLOW
        case EditingAction():
            return _EDITING
        case _:
            assert_never(action)

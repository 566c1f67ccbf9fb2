"""The configuration's `imm:` as the program understands it, and what it needs to be allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.core.batches import ImmApi

if TYPE_CHECKING:
    from dispatcher.config.showing_sources import Json
    from dispatcher.core.batches import BatchAction, ImmSettings

_OF_PROJECTS = tuple(api for api in ImmApi if api is not ImmApi.GET_ATTACHMENT)


def shown_imm(imm: ImmSettings) -> Json:
    """Return `imm:` with its defaults written out; it loads again."""
    shown: Json = {"project": imm.project, "service_role": imm.service_role, "tags": dict(imm.tags)}
    if imm.endpoint is not None:
        shown["endpoint"] = imm.endpoint
    if imm.actions:
        shown["actions"] = [shown_action(action) for action in imm.actions]
    if imm.topic is not None:
        shown["notification"] = {"mns_topic": imm.topic}
    return shown


def shown_action(action: BatchAction) -> Json:
    """Return an action as it is written in a file."""
    shown: Json = {"name": action.name, "parameters": list(action.parameters)}
    return shown if action.fast_fail is None else {**shown, "fast_fail_policy": str(action.fast_fail)}


def imm_statements(imm: ImmSettings) -> list[Json]:
    """Return the statements of a RAM policy that allow batches in the project, and looking at bindings and the role."""
    project = f"acs:imm:*:*:project/{imm.project}"
    return [
        {
            "Effect": "Allow",
            "Action": [f"imm:{api}" for api in _OF_PROJECTS],
            "Resource": [project, f"{project}/*"],
        },
        {"Effect": "Allow", "Action": [f"imm:{ImmApi.GET_ATTACHMENT}"], "Resource": ["*"]},
        {"Effect": "Allow", "Action": ["ram:GetRole"], "Resource": [f"acs:ram:*:*:role/{imm.service_role}"]},
    ]

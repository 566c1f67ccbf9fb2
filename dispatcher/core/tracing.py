"""From a task of the service back to what started it: the id it carries, the object it reads. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dispatcher.core.dispatch import parse_attempt_token
from dispatcher.core.location import parse_object
from dispatcher.core.rendering import ID_FIELD
from dispatcher.core.rules import InputType, WorkflowAction
from dispatcher.errors import LocationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatcher.core.location import Names
    from dispatcher.core.rules import Rule, RuleSet


def token_of(user_data: str) -> tuple[str, int] | None:
    """Return (dispatch id, attempt) that a task's UserData carries, None if it is not of our form."""
    token = _field(user_data, ID_FIELD)
    return parse_attempt_token(token) if token is not None else None


def media_of(task_input: str) -> str | None:
    """Return the media id or URL that a task reads, None if its input names none."""
    return _field(task_input, "Media")


def reads_asset(task_input: str) -> bool:
    """Tell whether a task reads a registered media asset (Type Media): its input is an id, not an object."""
    kind = _field(task_input, "Type")
    return kind is not None and kind.lower() == "media"


def input_of(task_input: str, names: Names) -> tuple[str, str] | None:
    """Return (bucket, key) of the object that a task reads, None if its input is no URL of one.

    An input of type Media names a media asset, and which object that is only its registration tells.
    """
    media = media_of(task_input)
    if media is None or "://" not in media or reads_asset(task_input):
        return None
    try:
        return parse_object(media, names)
    except LocationError:
        return None


def started_by_rule(
    task_input: str,
    workflow_id: str,
    rules: RuleSet,
    names: Names,
    registered: tuple[str, str] | None = None,
) -> tuple[tuple[str, str], tuple[Rule, ...]] | None:
    """Return the object that a task reads and the rules that start this workflow for it; None without any.

    The object is named by the input's URL itself, or, where a rule's `media_url` leads to a mirror
    of its bucket, by what stands there for the key. Where the task reads a media asset it is
    `registered`, the object for which the ledger knows that id; without one nothing is told.
    """
    if reads_asset(task_input):
        candidates = [registered]
    else:
        candidates = list(dict.fromkeys([input_of(task_input, names), *_mirrored(task_input, workflow_id, rules)]))
    for place in candidates:
        if place is None:
            continue
        started = tuple(rule for rule in rules.matching(*place, None) if rule.workflow_id == workflow_id)
        if started:
            return place, started
    return None


def objects_under_rules(task_input: str, rules: RuleSet, names: Names) -> tuple[tuple[str, str], ...]:
    """Return the objects that a task may read and that a rule matches, whichever workflow it runs.

    A rule keeps its dispatches when its `workflow:` changes, so that tasks of an earlier one are its own too.
    """
    candidates = dict.fromkeys([input_of(task_input, names), *_mirrored(task_input, None, rules)])
    return tuple(place for place in candidates if place is not None and rules.matching(*place, None))


def _mirrored(task_input: str, workflow_id: str | None, rules: RuleSet) -> Iterator[tuple[str, str]]:
    """Yield what stands for the key in the input, by the rules that start this workflow (None: any)."""
    media = media_of(task_input)
    for rule in rules.rules:
        if not isinstance(rule.action, WorkflowAction) or rule.action.input_type is not InputType.OSS:
            continue
        head, placeholder, rest = rule.action.media_url.replace("{bucket}", rule.input.bucket).partition("{key}")
        if media is None or workflow_id not in (None, rule.action.workflow_id):
            continue
        if not placeholder or rest or "{" in head:
            continue
        if media.startswith(head) and len(media) > len(head):
            yield rule.input.bucket, media[len(head) :]


def _field(text: str, name: str) -> str | None:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):  # text of strangers: any depth
        return None
    value = fields.get(name) if isinstance(fields, dict) else None
    return value if isinstance(value, str) else None

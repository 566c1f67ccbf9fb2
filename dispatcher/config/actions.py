"""What a rule starts: from its `workflow:` or `editing:` to an action, with the documented limits checked.

A value that waits for an object is judged here as far as it is known, and again when it is rendered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from dispatcher.config.editing_models import ONE_OF, EditingModel
from dispatcher.core.dispatch import ID_LENGTH
from dispatcher.core.editing import broken_limits, resolved
from dispatcher.core.media_urls import elsewhere, not_registrable, service_region
from dispatcher.core.rendering import render_user_data
from dispatcher.core.rules import EditingAction, InputType, OutputMediaTarget, WorkflowAction
from dispatcher.core.templates import ObjectFields, bind_value
from dispatcher.core.unsendable import USER_DATA_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.config.document import Node
    from dispatcher.config.models import RuleModel, WorkflowModel
    from dispatcher.config.problems import Faults, Path
    from dispatcher.core.rules import Action, Rule
    from dispatcher.core.settings import BucketSettings

_ACTIONS = ("workflow", "editing")
_LAST_ATTEMPT = 999
"""The attempt whose id is as long as any that will be seen."""


def action_of(model: RuleModel) -> Action | None:
    """Return what a rule starts; None where it says nothing, or more than one thing."""
    match model.workflow, model.editing:
        case (workflow, None) if workflow is not None:
            return _workflow(workflow)
        case (None, editing) if editing is not None:
            return _editing(editing) if sum(getattr(editing, name) is not None for name in ONE_OF) == 1 else None
        case _:
            return None


def _workflow(model: WorkflowModel) -> WorkflowAction:
    return WorkflowAction(
        model.id, model.media_url, model.skip_input_verification, model.user_data, InputType(model.input_type)
    )


def _editing(model: EditingModel) -> EditingAction:
    return EditingAction(
        output_media_config=model.output_media_config,
        template_id=model.template,
        project_id=model.project,
        timeline=model.timeline,
        clips_param=model.clips_param,
        output_media_target=OutputMediaTarget(model.output_media_target),
        editing_produce_config=model.editing_produce_config,
        media_metadata=model.media_metadata,
        project_metadata=model.project_metadata,
        source=model.source,
        user_data=model.user_data,
    )


@dataclass(frozen=True, slots=True)
class ActionCheck:
    """Finds what is wrong with the actions of rules, at the lines where it is written."""

    root: Node
    buckets: Mapping[str, BucketSettings]
    faults: Faults

    def check_choices(self) -> None:
        """Each rule has one action, and each editing job is made of one thing; read also from rules with faults."""
        items = self.root.below("rules")
        for place, item in enumerate(items.value if items is not None and isinstance(items.value, list) else []):
            if isinstance(item.value, dict):
                self._check_choice(item, ("rules", place))

    def _check_choice(self, rule: Node, path: Path) -> None:
        written = _in_order(rule, [name for name in _ACTIONS if rule.below(name) is not None])
        if not written:
            self._fault(
                (*path, _ACTIONS[0]), "this key is missing (a workflow id); or write editing: for an editing job"
            )
        elif len(written) > 1:
            self._fault(
                (*path, written[1]), f"{written[0]} is written too, and a rule starts one thing; keep one of them"
            )
        editing = rule.below("editing")
        if editing is None or not (editing.value is None or isinstance(editing.value, dict)):
            return
        parts = _in_order(
            editing, [name for name in ONE_OF if (part := editing.below(name)) and part.value is not None]
        )
        if not parts:
            self._fault((*path, "editing"), f"write exactly one of {', '.join(ONE_OF)} in it")
        for further in parts[1:]:
            self._fault((*path, "editing", further), f"{parts[0]} is written too; keep one of {', '.join(ONE_OF)}")

    def check(self, rule: Rule, place: int) -> None:
        """The limits of the service, as far as they can be judged without an object."""
        self._check_user_data(rule, place)
        match rule.action:
            case WorkflowAction():
                if rule.action.input_type is InputType.MEDIA:
                    self._check_registrable(rule, rule.action.media_url, place)
            case EditingAction():
                action = resolved(rule.action, lambda value: bind_value(value, rule.input.bucket, rule.id))
                for broken in broken_limits(action, self._region(rule), self._regions()):
                    self._fault(("rules", place, "editing", *broken.path), broken.message)
            case _:
                assert_never(rule.action)

    def _check_registrable(self, rule: Rule, media_url: str, place: int) -> None:
        url, region = bind_value(media_url, rule.input.bucket, rule.id), self._region(rule)
        fault = not_registrable(url)
        if fault is None and region is not None:
            fault = elsewhere(url, region, self._regions())
        if fault is not None:
            self._fault(("rules", place, "workflow", "media_url"), fault)

    def _check_user_data(self, rule: Rule, place: int) -> None:
        sample = ObjectFields(rule.input.bucket, "a.mp4", "0" * 32, 1, rule.id, "a" * ID_LENGTH)
        size = len(render_user_data(rule.action.user_data, sample, _LAST_ATTEMPT).encode())
        if size > USER_DATA_LIMIT:
            section = _ACTIONS[0] if isinstance(rule.action, WorkflowAction) else _ACTIONS[1]
            self._fault(
                ("rules", place, section, "user_data"),
                f"this is {size} bytes with the dispatch id, and the service takes {USER_DATA_LIMIT};"
                f" shorten it by {size - USER_DATA_LIMIT} bytes or more",
            )

    def _region(self, rule: Rule) -> str | None:
        bucket = self.buckets.get(rule.input.bucket)
        return None if bucket is None else service_region(bucket.ims)

    def _regions(self) -> dict[str, str]:
        on_oss = [bucket for bucket in self.buckets.values() if bucket.on_oss]
        named = {bucket.name: bucket.region for bucket in on_oss}
        return named | {host: bucket.region for bucket in on_oss for host in bucket.hosts}

    def _fault(self, path: Path, message: str) -> None:
        self.faults.add(self.root.at(path).origin, path, message)


def _in_order(node: Node, names: list[str]) -> list[str]:
    """Return keys in the order of the file."""
    return sorted(names, key=lambda name: node.at((name,)).origin.line)

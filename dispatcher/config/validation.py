"""From the tree to the models, with every complaint in the operator's words.

Rules and buckets are validated one by one, so that one wrong rule hides nothing of the others.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, Field, ValidationError

from dispatcher.config import callback_models, imm_models, models, source_models
from dispatcher.config.document import Node
from dispatcher.config.editing_models import EditingModel
from dispatcher.config.fields import FaultWithinError
from dispatcher.config.strict import CredentialsModel

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from dispatcher.config.problems import Faults, Path

M = TypeVar("M", bound=BaseModel)

_MODELS: dict[tuple[str, ...], type[BaseModel]] = {
    (): models.ConfigModel,
    ("buckets",): models.BucketModel,
    ("buckets", "credentials"): CredentialsModel,
    ("credentials",): CredentialsModel,
    ("ims",): models.ImsModel,
    ("imm",): imm_models.ImmModel,
    ("imm", "actions"): imm_models.ActionModel,
    ("imm", "notification"): imm_models.NotificationModel,
    ("actions",): imm_models.ActionModel,  # of a batch file, as the next
    ("notification",): imm_models.NotificationModel,
    ("sources", "credentials"): CredentialsModel,
    ("rules",): models.RuleModel,
    ("rules", "workflow"): models.WorkflowModel,
    ("rules", "editing"): EditingModel,
    ("limits",): models.LimitsModel,
    ("uncertain",): models.UncertainModel,
    ("ledger",): models.LedgerModel,
    ("callbacks",): callback_models.CallbacksModel,
    ("http",): source_models.HttpModel,
    ("http", "public"): source_models.PublicModel,
}
_SECRET_KEYS = {
    "access_key_id",
    "access_key_secret",
    "security_token",
    "token",
    "hmac_secret",
    "eventbridge_token",
    "auth_key",
}


def keys_of(path: Path) -> tuple[str, ...]:
    """Return the keys that may stand in the mapping at a path, as they are written."""
    words = _words(path)
    if words == ("sources",):
        return tuple(dict.fromkeys(key for model in source_models.BY_TYPE.values() for key in _keys(model)))
    model = _MODELS.get(words)
    return () if model is None else _keys(model)


def _keys(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


def validated(model: type[M], node: Node, path: Path, root: Node, faults: Faults) -> M | None:
    """Return the model of a part of the tree, None after adding what is wrong with it."""
    try:
        return model.model_validate(node.plain())
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _add(detail, path, root, faults, _keys(model))
        return None


def validated_items(model: type[M], root: Node, key: str, faults: Faults) -> dict[int, M]:
    """Return the models of a list's items by their place; wrong items are missing."""
    items = root.below(key)
    if items is None or not isinstance(items.value, list):
        return {}
    found = {place: validated(model, item, (key, place), root, faults) for place, item in enumerate(items.value)}
    return {place: item for place, item in found.items() if item is not None}


def validated_sources(root: Node, faults: Faults) -> dict[int, source_models.SourceModel]:
    """Return the models of the sources by their place; wrong ones are missing."""
    items = root.below("sources")
    if items is None or not isinstance(items.value, list):
        return {}
    found: dict[int, source_models.SourceModel] = {}
    for place, item in enumerate(items.value):
        kind = item.below("type")
        model = source_models.BY_TYPE.get(str(kind.value)) if kind is not None else None
        if model is None:
            path = ("sources", place) if kind is None else ("sources", place, "type")
            if not item.broken:
                faults.add(root.at(path).origin, path, f"write type: one of {', '.join(source_models.BY_TYPE)}")
            continue
        source = validated(model, item, ("sources", place), root, faults)
        if source is not None:
            found[place] = source
    return found


def validated_frame(root: Node, faults: Faults) -> models.ConfigModel:
    """Return everything but the rules, buckets and sources; a wrong part is replaced by its default.

    The result is for finding further faults; it is used only when there are none.
    """
    if not isinstance(root.value, dict):
        raise TypeError(type(root.value))
    _check_list(root, "rules", faults)
    _check_list(root, "buckets", faults)
    _check_list(root, "sources", faults)
    listed = {"buckets": Node(root.origin, []), "rules": Node(root.origin, []), "sources": Node(root.origin, [])}
    frame = Node(root.origin, {**root.value, **listed})
    schema = _FrameModel
    found = validated(schema, frame, (), root, faults)
    while found is None:
        wrong = _wrong_keys(schema, frame)
        frame = Node(root.origin, {name: node for name, node in _entries(frame).items() if name not in wrong})
        found = validated(schema, frame, (), root, faults)
    return found


class _FrameModel(models.ConfigModel):
    """The whole without its rules, which are validated one by one."""

    rules: list[models.RuleModel] = Field(default_factory=list)


def _entries(node: Node) -> dict[str, Node]:
    return node.value if isinstance(node.value, dict) else {}


def _wrong_keys(schema: type[BaseModel], frame: Node) -> set[str]:
    try:
        schema.model_validate(frame.plain())
    except ValidationError as error:
        return {str(detail["loc"][0]) for detail in error.errors(include_url=False)}
    return set()


def _check_list(root: Node, key: str, faults: Faults) -> None:
    node = root.below(key)
    if node is None:
        if key == "rules":
            faults.add(
                root.origin, ("rules",), "there is no rule; write `rules:` and under it - name, input and workflow"
            )
    elif not isinstance(node.value, list) or not node.value:
        first = "type" if key == "sources" else "name"
        faults.add(node.origin, (key,), f"write a list: each of the {key} begins with `- {first}:`")


def _add(detail: ErrorDetails, path: Path, root: Node, faults: Faults, known: tuple[str, ...]) -> None:
    loc = (*path, *detail["loc"])
    cause = detail.get("ctx", {}).get("error")
    within = cause.path if isinstance(cause, FaultWithinError) else ()
    node = root.at((*loc, *within))
    if node.broken:
        return
    if len(detail["loc"]) != 1:
        known = keys_of(loc[:-1])
    faults.add(node.origin, (*loc, *within), _message(detail, loc, node, known))


_ADVICE = {
    "list_type": "write a list: [ , ] or one item a line, each behind a dash",
    "string_too_short": "this is empty; write a value or take the key out",
}


def _message(detail: ErrorDetails, loc: Path, node: Node, known: tuple[str, ...]) -> str:
    match detail["type"]:
        case "extra_forbidden":
            message = _unknown_key(str(loc[-1]), known)
        case "missing":
            message = "this key is missing; write it here"
        case "string_type":
            message = _not_text(loc, node)
        case "literal_error":
            message = f"write {detail['ctx']['expected']}"
        case "value_error":
            message = str(detail["ctx"]["error"])
        case "model_type" | "model_attributes_type" | "dict_type":
            message = f"write keys and values here: {', '.join(keys_of(loc)) or 'a mapping'}"
        case "string_pattern_mismatch":
            message = f"this holds a character that is not possible here; it must match {detail['ctx']['pattern']}"
        case kind:
            message = _ADVICE.get(kind, detail["msg"])
    return message


def _unknown_key(key: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(key, known, n=1, cutoff=0.6)
    advice = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(known)}"
    return f"unknown key `{key}`; {advice}"


def _not_text(loc: Path, node: Node) -> str:
    if isinstance(node.value, dict | list):
        return "write one text here"
    if node.value is None:
        return "this is empty; write a text"
    kind = "true or false" if isinstance(node.value, bool) else "a number"
    if loc[-1] in _SECRET_KEYS:
        return f"without quotes this is {kind}; quote it"
    return f'without quotes this is {kind}; quote it: "{node.raw}"'


def _words(path: Path) -> tuple[str, ...]:
    return tuple(part for part in path if isinstance(part, str))

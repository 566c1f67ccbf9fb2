"""What a batch works on and what it does: Input, Actions, Notification and Tags of CreateBatch and UpdateBatch."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from dispatcher.simulator.actions.parameters import Parameters, invalid, json_list, json_object

if TYPE_CHECKING:
    from collections.abc import Iterator

POLICIES = ("abort", "ignore")
_OUTPUT_URL = re.compile(r"oss://(?P<bucket>[^/,]+)/(?P<key>[^,]*)")


def check_input(parameters: Parameters) -> tuple[str, str]:
    """Return (bucket, prefix) of the input, else raise Refused."""
    oss = json_object(parameters, "Input").get("OSS")
    if not isinstance(oss, dict) or not isinstance(oss.get("Bucket"), str) or not oss["Bucket"]:
        raise invalid("Input", "OSS.Bucket is mandatory")
    prefix, expressions = oss.get("Prefix") or "", oss.get("MatchExpressions") or []
    if not isinstance(prefix, str) or not _texts(expressions):
        raise invalid("Input", "OSS.Prefix must be a text, OSS.MatchExpressions a list of texts")
    return oss["Bucket"], prefix


def check_actions(parameters: Parameters, bucket: str, prefix: str) -> None:
    """Raise Refused unless there is an action, each is well formed, and none writes under the input.

    The last is a rule of OSS's "Batch processing"; it can be seen where the parameters name the
    output as `oss://bucket/key`, or as `b_` and `o_` with bucket and key in base64.
    """
    actions = json_list(parameters, "Actions")
    if not actions:
        raise invalid("Actions", "it must be a list of at least one action")
    for action in actions:
        if not isinstance(action, dict) or not isinstance(action.get("Name"), str) or not action["Name"]:
            raise invalid("Actions", "each action needs a Name")
        texts = action.get("Parameters") or []
        if not isinstance(texts, list) or not _texts(texts):
            raise invalid("Actions", "Parameters must be a list of texts")
        policy = action.get("FastFailPolicy")
        if policy is not None and not (isinstance(policy, dict) and policy.get("Action") in POLICIES):
            raise invalid("Actions", f"the Action of FastFailPolicy is one of {', '.join(POLICIES)}")
        for written_to, key in _outputs(texts, bucket):
            if written_to == bucket and key.startswith(prefix):
                raise invalid("Actions", f"the output {key} lies under the input {prefix}")


def check_notification(parameters: Parameters) -> None:
    """Raise Refused if a notification names no topic."""
    if not parameters.get("Notification"):
        return
    mns = json_object(parameters, "Notification").get("MNS")
    if not isinstance(mns, dict) or not isinstance(mns.get("TopicName"), str) or not mns["TopicName"]:
        raise invalid("Notification", "MNS.TopicName is mandatory")


def check_tags(parameters: Parameters) -> None:
    """Raise Refused unless the tags are texts by name."""
    if not _texts(list(json_object(parameters, "Tags").values())):
        raise invalid("Tags", "each value must be a text")


def _texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(each, str) for each in values)


def _outputs(texts: list[str], bucket: str) -> Iterator[tuple[str, str]]:
    """Yield (bucket, key up to its first variable) of each output that the parameters tell."""
    words = [word for text in texts for word in text.split(",")]
    for word in words:
        match = _OUTPUT_URL.search(word)
        if match is not None:
            yield match["bucket"], match["key"].partition("{")[0]
    buckets = [_decoded(word[2:]) for word in words if word.startswith("b_")]
    for word in words:
        key = _decoded(word[2:]) if word.startswith("o_") else None
        if key is not None:
            yield (buckets[0] if buckets and buckets[0] is not None else bucket), key.partition("{")[0]


def _decoded(text: str) -> str | None:
    """Return what URL-safe base64 without padding says, None if it is something else."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return None

"""A task tells which dispatch started it and which object it reads; other tasks tell nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.calls import Endpoint, WorkflowCall
from dispatcher.core.dispatch import dispatch_id
from dispatcher.core.extensions import MEDIA
from dispatcher.core.location import Location, Names
from dispatcher.core.rendering import render_call
from dispatcher.core.rules import InputType, Rule, RuleSet, WorkflowAction
from dispatcher.core.tracing import input_of, media_of, started_by_rule, token_of

NAMES = Names(buckets=frozenset({"media"}))
ID = dispatch_id("r", "media", "a.mp4", "c:1:1")
RULE = Rule("r", "r", Location("media", ""), MEDIA, WorkflowAction("w", user_data={"From": "{rule}"}))


@given(st.text(min_size=1, max_size=40).filter(lambda key: not key.startswith("/")), st.integers(1, 999_999_999))
def test_what_we_send_leads_back_to_the_dispatch_and_the_object(key: str, attempt: int) -> None:
    endpoint = Endpoint("cn-hangzhou", "https://ice.cn-hangzhou.aliyuncs.com")
    call = render_call(RULE, endpoint, bucket="media", key=key, etag="e", size=1, dispatch_id=ID, attempt=attempt)
    assert isinstance(call, WorkflowCall)
    assert token_of(call.user_data) == (ID, attempt)
    assert input_of(call.task_input, NAMES) == ("media", key)


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "7", '{"DispatchId": 7}', '{"DispatchId": "x.1"}', f'{{"DispatchId": "{ID}"}}', "[" * 50_000],
)
def test_other_user_data_is_not_ours(text: str) -> None:
    assert token_of(text) is None


@pytest.mark.parametrize(
    "text", ["", "[" * 50_000, '{"Media": 1}', '{"Type": "Media", "Media": "abc"}', '{"Media": "oss://"}']
)
def test_other_inputs_are_no_objects(text: str) -> None:
    assert input_of(text, NAMES) is None


def test_a_media_id_is_still_told() -> None:
    assert media_of('{"Type": "Media", "Media": "abc"}') == "abc"


MIRROR = WorkflowAction("w", media_url="oss://mirror/from-{bucket}/{key}")
RULES = RuleSet(
    [
        Rule("direct", "direct", Location("media", "in/"), MEDIA, WorkflowAction("w")),
        Rule("mirrored", "mirrored", Location("store", "in/"), MEDIA, MIRROR),
        Rule("other", "other", Location("media", "in/"), MEDIA, WorkflowAction("v")),
    ]
)


@pytest.mark.parametrize(
    ("media", "workflow", "expected"),
    [
        ("oss://media/in/a.mp4", "w", (("media", "in/a.mp4"), ["direct"])),
        ("http://media.oss-cn-hangzhou.aliyuncs.com/in/a%20b.mp4", "w", (("media", "in/a b.mp4"), ["direct"])),
        ("oss://mirror/from-store/in/b.mp4", "w", (("store", "in/b.mp4"), ["mirrored"])),
        ("oss://media/in/a.mp4", "v", (("media", "in/a.mp4"), ["other"])),
        ("oss://mirror/from-store/out/b.mp4", "w", None),
        ("oss://mirror/from-store/in/b.mp4", "v", None),
        ("oss://media/out/a.mp4", "w", None),
        ("oss://media/in/a.txt", "w", None),
        ("0123456789abcdef", "w", None),
    ],
)
def test_a_task_leads_to_the_rules_that_start_its_workflow(
    media: str, workflow: str, expected: tuple[tuple[str, str], list[str]] | None
) -> None:
    found = started_by_rule(json.dumps({"Type": "OSS", "Media": media}), workflow, RULES, NAMES)
    assert (None if found is None else (found[0], [rule.id for rule in found[1]])) == expected


BY_ID = Rule(
    "filed", "filed", Location("media", "filed/"), MEDIA, WorkflowAction("w", "{key}", input_type=InputType.MEDIA)
)
BY_KEY = Rule("bare", "bare", Location("media", "in/"), MEDIA, WorkflowAction("w", "{key}"))


@pytest.mark.parametrize("media", ["0123456789abcdef", "in/a.mp4", "oss://media/filed/a.mp4", ""])
def test_a_media_asset_leads_to_an_object_only_by_its_registration(media: str) -> None:
    rules = RuleSet([BY_ID, BY_KEY])
    task_input = json.dumps({"Type": "Media", "Media": media})
    assert input_of(task_input, NAMES) is None
    assert started_by_rule(task_input, "w", rules, NAMES) is None
    assert started_by_rule(task_input, "w", rules, NAMES, ("media", "filed/a.mp4")) == (
        ("media", "filed/a.mp4"),
        (BY_ID,),
    )
    assert started_by_rule(task_input, "v", rules, NAMES, ("media", "filed/a.mp4")) is None

"""What is sent for an object: placeholders put in once, valid JSON for every key, never too long."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.calls import Endpoint, WorkflowCall
from dispatcher.core.events import decode_key, encode_key
from dispatcher.core.extensions import ANY
from dispatcher.core.location import Location
from dispatcher.core.rendering import render_call
from dispatcher.core.rules import Rule, WorkflowAction
from dispatcher.core.templates import PLACEHOLDERS, ObjectFields, TemplateError, parse_template
from dispatcher.core.unsendable import USER_DATA_LIMIT, UserDataTooLong

if TYPE_CHECKING:
    from dispatcher.core.calls import Call
    from dispatcher.core.unsendable import Unsendable

ENDPOINT = Endpoint("cn-x", "https://ice.cn-x.aliyuncs.com")
ID = "abzujfgdcb5axrvqdg6paxmse4"


def call(
    key: str, user_data: dict[str, object] | None = None, media_url: str = "oss://{bucket}/{key}"
) -> Call | Unsendable:
    rule = Rule(
        "rule-id", "rule name", Location("b", ""), ANY, WorkflowAction("w", media_url, user_data=user_data or {})
    )
    return render_call(rule, ENDPOINT, bucket="b", key=key, etag="e", size=7, dispatch_id=ID, attempt=2)


def sent(key: str, text: str) -> str:
    """Return what a text in user_data becomes."""
    rendered = call(key, {"x": [{"y": text}]})
    assert isinstance(rendered, WorkflowCall)
    value = json.loads(rendered.user_data)["x"][0]["y"]
    assert isinstance(value, str)
    return value


def test_the_plain_call() -> None:
    assert call("in/视频 1+%.mp4") == WorkflowCall(
        endpoint=ENDPOINT,
        workflow_id="w",
        task_input='{"Type":"OSS","Media":"oss://b/in/视频 1+%.mp4"}',
        user_data=f'{{"DispatchId":"{ID}.2"}}',
    )


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("a/b.c/clip.tar.MP4", "a/b.c/|clip.tar|MP4"),
        ("clip", "|clip|"),
        (".mp4", "||mp4"),
        ("a/clip.", "a/|clip|"),
        ("a//b", "a//|b|"),
    ],
)
def test_the_parts_of_a_key(key: str, wanted: str) -> None:
    assert sent(key, "{dir}|{stem}|{extension}") == wanted


def test_the_other_placeholders() -> None:
    text = "{bucket} {key} {key_quoted} {size} {etag} {url} {rule} {dispatch_id}"
    assert sent("a/é +", text) == f"b a/é + a/%C3%A9%20%2B 7 e oss://b/a/é + rule-id {ID}"


def test_braces_escape_and_keys_are_put_in_once() -> None:
    assert sent("{bucket}{{x}}", "{{key}} {key}") == "{key} {bucket}{{x}}"


def test_only_text_values_are_templates() -> None:
    rendered = call("k", {"{key}": 1, "on": True, "none": None, "list": [1.5, "{key}"]})
    assert isinstance(rendered, WorkflowCall)
    assert rendered.user_data == f'{{"{{key}}":1,"on":true,"none":null,"list":[1.5,"k"],"DispatchId":"{ID}.2"}}'


def test_the_limit_counts_bytes() -> None:
    fixed = len(f'{{"x":"","DispatchId":"{ID}.2"}}')
    fits = call("é" * ((USER_DATA_LIMIT - fixed) // 2), {"x": "{key}"})
    assert isinstance(fits, WorkflowCall)
    assert call("é" * ((USER_DATA_LIMIT - fixed) // 2 + 1), {"x": "{key}"}) == UserDataTooLong(
        fixed + 2 * ((USER_DATA_LIMIT - fixed) // 2 + 1)
    )


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("{kee}", "{key}"),
        ("{}", "{bucket}"),
        ("{key!r}", "{key}"),
        ("{key.__class__}", "{"),
        ("{", "{{"),
        ("a}", "}}"),
        ("{ key}", "{key}"),
    ],
)
def test_an_unknown_placeholder_is_refused(text: str, advice: str) -> None:
    with pytest.raises(TemplateError) as raised:
        parse_template(text)
    assert advice in str(raised.value)


def test_every_placeholder_is_explained() -> None:
    assert all(placeholder.meaning for placeholder in PLACEHOLDERS.values())


@given(st.binary(min_size=1, max_size=60))
def test_every_key_gives_valid_json_that_keeps_its_bytes(raw: bytes) -> None:
    rendered = call(decode_key(raw), {"k": "{key}"})
    assert isinstance(rendered, WorkflowCall | UserDataTooLong)
    if isinstance(rendered, WorkflowCall):
        rendered.task_input.encode()
        assert encode_key(json.loads(rendered.user_data)["k"]) == raw
        assert encode_key(json.loads(rendered.task_input)["Media"]) == b"oss://b/" + raw or raw.startswith(b"/")


@given(
    st.text(min_size=1, max_size=30).filter(lambda key: not key.startswith("/")),
    st.lists(st.sampled_from(["{key}", "{url}", "{bucket}", "{rule}", "{stem}", "{{", "}}", "/", "x"]), max_size=8),
)
def test_what_is_bound_early_renders_to_the_same_text(key: str, pieces: list[str]) -> None:
    fields = ObjectFields("b", key, "e", 7, "r", ID)
    template = parse_template("".join(pieces))
    bound = template.bound("b", "r")
    assert (bound if isinstance(bound, str) else bound.render(fields)) == template.render(fields)

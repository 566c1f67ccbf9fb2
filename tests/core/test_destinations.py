"""Where editing jobs write is known: two objects for one file, and outputs that start again, are told with keys."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.core.destinations import destination, destination_problems
from dispatcher.core.extensions import ANY, MEDIA, ExtensionSet
from dispatcher.core.location import Location, Names
from dispatcher.core.problems import Problem, ProblemCode, Severity
from dispatcher.core.rules import EditingAction, OutputMediaTarget, Rule, RuleSet, WorkflowAction
from dispatcher.core.templates import ObjectFields

NAMES = Names(buckets=frozenset({"b"}), hosts={"media.example.com": "b"}, only_bucket="b")
MP4 = ExtensionSet.of("mp4")
COLLISION = ProblemCode.OUTPUT_COLLISION


def a_rule(
    url: str, extensions: ExtensionSet = MP4, prefix: str = "in/", name: str = "r", exclude: tuple[str, ...] = ()
) -> Rule:
    action = EditingAction({"MediaURL": url}, project_id="p")
    return Rule(name, name, Location("b", prefix), extensions, action, exclude=exclude)


def problems(*rules: Rule, never: tuple[Location, ...] = ()) -> list[Problem]:
    return list(destination_problems(RuleSet(rules, never), NAMES))


def written(rule: Rule, key: str) -> object:
    assert isinstance(rule.action, EditingAction)
    return destination(rule.action, ObjectFields("b", key, "e", 1, rule.id, f"id-of-{key}"), NAMES)


@pytest.mark.parametrize(
    ("url", "extensions", "telling"),
    [
        ("oss://o/{stem}.mp4", MP4, False),
        ("oss://o/{dir}{stem}.mp4", MP4, True),
        ("oss://o/{dir}{stem}.mp4", ExtensionSet.of("mp4", "mov"), False),
        ("oss://o/{dir}{stem}.mp4", ExtensionSet.of("mp4", "none"), False),
        ("oss://o/{dir}{stem}.mp4", MEDIA, False),
        ("oss://o/{dir}{stem}-{extension}.mp4", ANY, True),
        ("oss://o/{stem}-{extension}.mp4", MP4, False),
        ("oss://o/{key}", ANY, True),
        ("oss://o/{key_quoted}", ANY, True),
        ("oss://o/{dispatch_id}.mp4", ANY, True),
        ("oss://o/{etag}.mp4", ANY, True),
        ("oss://o/{size}.mp4", MP4, False),
        ("oss://o/made.mp4", MP4, False),
        ("http://o.oss-cn-x.aliyuncs.com/{bucket}/{rule}.mp4", MP4, False),
    ],
)
def test_a_collision_is_told_with_two_keys_that_prove_it(url: str, extensions: ExtensionSet, *, telling: bool) -> None:
    rule = a_rule(url, extensions)
    found = problems(rule)
    assert [problem.code for problem in found] == ([] if telling else [COLLISION])
    for problem in found:
        first, second = problem.message.split("'")[3:6:2]
        assert first != second
        assert written(rule, first) == written(rule, second)
        assert problem.witness == ("b", first)
        assert all(RuleSet([rule]).matching("b", key, 1) == (rule,) for key in (first, second))


def test_two_rules_that_write_one_file_collide() -> None:
    flat = ("**/a/**", "**/b/**")
    first = a_rule("oss://o/{stem}", prefix="in1/", name="x", exclude=flat)
    second = a_rule("oss://o/{stem}", prefix="in2/", name="y", exclude=flat)
    [problem] = problems(first, second)
    assert (problem.code, problem.rules) == (COLLISION, ("x", "y"))
    assert "'in1/clip.mp4' and 'in2/clip.mp4'" in problem.message
    assert problems(first, a_rule("oss://o/2/{stem}", prefix="in2/", name="y", exclude=flat)) == []


def test_two_rules_that_write_one_file_for_one_object_collide() -> None:
    rule = a_rule("oss://o/{key}", name="x")
    [problem] = problems(rule, replace(rule, id="y", name="y"))
    assert (problem.rules, problem.witness) == (("x", "y"), ("b", "in/clip.mp4"))
    assert "twice" in problem.message


@pytest.mark.parametrize(
    ("target", "output", "collides"),
    [
        (OutputMediaTarget.VOD_MEDIA, {"StorageLocation": "h", "FileName": "{stem}.mp4"}, True),
        (OutputMediaTarget.VOD_MEDIA, {"StorageLocation": "h", "FileName": "{dispatch_id}.mp4"}, False),
        (OutputMediaTarget.S3, {"Bucket": "o", "ObjectKey": "{stem}"}, True),
        (OutputMediaTarget.S3, {"Bucket": "o", "ObjectKey": "{key}"}, False),
        (OutputMediaTarget.S3, {"MediaURL": "{stem}"}, False),
    ],
)
def test_the_other_targets(target: OutputMediaTarget, output: dict[str, object], *, collides: bool) -> None:
    rule = replace(a_rule(""), action=EditingAction(output, project_id="p", output_media_target=target))
    assert [problem.code for problem in problems(rule)] == ([COLLISION] if collides else [])


@pytest.mark.parametrize(
    "url",
    [
        "oss://b/in/made/{key}",
        "http://b.oss-cn-x.aliyuncs.com/{dir}out/{stem}.mp4",
        "http://media.example.com/in/{key}",
        "{url}",
    ],
)
def test_an_output_under_its_own_input_is_an_error(url: str) -> None:
    rule = a_rule(url)
    [problem] = problems(rule)
    assert (problem.code, problem.severity, problem.rules) == (ProblemCode.LOOP, Severity.ERROR, ("r",))
    assert problem.witness is not None
    assert RuleSet([rule]).matching(*problem.witness, 1) == (rule,)


def test_an_output_under_another_input_is_a_warning() -> None:
    first, second = a_rule("oss://b/more/{key}", name="x"), a_rule("oss://o/{key}", prefix="more/", name="y")
    workflow = replace(second, id="z", name="z", action=WorkflowAction("w"))
    assert [(each.severity, each.rules) for each in problems(first, second, workflow)] == [
        (Severity.WARNING, ("x", "y")),
        (Severity.WARNING, ("x", "z")),
    ]


def test_an_output_that_starts_nothing_is_no_loop() -> None:
    assert problems(a_rule("oss://b/out/{key}")) == []
    assert problems(a_rule("oss://b/in/made/{dir}{stem}.mkv")) == []
    assert problems(a_rule("oss://b/in/made/{key}", exclude=("**/made/**",))) == []
    assert problems(a_rule("oss://b/in/made/{key}"), never=(Location("b", "in/made/"),)) == []
    assert problems(replace(a_rule(""), action=WorkflowAction("w"))) == []


@pytest.mark.parametrize("prefix", ["", "in", "in/test.mp4", "in/test"])
def test_inputs_that_are_no_folder_are_tried_too(prefix: str) -> None:
    [problem] = problems(a_rule("oss://o/made.mp4", prefix=prefix))
    assert problem.code is COLLISION

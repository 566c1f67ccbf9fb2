"""The loop guard reads a task's results, whatever their shape."""

from __future__ import annotations

import json

import pytest

from dispatcher.core.extensions import MEDIA
from dispatcher.core.location import Location, Names
from dispatcher.core.outputs import loops, loops_by_job, produced_object, written_objects
from dispatcher.core.rules import Rule, RuleSet, WorkflowAction

NAMES = Names(buckets=frozenset({"media"}), only_bucket="media")
RULES = RuleSet([Rule("in", "in", Location("media", "incoming/"), MEDIA, WorkflowAction("wf"))])


def test_objects_are_found_at_any_depth_also_in_json_within_a_string() -> None:
    results = json.dumps(
        {
            "Activities": [
                {"Out": "oss://media/out/a.mp4"},
                {"Inner": json.dumps({"u": "http://media.oss-cn-hangzhou.aliyuncs.com/b%20c.mp4"})},
            ],
            "Text": "not a url",
            "Bad": "http://unknown.example/x",
            "n": 5,
        }
    )
    assert list(written_objects(results, NAMES)) == [("media", "out/a.mp4"), ("media", "b c.mp4")]


def test_an_output_under_a_rule_is_a_loop_and_the_input_itself_is_not() -> None:
    source = ("media", "incoming/a.mp4")
    harmless = json.dumps({"Input": "oss://media/incoming/a.mp4", "Output": "oss://media/out/a.mp4"})
    looping = json.dumps({"Input": "oss://media/incoming/a.mp4", "Output": "oss://media/incoming/out/a.mp4"})
    assert loops(harmless, source, NAMES, RULES) is None
    assert loops(looping, source, NAMES, RULES) == ("media", "incoming/out/a.mp4", RULES.rules[0])


def test_what_a_job_made_is_looked_at_without_its_signature() -> None:
    made = "http://media.oss-cn-hangzhou.aliyuncs.com/incoming/out/a%20b.mp4?Expires=1&Signature=x"
    assert loops_by_job(made, NAMES, RULES) == ("media", "incoming/out/a b.mp4", RULES.rules[0])
    assert loops_by_job("oss://media/out/a?b.mp4", NAMES, RULES) is None
    assert produced_object("oss://media/out/a?b.mp4", NAMES) == ("media", "out/a?b.mp4")


@pytest.mark.parametrize("url", ["", "vod://20b48fb0", "http://unknown.example/incoming/a.mp4", "oss://media"])
def test_what_is_no_url_of_an_object_was_made_nowhere(url: str) -> None:
    assert produced_object(url, NAMES) is None
    assert loops_by_job(url, NAMES, RULES) is None


def test_results_that_are_no_json_say_nothing() -> None:
    assert list(written_objects("<xml>oss://media/a</xml>", NAMES)) == []
    assert list(written_objects("[" * 5000 + "]" * 5000, NAMES)) == []

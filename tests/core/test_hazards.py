"""What one rule, or the whole configuration, carries of danger."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.core.calls import Api, Endpoint
from dispatcher.core.extensions import MEDIA, ExtensionSet
from dispatcher.core.hazards import hazard_problems, rate_problems
from dispatcher.core.location import Location
from dispatcher.core.problems import SHOWN, Problem, ProblemCode, Severity
from dispatcher.core.ratelimit import Rate
from dispatcher.core.rules import EditingAction, MatchMode, Rule, RuleSet, WorkflowAction
from dispatcher.core.settings import Addressing, BucketSettings

GUARD = Location("b", "out/")
LOCAL = BucketSettings(
    "b",
    "us-east-1",
    "http://127.0.0.1:8333",
    Addressing.PATH,
    on_oss=False,
    ims=Endpoint("cn-x", "https://ims.invalid"),
)


def a_rule(prefix: str = "in/", extensions: ExtensionSet | None = None, name: str = "r") -> Rule:
    return Rule(name, name, Location("b", prefix), extensions or ExtensionSet.of("mp4"), WorkflowAction("w"))


def problems(
    *rules: Rule, never: tuple[Location, ...] = (GUARD,), bucket: BucketSettings | None = None
) -> list[Problem]:
    return list(hazard_problems(RuleSet(rules, never), {"b": bucket} if bucket is not None else {}))


def test_a_careful_rule_has_no_hazard() -> None:
    assert problems(a_rule()) == []


def test_no_never_trigger_at_all_is_a_warning() -> None:
    (problem,) = problems(a_rule(), never=())
    assert (problem.code, problem.severity, problem.rules) == (ProblemCode.LOOP, Severity.WARNING, ("r",))


@pytest.mark.parametrize("guard", ["in/", "in", ""])
def test_a_never_trigger_over_the_own_input_is_an_error(guard: str) -> None:
    (problem,) = problems(a_rule(), never=(Location("b", guard),))
    assert (problem.code, problem.severity) == (ProblemCode.LOOP, Severity.ERROR)


def test_a_never_trigger_below_or_beside_the_input_is_none() -> None:
    assert problems(a_rule(), never=(Location("b", "in/out/"), Location("c", ""))) == []


def test_segments_are_a_warning_with_a_witness() -> None:
    (problem,) = problems(a_rule(extensions=MEDIA))
    assert (problem.code, problem.severity) == (ProblemCode.SEGMENTS, Severity.WARNING)
    assert problem.witness == ("b", "in/clip.ts")
    assert problems(replace(a_rule(extensions=MEDIA), exclude=("*.ts",))) == []
    assert problems(a_rule(extensions=ExtensionSet.of("ts"))) == []


def test_a_file_name_without_a_written_match_is_a_warning() -> None:
    (problem,) = problems(a_rule("in/test.mp4"))
    assert (problem.code, problem.witness) == (ProblemCode.FILE_NAME, ("b", "in/test1.mp4"))
    assert problems(replace(a_rule("in/test.mp4"), match_written=True)) == []
    assert problems(replace(a_rule("in/test.mp4"), match_written=True, match=MatchMode.PREFIX)) == []


@pytest.mark.parametrize(
    ("media_url", "readable"),
    [
        ("oss://{bucket}/{key}", False),
        ("{url}", False),
        ("oss://mirror/{key}", True),
        ("http://mirror.oss-cn-x.aliyuncs.com/{key_quoted}", True),
        ("http://cdn.example.org/{key_quoted}", False),
        ("http://{bucket}.oss-cn-x.aliyuncs.com/{key_quoted}", False),
    ],
)
def test_ims_reads_oss_only(media_url: str, *, readable: bool) -> None:
    rule = replace(a_rule(), action=WorkflowAction("w", media_url))
    found = problems(rule, bucket=LOCAL)
    assert [problem.code for problem in found] == ([] if readable else [ProblemCode.NOT_READABLE_BY_IMS])
    assert problems(rule, bucket=replace(LOCAL, on_oss=True)) == []


@pytest.mark.parametrize(
    ("material", "output", "readable"),
    [
        ("{url}", "oss://o/{key}", False),
        ("oss://{bucket}/{key}", "oss://o/{key}", False),
        ("oss://mirror/{key}", "oss://o/{key}", True),
        ("oss://mirror/{key}", "oss://{bucket}/made/{key}", False),
        ("http://127.0.0.1:8333/b/{key}", "oss://o/{key}", False),
        ("an asset's id", "oss://o/{key}", True),
    ],
)
def test_editing_jobs_read_and_write_oss_only(material: str, output: str, *, readable: bool) -> None:
    action = EditingAction({"MediaURL": output}, template_id="t", clips_param={"Clips": [{"Video": material}]})
    rule = replace(a_rule(), action=action)
    assert [each.code for each in problems(rule, bucket=LOCAL)] == (
        [] if readable else [ProblemCode.NOT_READABLE_BY_IMS]
    )
    assert problems(rule, bucket=replace(LOCAL, on_oss=True)) == []


def test_editing_jobs_need_no_declared_outputs() -> None:
    rule = replace(a_rule(name="e"), action=EditingAction({"MediaURL": "oss://o/{key}"}, project_id="p"))
    assert problems(rule, never=()) == []
    [problem] = problems(rule, a_rule(), never=())
    assert problem.rules == ("r",)


@pytest.mark.parametrize(("rate", "warned"), [(29.9, False), (30, True), (40, True)])
def test_a_rate_that_takes_the_whole_quota_is_a_warning(rate: float, *, warned: bool) -> None:
    found = list(rate_problems({Api.SUBMIT_MEDIA_PRODUCING_JOB: Rate(rate), Api.START_WORKFLOW: Rate(100)}))
    assert [each.code for each in found] == ([ProblemCode.RATE] if warned else [])


def test_many_equal_hazards_are_bounded() -> None:
    found = problems(*(a_rule(f"in/{place}.mp4", name=f"r{place}") for place in range(SHOWN * 3)))
    assert len(found) == SHOWN + 1
    assert f"{2 * SHOWN} more" in found[-1].message

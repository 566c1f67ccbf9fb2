"""Where a batch may write, told from its actions before it is created."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.batches import BatchAction, BatchRequest, OutputTemplate, output_problems, outputs_of, tag_id
from dispatcher.core.calls import Endpoint
from dispatcher.core.extensions import MEDIA
from dispatcher.core.location import Location
from dispatcher.core.problems import Severity
from dispatcher.core.rules import MatchMode, Rule, RuleSet, WorkflowAction

INPUT = Location("media", "incoming/")


def rule(prefix: str, bucket: str = "media") -> Rule:
    return Rule("r", "r", Location(bucket, prefix), MEDIA, WorkflowAction("w1"), match=MatchMode.DOCUMENTED)


def request_writing(*uris: str, source: Location = INPUT) -> BatchRequest:
    actions = (BatchAction("video/convert", tuple(f"TargetURI={uri}" for uri in uris)),)
    return BatchRequest(Endpoint("cn-hangzhou", "https://imm.example"), "p", source, actions, "role")


@pytest.mark.parametrize(
    ("uri", "prefix", "under"),
    [
        ("oss://media/incoming/out/{barename}.{autoext}", "incoming/", True),
        ("oss://{bucket}/incoming/{barename}.jpg", "incoming/", True),
        ("oss://media/{dirname}/{barename}_small.{autoext}", "incoming/", True),
        ("oss://media/{key}.jpg", "incoming/", True),
        ("oss://media/{somewhere}/x.jpg", "incoming/", True),
        ("oss://{account}/incoming/x.jpg", "incoming/", True),
        ("oss://media/anything.jpg", "", True),
        ("oss://media/in{barename}.jpg", "incoming", True),
        ("oss://media/out/{dirname}/{barename}.{autoext}", "incoming/", False),
        ("oss://media/{barename}.{autoext}", "incoming/", False),
        ("oss://media/incomingother/{barename}.jpg", "incoming/", False),
        ("oss://other/incoming/{barename}.jpg", "incoming/", False),
        ("oss://media/incoming", "incoming/", False),
    ],
)
def test_an_output_may_lie_under_the_input_where_its_variables_allow_it(uri: str, prefix: str, *, under: bool) -> None:
    place = Location("media", prefix)
    [output] = outputs_of(request_writing(uri).actions)
    assert output.may_lie_under(place, place) is under


PREFIXES = st.sampled_from(["", "a", "a/", "a/b", "a/b/", "aa/"])
PARTS = st.sampled_from(
    [
        "a",
        "b",
        "/",
        "out/",
        "{bucket}",
        "{key}",
        "{dirname}",
        "{basename}",
        "{barename}",
        "{autoext}",
        "{index}",
        "{any}",
    ]
)


def expanded(template: str, key: str, anything: str) -> str:
    folder, _, name = key.rpartition("/")
    stem, _, extension = name.rpartition(".")
    values = {"bucket": "media", "key": key, "dirname": folder, "basename": name, "barename": stem or name}
    values |= {"autoext": extension, "index": "1", "any": anything}
    for variable, value in values.items():
        template = template.replace(f"{{{variable}}}", value)
    return template


@given(
    parts=st.lists(PARTS, max_size=6),
    source=PREFIXES,
    place=PREFIXES,
    tail=st.sampled_from(["x.mp4", "b/x.mp4", "a", "a/b/c.d"]),
    anything=st.sampled_from(["", "a/", "b"]),
)
def test_an_output_that_lands_there_was_known_to_be_able_to(
    parts: list[str], source: str, place: str, tail: str, anything: str
) -> None:
    template = "".join(parts)
    if expanded(template, source + tail, anything).startswith(place):
        output = OutputTemplate("media", template)
        assert output.may_lie_under(Location("media", place), Location("media", source))


def test_many_variables_are_judged_at_once() -> None:
    output = OutputTemplate("media", "{a}/" * 60 + "x")
    assert output.may_lie_under(Location("media", "b" * 900 + "/"), INPUT)
    assert output.may_lie_under(Location("media", "b/" * 30), INPUT)


def test_outputs_are_found_in_json_and_percent_encoded_too() -> None:
    targets = json.dumps([{"URI": "oss://media/a/{index}.ts"}, {"URI": "oss://media/b/x.jpg"}])
    actions = [BatchAction("t", (f"Targets={targets}", "uri=oss%3A%2F%2Fmedia%2Fc%2Fy.jpg", "pages=3"))]
    assert [str(each) for each in outputs_of(actions)] == [
        "oss://media/a/{index}.ts",
        "oss://media/b/x.jpg",
        "oss://media/c/y.jpg",
    ]


def test_outputs_in_base64_are_found_with_their_bucket() -> None:
    def encoded(text: str) -> str:
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    own = BatchAction("sys/saveas", (f"o_{encoded('incoming/{barename}.jpg')}", "w_100"))
    [output] = outputs_of([own])
    assert output.may_lie_under(INPUT, INPUT)
    other = BatchAction("t", (f"sys/saveas,o_{encoded('incoming/x.jpg')},b_{encoded('other')}", "o_1", "o_!"))
    assert [str(each) for each in outputs_of([other])] == ["oss://other/incoming/x.jpg"]


def test_output_under_the_batchs_own_input_is_an_error() -> None:
    [problem] = output_problems(request_writing("oss://media/incoming/out/x.jpg"), RuleSet([]))
    assert (problem.code, problem.severity) == ("loop", Severity.ERROR)
    assert "oss://media/incoming/out/x.jpg" in problem.message


def test_output_under_a_rule_is_a_warning_unless_it_never_triggers() -> None:
    request = request_writing("oss://media/out/{dirname}/x.mp4")
    [problem] = output_problems(request, RuleSet([rule("out/")]))
    assert (problem.severity, problem.rules) == (Severity.WARNING, ("r",))
    assert list(output_problems(request, RuleSet([rule("")], [Location("media", "out/")]))) == []
    assert list(output_problems(request, RuleSet([rule("elsewhere/"), rule("out/", "other")]))) == []


def test_siblings_of_a_documented_file_name_are_under_its_rule() -> None:
    request = request_writing("oss://media/done/clip1.flv")
    [problem] = output_problems(request, RuleSet([rule("done/clip.flv")]))
    assert problem.rules == ("r",)


def test_a_batch_that_names_no_output_is_doubtful() -> None:
    request = BatchRequest(Endpoint("r", "u"), "p", INPUT, (BatchAction("doc/convert", ("pages=3",)),), "role")
    [problem] = output_problems(request, RuleSet([]))
    assert problem.severity is Severity.WARNING


def test_our_id_is_26_characters_of_the_random_bytes() -> None:
    assert tag_id(bytes(range(16))) == "aaaqeayeaudaocajbifqydiob4"
    assert tag_id(bytes(16)) != tag_id(bytes(15) + b"\x01")

"""`batches` against the simulator: created once and found again, shown before, refused where it would loop."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.batches import TAG
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import SimulatedProject
from tests.cli.desk import Shell
from tests.simulator_fixtures import ACCESS_KEY_ID, ACCESS_KEY_SECRET, make_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RULE = {
    "name": "transcode",
    "input": "http://my-media.oss-cn-hangzhou.aliyuncs.com/incoming/",
    "workflow": "w1",
}
ACTIONS = [{"name": "video/convert", "parameters": ["TargetURI=oss://my-media/out/{barename}.mp4"]}]
PROJECTS = (SimulatedProject("media", ("my-media",)),)


@contextmanager
def serving(folder: Path, **changes: object) -> Iterator[tuple[Simulator, Shell]]:
    """Run a simulator and a configuration for it."""
    values = {"projects": PROJECTS, "batch_duration": timedelta(hours=1), **changes}
    with Simulator(make_settings(**values)) as simulator:
        config = {
            "rules": [RULE],
            "never_trigger": ["out/"],
            "imm": {"project": "media", "endpoint": simulator.url, "actions": ACTIONS, "tags": {"team": "x"}},
            "credentials": {
                "type": "access_key",
                "access_key_id": ACCESS_KEY_ID,
                "access_key_secret": ACCESS_KEY_SECRET.value,
            },
        }
        path = folder / "oss-dispatcher.yaml"
        path.write_text(json.dumps(config), "utf-8")
        yield simulator, Shell(path)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Simulator, Shell]]:
    with serving(tmp_path) as found:
        yield found


def test_a_batch_of_a_rule_is_created_and_found_by_the_tag_that_was_told_before(
    place: tuple[Simulator, Shell],
) -> None:
    simulator, shell = place
    ran = shell("batches", "create", "--rule", "transcode", "--yes", "-o", "json")
    created = ran.data
    [call] = simulator.accepted("CreateBatch")
    assert (created["batch_id"], created["project"]) == (call.answer["Id"], "media")
    assert (created["input"], created["found_by_listing"]) == ("oss://my-media/incoming/", False)
    assert f"with the tag {created['tag']}" in ran.err
    assert created["tag"].startswith(f"{TAG}=")
    [listed] = shell("batches", "list", "--tag", created["tag"], "-o", "json").data
    assert listed == shell("batches", "show", created["batch_id"], "-o", "json").data
    assert (listed["batch_id"], listed["state"], listed["bucket"]) == (created["batch_id"], "Running", "my-media")
    assert listed["actions"] == [{**ACTIONS[0], "fast_fail_policy": None}]
    assert shell("batches", "list", "--tag", f"{TAG}=another", "-o", "json").data == []


def test_a_dry_run_shows_everything_and_sends_nothing(place: tuple[Simulator, Shell]) -> None:
    simulator, shell = place
    shown = shell("batches", "create", "--rule", "transcode", "--dry-run", "-o", "json").data
    assert (shown["ok"], shown["problems"]) == (True, [])
    assert shown["request"]["input"] == "oss://my-media/incoming/"
    assert shown["outputs"] == ["oss://my-media/out/{barename}.mp4"]
    assert any("neither ledger nor budget" in note for note in shown["notes"])
    table = shell("batches", "create", "--rule", "transcode", "--dry-run")
    assert "nothing was sent" in table.out
    assert "neither ledger nor budget" in table.out
    assert simulator.requests == 0


def test_nobody_to_confirm_is_a_refusal(place: tuple[Simulator, Shell]) -> None:
    simulator, shell = place
    ran = shell("batches", "create", "--rule", "transcode")
    assert ran.code == 2
    assert "--yes" in ran.err
    assert simulator.requests == 0


def test_output_under_the_input_is_refused_before_anything_is_sent(
    place: tuple[Simulator, Shell], tmp_path: Path
) -> None:
    simulator, shell = place
    file = tmp_path / "loop.yaml"
    file.write_text("actions: [{name: n, parameters: ['u=oss://my-media/{dirname}/x_{barename}.mp4']}]", "utf-8")
    words = ("batches", "create", "--rule", "transcode", "--file", str(file))
    for each in ([*words, "--yes"], [*words, "--dry-run"]):
        ran = shell(*each)
        assert ran.code == 78
        assert "oss://my-media/{dirname}/x_{barename}.mp4" in ran.out + ran.err
    assert simulator.requests == 0


def test_a_wrong_file_is_told_by_its_lines(place: tuple[Simulator, Shell], tmp_path: Path) -> None:
    _, shell = place
    file = tmp_path / "batch.yaml"
    file.write_text("input: oss://my-media/x/\nproject: 5\nactons: []\n", "utf-8")
    ran = shell("batches", "create", "--file", str(file), "--yes")
    assert ran.code == 78
    assert "batch.yaml:2: project" in ran.err
    assert "batch.yaml:3: actons: unknown key `actons`; did you mean `actions`?" in ran.err


def test_suspend_and_resume(place: tuple[Simulator, Shell]) -> None:
    _, shell = place
    batch = shell("batches", "create", "--rule", "transcode", "--yes", "-o", "json").data["batch_id"]
    for verb, state in (("suspend", "Suspended"), ("resume", "Running")):
        assert shell("batches", verb, batch, "-o", "json").data["state"] == state
        assert f"is {state}" in shell("batches", verb, batch).out
        assert shell("batches", "show", batch, "-o", "json").data["state"] == state
        assert len(shell("batches", "list", "--state", state.lower(), "-o", "json").data) == 1


def test_a_state_that_does_not_allow_it_is_told(tmp_path: Path) -> None:
    with serving(tmp_path, batch_duration=timedelta()) as (_, shell):
        batch = shell("batches", "create", "--rule", "transcode", "--yes", "-o", "json").data["batch_id"]
        refused = shell("batches", "suspend", batch)
        unknown = shell("batches", "resume", "batch-0")
    assert (refused.code, unknown.code) == (2, 2)
    assert "stays Succeeded" in refused.err
    assert "has no batch batch-0" in unknown.err


def test_all_pages_are_listed_or_as_many_as_asked_for(place: tuple[Simulator, Shell]) -> None:
    simulator, shell = place
    made = [shell("batches", "create", "--rule", "transcode", "--yes", "-o", "json").data["batch_id"] for _ in range(3)]
    before = simulator.requests
    words = ("batches", "list", "--sort", "createtime", "--order", "des", "--page-size", "2", "-o", "jsonl")
    listed = [json.loads(line)["batch_id"] for line in shell(*words).out.splitlines()]
    assert listed == made[::-1]
    assert simulator.requests == before + 2
    assert len(shell(*words, "--limit", "1").out.splitlines()) == 1
    assert made[0] in shell("batches", "list").out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("list", "--state", "Finished"), 2, "Succeeded"),
        (("list", "--order", "descending"), 2, "ASC, DES"),
        (("list", "--sort", "size"), 2, "CreateTime, UpdateTime"),
        (("list", "--tag", "team"), 2, "KEY=VALUE"),
        (("list", "--page-size", "101"), 2, "less than or equal to 100"),
        (("show", "batch-0"), 2, "has no batch"),
        (("create", "--yes"), 2, "which objects"),
        (("create", "--rule", "transcode", "--yes"), 78, "BucketNotAttached"),
        (("list", "--project", "another"), 69, "ResourceNotFound"),
    ],
)
def test_what_cannot_be_done_is_told(tmp_path: Path, words: tuple[str, ...], code: int, said: str) -> None:
    with serving(tmp_path, projects=(SimulatedProject("media"),)) as (_, shell):
        ran = shell("batches", *words)
    assert ran.code == code, ran.err
    assert said in ran.err

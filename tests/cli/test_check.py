"""`check`: the contract's JSON and exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.desk import Ran, Shell

if TYPE_CHECKING:
    from pathlib import Path

URL = "http://my-media.oss-cn-hangzhou.aliyuncs.com"
SAFE = f"never_trigger: [{URL}/out/]\n"


def check(directory: Path, rules: dict[str, str], *words: str, more: str = SAFE) -> Ran:
    """Run `check` on rules: name to input, each with one extension, so that nothing else is warned of."""
    lines = [
        f"  - {{name: {name}, input: '{bound}', workflow: w-{name}, extensions: [mp4]}}\n"
        for name, bound in rules.items()
    ]
    config = directory / "rules.yaml"
    config.write_text("rules:\n" + "".join(lines) + more, encoding="utf-8")
    return Shell(config)("check", *words)


def test_a_sound_configuration_is_ok(tmp_path: Path) -> None:
    assert check(tmp_path, {"a": f"{URL}/a/", "b": f"{URL}/b/"}, "--strict", "-o", "json").data == {
        "ok": True,
        "problems": [],
    }
    assert check(tmp_path, {"a": f"{URL}/a/"}).out.startswith("ok: 1 rules")


def test_test_and_test1_are_an_overlap_with_a_witness_that_starts_both(tmp_path: Path) -> None:
    rules = {"test": f"{URL}/test", "test1": f"{URL}/test1"}
    found = check(tmp_path, rules, "-o", "json").data
    [problem] = found["problems"]
    assert found["ok"] is True
    assert set(problem) == {"code", "severity", "rules", "witness", "message", "hint"}
    assert (problem["code"], problem["severity"], sorted(problem["rules"])) == ("overlap", "warning", ["test", "test1"])
    explained = json.loads(Shell(tmp_path / "rules.yaml")("explain", problem["witness"], "-o", "json").out)
    assert [each["matched"] for each in explained[0]["verdicts"]] == [True, True]
    table = check(tmp_path, rules).out
    assert problem["witness"] in table
    assert problem["hint"] in table


@pytest.mark.parametrize(
    ("words", "more", "code"),
    [
        ([], SAFE, 0),
        (["--strict"], SAFE, 78),
        ([], SAFE + "overlap: deny\n", 78),
        (["--strict"], SAFE + "overlap: allow\n", 0),
    ],
)
def test_exit_codes(tmp_path: Path, words: list[str], more: str, code: int) -> None:
    assert check(tmp_path, {"test": f"{URL}/test", "test1": f"{URL}/test1"}, *words, more=more).code == code


def test_a_wrong_configuration_shows_every_problem_with_its_line(tmp_path: Path) -> None:
    config = tmp_path / "wrong.yaml"
    config.write_text("rules:\n  - name: a\n    inptu: x/\n    workflow: 123\noverlap: maybe\n", encoding="utf-8")
    ran = Shell(config)("check")
    assert ran.code == 78
    assert ran.out == ""
    assert "wrong.yaml:3" in ran.err
    assert "wrong.yaml:5" in ran.err
    assert "hint: " in ran.err


EDITING = """\
rules:
  - name: cut
    input: http://my-media.oss-cn-hangzhou.aliyuncs.com/cut/
    extensions: [mp4]
    editing: {project: p, output_media_config: {MediaURL: "oss://my-media/OUT"}}
  - name: filed
    input: oss://my-media/filed/
    extensions: [mp4]
    workflow: {id: w, input_type: media}
never_trigger: [out/]
limits: {SubmitMediaProducingJob: 25/s}
"""


def editing(directory: Path, *replace: tuple[str, str]) -> Ran:
    text = EDITING
    for old, new in replace:
        text = text.replace(old, new)
    config = directory / "rules.yaml"
    config.write_text(text, encoding="utf-8")
    return Shell(config)("check", "-o", "json")


@pytest.mark.parametrize(
    ("output", "rate", "codes", "code"),
    [
        ("made/{key}", "25/s", [], 0),
        ("made/{stem}.mp4", "25/s", ["output_collision"], 0),
        ("cut/made/{key}", "25/s", ["loop"], 78),
        ("filed/{key}", "30/s", ["loop", "rate"], 0),
    ],
)
def test_what_editing_jobs_write_is_judged(tmp_path: Path, output: str, rate: str, codes: list[str], code: int) -> None:
    ran = editing(tmp_path, ("OUT", output), ("25/s", rate))
    assert (ran.code, [problem["code"] for problem in json.loads(ran.out)["problems"]]) == (code, codes)


def test_it_is_said_that_objects_are_registered_first(tmp_path: Path) -> None:
    assert "registered as a media asset before its workflow starts: filed" in editing(tmp_path).err
    assert "registered" not in editing(tmp_path, (", input_type: media", "")).err

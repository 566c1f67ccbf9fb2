"""`explain`: verdict and reason of every rule, and the request that would be sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dispatcher.cli.output import Format
from dispatcher.core.rules import Reason
from tests.cli.desk import Shell

MATCHING = json.loads((Path(__file__).parent.parent / "conformance" / "matching.json").read_text(encoding="utf-8"))
CASES = [
    (case["file"], case["input"], mode, case.get(mode, case["match"]))
    for case in MATCHING["cases"]
    for mode in ("documented", "prefix")
]


def shell_with(directory: Path, text: str) -> Shell:
    config = directory / "rules.yaml"
    config.write_text(text, encoding="utf-8")
    return Shell(config)


@pytest.mark.parametrize(("file", "bound", "mode", "match"), CASES)
def test_every_documented_row(tmp_path: Path, file: str, bound: str, mode: str, *, match: bool) -> None:
    shell = shell_with(tmp_path, f"rules:\n  - name: row\n    input: {bound}\n    workflow: w1\n    match: {mode}\n")
    [explained] = shell("explain", file, "-o", "json").data
    [verdict] = explained["verdicts"]
    assert (explained["url"], explained["bucket"]) == (file, "bucket")
    assert explained["key"] == file.partition(".com/")[2]
    assert (verdict["rule"], verdict["matched"]) == ("row", match)
    assert verdict["reason"] == ("MATCHED" if match else "PREFIX")
    assert (verdict["request"] is not None) is match
    table = shell("explain", file).out
    assert verdict["reason"] in table
    assert verdict["sentence"] in table


def test_the_request_is_shown_with_its_byte_count(shell: Shell) -> None:
    [explained] = shell("explain", "incoming/clips/电影.mp4", "-o", "json").data
    request = {each["rule"]: each["request"] for each in explained["verdicts"]}["clips"]
    assert json.loads(request["task_input"]) == {"Type": "OSS", "Media": "oss://my-media/incoming/clips/电影.mp4"}
    user_data = json.loads(request["user_data"])
    assert user_data["Folder"] == "incoming/clips/"
    assert len(user_data["DispatchId"]) == len("x" * 26 + ".1")
    assert request["user_data_bytes"] == len(request["user_data"].encode())
    assert (request["user_data_limit"], request["workflow_id"]) == (512, "a1b2c3")
    assert request["endpoint"] == "https://ice.cn-hangzhou.aliyuncs.com"
    out = shell("explain", "incoming/clips/电影.mp4").out
    assert f"({request['user_data_bytes']} of 512 bytes" in out


def test_user_data_that_would_be_too_long_is_told(shell: Shell) -> None:
    key = "incoming/clips/" + "f/" * 250 + "x.mp4"
    [explained] = shell("explain", key, "-o", "json").data
    request = {each["rule"]: each["request"] for each in explained["verdicts"]}["clips"]
    assert request["error"] == "USER_DATA"
    assert request["user_data_bytes"] > 512
    assert request["hint"] == "shorten workflow.user_data of rule clips"
    assert "shorten workflow.user_data" in shell("explain", key).out


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("incoming/clips/x.mov", Reason.EXTENSION),
        ("incoming/clips/plain", Reason.EXTENSION),
        ("incoming/clips/clip.", Reason.EXTENSION),
        ("incoming/clips/", Reason.FOLDER_MARKER),
        ("incoming/clip/x.mp4", Reason.PREFIX),
        ("oss://other/incoming/clips/x.mp4", Reason.BUCKET),
        ("incoming/clips/X.MP4", Reason.MATCHED),
    ],
)
def test_each_reason_has_a_sentence(shell: Shell, key: str, reason: Reason) -> None:
    [explained] = shell("explain", key, "-o", "json").data
    verdict = {each["rule"]: each for each in explained["verdicts"]}["clips"]
    assert verdict["reason"] == reason
    assert len(verdict["sentence"]) > 20


def test_never_trigger_and_exclude_are_reasons(shell: Shell) -> None:
    [explained] = shell("explain", "incoming/transcoded/x.mp4", "-o", "json").data
    assert reasons(explained)["transcode"] == "NEVER_TRIGGER"


def reasons(explained: dict[str, Any]) -> dict[str, str]:
    return {each["rule"]: each["reason"] for each in explained["verdicts"]}


def test_several_urls_in_every_form_are_one_answer_each(shell: Shell) -> None:
    urls = [
        "http://my-media.oss-cn-hangzhou.aliyuncs.com/incoming/a%20b.mp4",
        "https://my-media.oss-cn-hangzhou-internal.aliyuncs.com/incoming/a%20b.mp4",
        "oss://my-media/incoming/a b.mp4",
        "incoming/a b.mp4",
    ]
    explained = shell("explain", "-o", "json", *urls).data
    assert [each["url"] for each in explained] == urls
    assert {each["key"] for each in explained} == {"incoming/a b.mp4"}
    lines = shell("explain", "-o", Format.JSONL, *urls).out.splitlines()
    assert [json.loads(line) for line in lines] == explained


@pytest.mark.parametrize(
    "key", ["incoming/\x1b]0;evil\x07.mp4", "incoming/\u202egpj.mp4", "incoming/a\nb.mp4", "incoming/\udc80.mp4"]
)
def test_hostile_keys_are_shown_harmlessly_and_given_back_by_json(shell: Shell, key: str) -> None:
    out = shell("explain", key).out
    assert not set(key) & set(out) & {"\x1b", "\x07", "\u202e", "\udc80"}
    [explained] = shell("explain", key, "-o", "json").data
    assert explained["key"] == key


def test_a_url_that_names_nothing_says_what_to_write(shell: Shell) -> None:
    ran = shell("explain", "https://cdn.example.com/x.mp4?Signature=geheim")
    assert ran.code == 78
    assert "geheim" not in ran.err + ran.out
    assert ran.err.startswith("error: ")
    assert "hint: " in ran.err


TWO_STEPS = """\
rules:
  - name: cut
    input: http://my-media.oss-cn-hangzhou.aliyuncs.com/cut/
    editing:
      timeline: {VideoTracks: [{VideoTrackClips: [{MediaURL: "{url}"}]}]}
      output_media_config: {MediaURL: "oss://out/{key}", Bitrate: "{size}00000"}
  - name: filed
    input: oss://my-media/filed/
    workflow: {id: w1, input_type: media}
"""


def test_an_editing_job_is_shown_with_all_that_travels(tmp_path: Path) -> None:
    shell = shell_with(tmp_path, TWO_STEPS.replace("{size}00000", "3000"))
    [explained] = shell("explain", "cut/a.mp4", "-o", "json").data
    request = explained["verdicts"][0]["request"]
    assert request["action"] == "SubmitMediaProducingJob"
    assert request["output_media_config"] == '{"MediaURL":"oss://out/cut/a.mp4","Bitrate":"3000"}'
    assert (request["client_token"], "template_id" in request) == ("x" * 26, False)
    assert explained["verdicts"][0]["then"] is None
    out = shell("explain", "cut/a.mp4").out
    assert "SubmitMediaProducingJob at https://ice.cn-hangzhou.aliyuncs.com" in out
    assert all(f"  {name} " in out for name in ("Timeline", "OutputMediaTarget", "OutputMediaConfig", "ClientToken"))
    assert f"({request['user_data_bytes']} of 512 bytes" in out


def test_a_limit_that_the_object_breaks_is_told(tmp_path: Path) -> None:
    shell = shell_with(tmp_path, TWO_STEPS.replace("{size}00000", "1{size}000"))
    [explained] = shell("explain", "cut/a.mp4", "-o", "json").data
    request = explained["verdicts"][0]["request"]
    assert (request["error"], request["field"]) == ("LIMIT", "output_media_config.Bitrate")
    assert "10000 kbit/s is out of range" in request["message"]
    assert "cannot be sent: output_media_config.Bitrate: 10000 kbit/s" in shell("explain", "cut/a.mp4").out


def test_both_steps_of_a_media_asset_are_shown(tmp_path: Path) -> None:
    shell = shell_with(tmp_path, TWO_STEPS)
    [explained] = shell("explain", "filed/a.mp4", "-o", "json").data
    verdict = explained["verdicts"][1]
    assert (verdict["request"]["action"], verdict["request"]["input_url"]) == (
        "RegisterMediaInfo",
        "oss://my-media/filed/a.mp4",
    )
    assert verdict["then"]["action"] == "StartWorkflow"
    assert json.loads(verdict["then"]["task_input"]) == {"Type": "Media", "Media": "(the media id)"}
    out = shell("explain", "filed/a.mp4").out
    assert "step 1 of 2, RegisterMediaInfo" in out
    assert "step 2 of 2, StartWorkflow" in out

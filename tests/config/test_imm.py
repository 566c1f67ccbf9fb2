"""`imm:` and batch files: what is read, what follows, and what is said when something is wrong."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dispatcher.config import effective, load, policy
from dispatcher.config.batch_file import load_batch
from dispatcher.core.batches import BatchAction, FastFail, ImmSettings, WrittenBatch
from dispatcher.core.location import Location, Names
from dispatcher.errors import ConfigError

if TYPE_CHECKING:
    from dispatcher.core.settings import Settings

RULES = "rules: [{name: a, input: 'http://media.oss-cn-hangzhou.aliyuncs.com/in/', workflow: w}]\n"
IMM = """\
imm:
  project: p1
  endpoint: imm.example:8443
  service_role: own-role
  actions: [{name: video/convert, parameters: ["f=mp4", "pages=3"], fast_fail_policy: abort}, {name: doc/convert}]
  notification: {mns_topic: t1}
  tags: {team: x}
"""
FILE = """\
input: oss://media/in/
match_expressions: ["*.mp4"]
project: p2
service_role: r2
actions: [{name: n, parameters: ["a=1"], fast_fail_policy: ignore}]
notification: {mns_topic: t2}
tags: {k: v}
"""
NAMES = Names(frozenset({"media"}), only_bucket="media")


def settings_of(folder: Path, text: str, **env: str) -> Settings:
    path = folder / "config.yaml"
    path.write_text(text, "utf-8")
    return load(path, env)


def batch_of(folder: Path, text: str) -> WrittenBatch:
    path = folder / "batch.yaml"
    path.write_text(text, "utf-8")
    return load_batch(path, NAMES, {"TEAM": "from the environment"})


def test_imm_is_read_and_shown_as_it_loads(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, RULES + IMM)
    assert settings.imm == ImmSettings(
        "p1",
        "https://imm.example:8443",
        "own-role",
        (BatchAction("video/convert", ("f=mp4", "pages=3"), FastFail.ABORT), BatchAction("doc/convert")),
        "t1",
        {"team": "x"},
    )
    again = settings_of(tmp_path, json.dumps(effective(settings)))
    assert again.imm == settings.imm


def test_a_project_is_all_that_imm_needs(tmp_path: Path) -> None:
    assert settings_of(tmp_path, RULES + "imm: {project: p1}").imm == ImmSettings("p1")
    assert settings_of(tmp_path, RULES).imm is None
    assert settings_of(tmp_path, RULES, OSS_DISPATCHER_IMM__PROJECT="p9").imm == ImmSettings("p9")


def test_the_policy_allows_batches_in_this_project_alone(tmp_path: Path) -> None:
    without = policy(settings_of(tmp_path, RULES))
    assert "imm:" not in json.dumps(without)
    statements = policy(settings_of(tmp_path, RULES + IMM))["Statement"]
    assert isinstance(statements, list)
    [of_project, of_bindings] = [each for each in statements if each["Action"][0].startswith("imm:")]
    assert of_project["Resource"] == ["acs:imm:*:*:project/p1", "acs:imm:*:*:project/p1/*"]
    calls = {"CreateBatch", "ListBatches", "GetBatch", "SuspendBatch", "ResumeBatch", "GetProject"}
    assert set(of_project["Action"]) == {f"imm:{call}" for call in calls}
    assert of_bindings["Action"] == ["imm:GetOSSBucketAttachment"]
    assert statements[-1] == {
        "Effect": "Allow",
        "Action": ["ram:GetRole"],
        "Resource": ["acs:ram:*:*:role/own-role"],
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("imm: {}", "imm.project: this key is missing"),
        ("imm: {project: p, action: []}", "unknown key `action`; did you mean `actions`?"),
        ("imm: {project: p, actions: []}", "imm.actions"),
        ("imm: {project: p, actions: [{name: n, fast_fail_policy: stop}]}", "write 'abort' or 'ignore'"),
        ("imm: {project: p, actions: [{nam: n}]}", "unknown key `nam`; did you mean `name`?"),
        ("imm: {project: p, notification: {topic: t}}", "unknown key `topic`"),
        ("imm: {project: p, tags: {oss_dispatcher_id: x}}", "is ours"),
        ("imm: {project: p, tags: {a: 1}}", 'quote it: "1"'),
    ],
)
def test_what_is_wrong_in_imm_is_told_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings_of(tmp_path, RULES + line)
    assert said in refused.value.message
    assert all(each.startswith("config.yaml:2: imm") for each in refused.value.message.splitlines())


def test_a_batch_file_is_read_whole(tmp_path: Path) -> None:
    assert batch_of(tmp_path, FILE) == WrittenBatch(
        input=Location("media", "in/"),
        region=None,
        match_expressions=("*.mp4",),
        project="p2",
        service_role="r2",
        actions=(BatchAction("n", ("a=1",), FastFail.IGNORE),),
        topic="t2",
        tags={"k": "v"},
    )


def test_a_batch_file_may_be_json_and_hold_variables(tmp_path: Path) -> None:
    text = json.dumps({"input": "http://other.oss-cn-beijing.aliyuncs.com/x/", "tags": {"team": "${TEAM}"}})
    assert batch_of(tmp_path, text) == WrittenBatch(
        input=Location("other", "x/"), region="cn-beijing", tags={"team": "from the environment"}
    )


def test_every_problem_of_a_batch_file_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        batch_of(tmp_path, "input: 5\nactions:\n  - parameters: [a]\n  - name: n\n    fast: x\nproject: ${NOBODY}\n")
    assert refused.value.message.splitlines() == [
        'batch.yaml:1: input: without quotes this is a number; quote it: "5"',
        "batch.yaml:3: actions[0].name: this key is missing; write it here",
        "batch.yaml:5: actions[1].fast: unknown key `fast`; there are name, parameters, fast_fail_policy",
        "batch.yaml:6: project: the environment variable NOBODY is not set; set it, or write ${NOBODY:-default}",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "begin with `input:`"),
        ("input: ftp://media/x", "input: ftp:// is not a way"),
        ("input: oss://media/x\nrules: []", "unknown key `rules`"),
    ],
)
def test_what_is_no_batch_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        batch_of(tmp_path, text)
    assert said in refused.value.message


def test_a_batch_file_may_leave_everything_to_the_configuration(tmp_path: Path) -> None:
    assert batch_of(tmp_path, "") == WrittenBatch()


def test_the_batch_file_of_the_documentation_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "batches.md").read_text("utf-8")
    [example] = re.findall(r"^```yml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    batch = batch_of(tmp_path, example.replace("my-media", "media"))
    assert batch.input == Location("media", "archive/2019/")
    assert {each.name for each in fields(batch) if getattr(batch, each.name) in (None, ())} == {"region"}


def test_a_batch_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_batch(tmp_path / "nowhere.yaml", NAMES, {})

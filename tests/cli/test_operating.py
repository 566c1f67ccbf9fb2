"""`rules`, `status`, `config`, `db`: what operators see and do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dispatcher import __version__
from tests.cli.desk import HOSTILE, TASK, Shell, id_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_rules_list_counts_states_and_budgets(filled: Shell) -> None:
    transcode, clips = filled("rules", "list", "-o", "json").data
    assert (transcode["rule"], transcode["input"], transcode["workflow"]) == (
        "transcode",
        "oss://my-media/incoming/",
        "f0e54971ecbffd472190",
    )
    assert transcode["states"] == {"started": 1, "dead": 1, "uncertain": 1, "pending": 1, "skipped": 1}
    assert transcode["budget"]["limit"] == 100
    assert (clips["states"], clips["hold"]) == ({}, None)
    assert transcode["action"] == transcode["workflow"]
    assert "of 100" in filled("rules", "list").out


def test_a_paused_rule_holds_its_rows_until_it_is_resumed(filled: Shell) -> None:
    assert filled("rules", "pause", "transcode", "--detail", "new workflow", "-o", "json").data == {
        "rule": "transcode",
        "changed": True,
        "hold": "OPERATOR",
    }
    assert "was held already" in filled("rules", "pause", "transcode").out
    hold = filled("rules", "list", "-o", "json").data[0]["hold"]
    assert (hold["reason"], hold["detail"]) == ("OPERATOR", "new workflow")
    [pending] = filled("dispatches", "list", "--state", "pending", "-o", "json").data
    assert (pending["key"], pending["reason"]) == (HOSTILE, "HELD")
    assert [each["rule"] for each in filled("status", "-o", "json").data["holds"]] == ["transcode"]
    assert filled("rules", "resume", "transcode", "-o", "json").data["changed"] is True
    assert filled("rules", "resume", "transcode", "-o", "json").data["changed"] is False
    assert filled("dispatches", "list", "--state", "pending", "-o", "json").data[0]["reason"] is None


def test_release_gives_a_rule_more_for_today(filled: Shell) -> None:
    before = filled("rules", "list", "-o", "json").data[0]["budget"]["left"]
    assert filled("rules", "release", "transcode", "--count", "7", "-o", "json").data["released"] == 7
    assert filled("rules", "list", "-o", "json").data[0]["budget"]["left"] == before + 7


def test_a_mistyped_rule_is_suggested(filled: Shell) -> None:
    ran = filled("rules", "pause", "transcoed")
    assert ran.code == 2
    assert "did you mean transcode?" in ran.err


def test_status_adds_up(filled: Shell) -> None:
    found = filled("status", "-o", "json").data
    assert {each["state"]: each["count"] for each in found["states"]} == dict.fromkeys(
        ["started", "dead", "uncertain", "pending", "skipped"], 1
    )
    assert found["dead_codes"] == {"InvalidParameter": 1}
    assert found["uncertain"] == 1
    assert found["task_statuses"] == [{"task_status": "Succeed", "count": 1}]
    assert found["oldest_waiting"]["age_seconds"] >= 600
    assert found["foreign_starts"] == {"count": 0, "last": []}
    assert found["double_starts"] == {"count": 0, "last": []}
    out = filled("status").out
    assert "InvalidParameter" in out
    assert "oldest waiting: 0:1" in out


def test_config_show_masks_secrets_and_is_read_back(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        "credentials: {type: access_key, access_key_id: AK1, access_key_secret: top-secret}\n"
        "rules:\n  - {name: a, input: 'oss://my-media.oss-cn-hangzhou.aliyuncs.com/in/', workflow: w1}\n",
        encoding="utf-8",
    )
    shell = Shell(config)
    for words in (["config", "show"], ["config", "show", "-o", "json"]):
        ran = shell(*words)
        assert ran.code == 0
        assert "top-secret" not in ran.out + ran.err
        assert "***" in ran.out


def test_config_init_and_schema_and_policy(shell: Shell, tmp_path: Path) -> None:
    starter = tmp_path / "first.yaml"
    starter.write_text(shell("config", "init").out, encoding="utf-8")
    assert Shell(starter)("config", "show").code == 0
    assert "rules" in json.loads(shell("config", "schema").out)["properties"]
    policy = shell("config", "policy").data
    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert {"oss:ListObjects", "ice:StartWorkflow", "ice:ListWorkflowTasks"} <= actions


def test_db_shows_upgrades_and_copies(shell: Shell, tmp_path: Path) -> None:
    assert shell("db", "current", "-o", "json").data["revision"] is None
    assert not list(tmp_path.glob("*.db"))
    assert shell("db", "backup", str(tmp_path / "copy")).code == 69
    upgraded = shell("db", "upgrade", "-o", "json").data
    assert upgraded["upgraded"] is True
    current = shell("db", "current", "-o", "json").data
    assert current["revision"] == current["head"] == upgraded["revision"]
    assert shell("db", "backup", str(tmp_path / "copy"), "-o", "json").data["bytes"] > 0
    assert shell("db", "backup", str(tmp_path / "copy")).code == 69


def test_a_copy_is_a_whole_ledger(filled: Shell, tmp_path: Path) -> None:
    assert filled("db", "backup", str(tmp_path / "copy.db")).code == 0
    filled.config.write_text(
        filled.config.read_text(encoding="utf-8") + f'ledger: {{url: "sqlite:///{tmp_path / "copy.db"}"}}\n',
        encoding="utf-8",
    )
    [row] = filled("dispatches", "list", id_of("incoming/started.mp4"), "-o", "json").data
    assert row["task_id"] == TASK


def test_version_and_usage(shell: Shell) -> None:
    assert shell("--version").out == f"oss-dispatcher {__version__}\n"
    for words in (
        ["nonsense"],
        ["check", "-o", "xml"],
        ["explain"],
        ["check", "-o"],
        ["dispatches", "list", "--state", "x"],
    ):
        ran = shell(*words)
        assert (ran.code, ran.out) == (2, "")


def test_without_a_configuration_the_operator_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = Shell(tmp_path / "missing.yaml")("check")
    assert (ran.code, "does not exist" in ran.err) == (78, True)
    monkeypatch.setenv("OSS_DISPATCHER_CONFIG", str(tmp_path / "other.yaml"))
    assert "missing.yaml" in Shell(tmp_path / "missing.yaml")("check").err

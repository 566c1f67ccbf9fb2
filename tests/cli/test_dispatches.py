"""The ledger by its selectors: what is listed, shown and changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.desk import ETAG, SIZE, STATES, TASK, id_of

if TYPE_CHECKING:
    from tests.cli.desk import Shell

MORE = ["api", "media_id", "vod_media_id", "project_id", "input_media_id", "backfill"]
FIELDS = [
    "dispatch_id",
    "rule",
    "bucket",
    "key",
    "etag",
    "size",
    "run",
    "state",
    "reason",
    "source",
    "attempts",
    "next_at",
    "workflow",
    "task_id",
    "task_status",
    "task_error",
    "request_id",
    "first_seen_at",
    "started_at",
    "task_finished_at",
    "updated_at",
    "last_error",
]


def test_list_has_exactly_the_fields_of_the_contract(filled: Shell) -> None:
    rows = filled("dispatches", "list", "-o", "json").data
    assert {row["key"]: row["state"] for row in rows} == STATES
    for row in rows:
        assert list(row) == FIELDS + MORE
    dead = next(row for row in rows if row["state"] == "dead")
    assert dead["last_error"] == {"code": "InvalidParameter", "message": "no such input", "request_id": "REQ-2"}
    started = next(row for row in rows if row["state"] == "started")
    assert (started["task_id"], started["task_status"], started["request_id"]) == (TASK, "Succeed", "REQ-1")
    assert (started["etag"], started["size"], started["run"]) == (ETAG, SIZE, "")
    assert started["first_seen_at"].endswith("Z")
    assert started["last_error"] is None


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["--state", "dead"], ["incoming/dead.mp4"]),
        (["--state", "dead", "--state", "skipped"], ["incoming/dead.mp4", "incoming/skipped.mp4"]),
        (["--code", "InvalidParameter"], ["incoming/dead.mp4"]),
        (["--task-status", "Succeed"], ["incoming/started.mp4"]),
        (["--key", "incoming/s*"], ["incoming/skipped.mp4", "incoming/started.mp4"]),
        (["--key", "incoming/s"], []),
        ([id_of("incoming/dead.mp4")], ["incoming/dead.mp4"]),
        ([id_of("incoming/dead.mp4") + ".1"], ["incoming/dead.mp4"]),
        (["http://my-media.oss-cn-hangzhou.aliyuncs.com/incoming/dead.mp4"], ["incoming/dead.mp4"]),
        (["incoming/dead.mp4", "oss://my-media/incoming/started.mp4"], ["incoming/dead.mp4", "incoming/started.mp4"]),
        (["--rule", "clips"], []),
        (["--since", "1h"], sorted(STATES)),
        (["--since", "1m"], []),
        (["--until", "2020-01-01"], []),
        (["--source", "poll:my-media/incoming/"], sorted(STATES)),
        (["--source", "smq"], []),
    ],
)
def test_each_selector_selects(filled: Shell, words: list[str], keys: list[str]) -> None:
    assert sorted(row["key"] for row in filled("dispatches", "list", "-o", "json", *words).data) == keys


def test_jsonl_is_one_row_a_line_and_the_limit_holds(filled: Shell) -> None:
    lines = filled("dispatches", "list", "--limit", "2", "-o", "jsonl").out.splitlines()
    assert len([json.loads(line) for line in lines]) == 2


def test_the_table_shows_a_hostile_key_harmlessly(filled: Shell) -> None:
    out = filled("dispatches", "list").out
    assert "my-media/incoming/\\x1b[2J\\u202efdp.mp4" in out
    assert not {"\x1b", "\u202e"} & set(out)


def test_show_tells_the_whole_story(filled: Shell) -> None:
    out = filled("dispatches", "show", "incoming/started.mp4").out
    story = [
        "seen by poll:my-media/incoming/",
        "matched rule transcode",
        "attempt 1: StartWorkflow f0e54971ecbffd472190",
    ]
    story += [f"attempt 1: started: task {TASK} (RequestId REQ-1)", f"task {TASK} ended: Succeed", "now: started"]
    places = [out.index(each) for each in story]
    assert places == sorted(places)
    assert '"Media":"oss://my-media/incoming/started.mp4"' in out


def test_show_as_json_holds_what_was_sent_and_what_came_back(filled: Shell) -> None:
    [detail] = filled("dispatches", "show", id_of("incoming/dead.mp4"), "-o", "json").data
    assert set(FIELDS) < set(detail)
    assert detail["calls"][0]["request"]["workflow_id"] == "f0e54971ecbffd472190"
    assert [(each["outcome"], each["code"], each["request_id"]) for each in detail["outcomes"]] == [
        ("rejected", "InvalidParameter", "REQ-2")
    ]


def test_show_of_what_the_ledger_never_had_says_so(filled: Shell) -> None:
    ran = filled("dispatches", "show", id_of("incoming/never.mp4"))
    assert ran.code == 2
    assert "the ledger has no such dispatch" in ran.err


@pytest.mark.parametrize("verb", ["retry", "skip", "probe", "show"])
def test_a_verb_without_a_selector_is_wrong_usage(filled: Shell, verb: str) -> None:
    assert filled("dispatches", verb).code == 2
    assert filled("dispatches", verb, "--limit", "1").code == 2


@pytest.mark.parametrize(
    ("verb", "words", "count"),
    [("retry", ["--state", "dead"], 1), ("skip", ["--key", "incoming/*"], 2), ("probe", ["--rule", "transcode"], 1)],
)
def test_without_a_terminal_a_writer_says_the_count_and_changes_nothing(
    filled: Shell, verb: str, words: list[str], count: int
) -> None:
    before = filled("dispatches", "list", "-o", "json").data
    ran = filled("dispatches", verb, *words)
    assert ran.code == 2
    assert f"{verb} {count} dispatches" in ran.err
    assert "--yes" in ran.err
    assert filled("dispatches", "list", "-o", "json").data == before


def states(shell: Shell) -> dict[str, str]:
    return {row["key"]: row["state"] for row in shell("dispatches", "list", "-o", "json").data}


def test_retry_sends_the_dead_and_skipped_again_and_never_the_started(filled: Shell) -> None:
    assert filled("dispatches", "retry", "--key", "incoming/*", "--yes", "-o", "json").data == {
        "verb": "retry",
        "selected": 2,
        "changed": 2,
    }
    assert states(filled) == {**STATES, "incoming/dead.mp4": "pending", "incoming/skipped.mp4": "pending"}


def test_skip_respects_the_limit(filled: Shell) -> None:
    assert (
        filled("dispatches", "skip", "--key", "incoming/*", "--limit", "1", "--yes", "-o", "json").data["changed"] == 1
    )
    assert sorted(states(filled).values()).count("skipped") == 2


def test_probe_makes_an_uncertain_row_due_now(filled: Shell) -> None:
    [before] = filled("dispatches", "list", "--state", "uncertain", "-o", "json").data
    assert "1 of 1" in filled("dispatches", "probe", "--state", "uncertain", "--yes").out
    [after] = filled("dispatches", "list", "--state", "uncertain", "-o", "json").data
    assert after["next_at"] < before["next_at"]


def test_nothing_to_change_is_said_and_is_no_error(filled: Shell) -> None:
    ran = filled("dispatches", "retry", "--state", "started")
    assert (ran.code, "nothing was changed" in ran.out) == (0, True)


def test_without_a_ledger_the_operator_is_told(shell: Shell) -> None:
    ran = shell("dispatches", "list")
    assert ran.code == 69
    assert "there is no ledger at" in ran.err
    assert "hint: start `oss-dispatcher run`" in ran.err

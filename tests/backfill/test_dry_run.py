"""What the command says before it does anything: the dry run, the question, and refusals. In this process."""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from dispatcher.cli import backfill
from dispatcher.cli.moments import parse_moment, parse_span
from dispatcher.errors import UsageError
from tests.cli.desk import Shell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.backfill.conftest import Yard

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)


@pytest.fixture
def shell(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The command line with six objects: five match rule a, two of these rule b too."""
    yard.put("in/1.mp4", b"12345")
    yard.put("in/2.MOV", b"1")
    yard.put("in/plain", b"1")
    yard.put("in/b/3.mp4", b"123")
    yard.put("in/b/4.mp4", b"123")
    yard.put("in/notes.txt")
    monkeypatch.chdir(yard.home)
    return Shell(yard.config)


def test_the_dry_run_counts_by_rule_and_extension_and_writes_nothing(yard: Yard, shell: Shell) -> None:
    told = shell("backfill", "--dry-run", "-o", "json", "--max-rate", "2/s").data
    assert (told["listed"], told["matched"], told["starts"], told["known"], told["bytes"]) == (6, 5, 7, 0, 19)
    [a, b] = told["rules"]
    assert (a["rule"], a["objects"], a["bytes"], a["starts"]) == ("a", 5, 13, 5)
    assert {name: each["objects"] for name, each in a["extensions"].items()} == {"mov": 1, "mp4": 3, "none": 1}
    assert b["examples"] == [f"oss://{yard.bucket}/in/b/3.mp4", f"oss://{yard.bucket}/in/b/4.mp4"]
    assert (told["calls"], told["list_requests"], told["head_requests"]) == ({"StartWorkflow": 7}, 1, 0)
    assert (told["seconds"], told["ledger_bytes"] > 1_000) == (3.5, True)
    assert not (yard.home / "oss-dispatcher.db").exists()
    assert yard.simulator.journal() == []
    table = shell("backfill", "--dry-run", "--limit", "2").out
    assert "would start    2 (of 7: --limit)" in table
    assert "StartWorkflow 2" in table


def test_what_was_dispatched_before_is_not_counted_as_a_start(yard: Yard, shell: Shell) -> None:
    assert yard.backfill("--rule", "b").ended() == 0
    told = shell("backfill", "--dry-run", "-o", "json").data
    assert (told["starts"], told["known"]) == (5, 2)
    assert shell("backfill", "--dry-run", "-o", "json", "--again", "x").data["starts"] == 7


def test_a_prefix_is_listed_alone(yard: Yard, shell: Shell) -> None:
    told = shell("backfill", "--dry-run", "-o", "json", "--prefix", f"oss://{yard.bucket}/in/b/").data
    assert (told["listed"], told["starts"]) == (2, 4)
    assert shell("backfill", "--dry-run", "-o", "json", "--prefix", "in/b/3", "--rule", "a").data["starts"] == 1


def test_without_a_narrowing_option_it_asks(yard: Yard, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = shell("backfill")
    assert refused.code == 2
    assert "--dry-run" in refused.err
    monkeypatch.setattr(backfill, "ASK_ABOVE", 3)
    refused = shell("backfill", "--rule", "a")
    assert (refused.code, "this would start 5 workflows" in refused.err) == (2, True)
    assert "would start    5" in refused.out
    assert shell("backfill", "--limit", "4").code == 2
    assert not (yard.home / "oss-dispatcher.db").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--rule", "none"], 2, "no rule none"),
        (["--prefix", "elsewhere/"], 2, "reads anything under"),
        (["--since", "soon"], 2, "--since soon"),
        (["--max-rate", "5"], 2, "--max-rate"),
        (["--for", "night"], 2, "--for"),
        (["--again", " "], 2, "needs a name"),
        (["--inventory", "none.json", "--dry-run"], 69, "none.json"),
        (["--inventory", "oss://logs/manifest.json", "--dry-run"], 78, "does not know bucket logs"),
        (["resume", "7"], 69, "ledger"),
        (["--max-rate", "5/s", "resume", "7"], 2, "before `resume`"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(shell: Shell, words: list[str], code: int, said: str) -> None:
    refused = shell("backfill", *words)
    assert (refused.code, said in refused.err) == (code, True), refused.err


def test_list_and_pause_by_name(yard: Yard, shell: Shell) -> None:
    assert yard.backfill("--rule", "b", "--again", "codec").ended() == 0
    [listed] = shell("backfill", "list", "-o", "json").data
    assert (listed["name"], listed["state"], listed["recorded"], listed["states"]["started"]) == ("codec", "done", 2, 2)
    assert "codec" in shell("backfill", "list").out
    assert shell("backfill", "pause", "codec", "-o", "json").data == {"backfill": 1, "name": "codec", "changed": False}
    for verb in ("pause", "resume", "cancel"):
        assert shell("backfill", verb, "other").code == 2
    assert "is done" in shell("backfill", "resume", "1").err
    assert shell("status", "-o", "json").data["backfills"] == []
    assert {row["backfill"] for row in shell("dispatches", "list", "-o", "json").data} == {1}


def test_an_inventory_starts_what_is_really_there(yard: Yard, shell: Shell) -> None:
    rows = "".join(f'"{yard.bucket}","{key}"\n' for key in ("in/1.mp4", "in/gone.mp4", "in/b/3.mp4", "in/notes.txt"))
    packed = gzip.compress(rows.encode())
    parts = {
        "sourceBucket": yard.bucket,
        "destinationBucket": "logs",
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key",
        "files": [{"key": "inv/1.csv.gz", "MD5checksum": hashlib.md5(packed, usedforsecurity=False).hexdigest()}],
    }
    (yard.home / "1.csv.gz").write_bytes(packed)
    (yard.home / "manifest.json").write_text(json.dumps(parts))
    told = shell("backfill", "--inventory", "manifest.json", "--dry-run", "-o", "json").data
    assert (told["listed"], told["starts"], told["unsized"], told["head_requests"]) == (4, 4, 4, 3)
    run = yard.backfill("--inventory", "manifest.json", "--yes")
    assert run.ended() == 0, run.said
    assert (run.data["recorded"], run.data["gone"]) == (3, 1)
    assert set(yard.accepted()) == {("in/1.mp4", "wf-a"), ("in/b/3.mp4", "wf-a"), ("in/b/3.mp4", "wf-b")}


@pytest.fixture
def shanghai(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("shanghai")
def test_times_without_a_zone_are_local_and_told_with_their_offset(shell: Shell) -> None:
    assert parse_moment("2026-01-31", "--since", NOW).at.isoformat() == "2026-01-31T00:00:00+08:00"
    assert parse_moment("2026-01-31T08:00:00Z", "--since", NOW).at == datetime(2026, 1, 31, 8, tzinfo=UTC)
    assert parse_moment("12h", "--since", NOW).at == datetime(2026, 3, 14, tzinfo=UTC)
    with pytest.raises(UsageError, match="--slack"):
        parse_span("a day", "--slack")
    said = shell("backfill", "--dry-run", "--since", "2026-01-31", "--slack", "0s").err
    assert "--since 2026-01-31: 2026-01-31T00:00:00+08:00" in said

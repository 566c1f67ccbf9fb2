"""What is printed is safe to look at, and what programs read is ASCII."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from dispatcher.cli.output import Format, Json, brief_time, print_document, print_records, print_table, rfc3339

HOSTILE = "in/\x1b[31mred\x1b[0m \u202egnp.exe\n\x00\udc80 [bold]x[/bold] :smile: 电影.mp4"


def test_a_table_shows_hostile_keys_escaped_and_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["key", "state"], [[HOSTILE, None]], title=HOSTILE)
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.startswith("in/\\x1b[31mred") and line.rstrip().endswith("-"))
    assert "[bold]x[/bold] :smile: 电影.mp4" in row
    for dangerous in ("\x1b", "\u202e", "\x00", "\udc80"):
        assert dangerous not in out


def test_a_table_in_a_pipe_does_not_cut_long_keys(capsys: pytest.CaptureFixture[str]) -> None:
    key = "folder/" * 140 + "film.mp4"
    print_table(["key", "state"], [[key, "started"]])
    assert key in capsys.readouterr().out


@pytest.mark.parametrize("output", [Format.JSON, Format.JSONL])
def test_json_is_ascii_and_gives_the_key_back(output: Format, capsys: pytest.CaptureFixture[str]) -> None:
    print_document({"key": HOSTILE}, output)
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"key": HOSTILE}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_records_are_one_array_or_one_line_each(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    records: list[dict[str, Json]] = [{"n": n, "key": HOSTILE} for n in range(count)]
    print_records(iter(records), Format.JSON)
    assert json.loads(capsys.readouterr().out) == records
    print_records(iter(records), Format.JSONL)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == records


def test_times_are_rfc_3339_in_utc() -> None:
    at = datetime(2026, 11, 22, 8, 0, 0, 123456, tzinfo=timezone(timedelta(hours=8)))
    assert rfc3339(at) == "2026-11-22T00:00:00.123Z"
    assert rfc3339(None) is None
    assert brief_time(at) == "2026-11-22 00:00:00Z"
    assert brief_time(None) == "-"
    assert datetime.fromisoformat(str(rfc3339(at))) == at.astimezone(UTC).replace(microsecond=123000)

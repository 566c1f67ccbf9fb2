"""`quarantine`, `events decode`, and what `status` tells of notifications."""

from __future__ import annotations

import base64
import json
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.cli.ledgers import now
from dispatcher.config import load
from dispatcher.ledger import announcing, quarantine
from dispatcher.ledger.engine import Ledger
from dispatcher.ports import Undecodable
from dispatcher.service.assembly import register
from tests.core.decoding import bodies

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.desk import Shell

HOSTILE = b"\x1b[2J\xff not json"


@pytest.fixture
def quarantined(shell: Shell) -> Shell:
    """Two bodies in quarantine: one that is understood when it is read again, and one that never is."""
    settings = load(shell.config, {})
    good = bodies.oss_event("incoming/a.mp4")
    good["oss"]["bucket"]["name"] = "my-media"
    with closing(Ledger.open(settings.ledger.url)) as ledger:
        register(settings, ledger, now() - timedelta(days=999))
        with ledger.write() as tx:
            quarantine.record(tx, [Undecodable("smq:q", bodies.oss(good), "read as s3: no", "s3")], now())
            quarantine.record(tx, [Undecodable("hook", HOSTILE, "neither", None)] * 2, now())
            announcing.listed(tx, "my-media", ["incoming/x.mp4"], now() - timedelta(hours=1))
            announcing.count_missed(tx, now())
    return shell


def numbers(shell: Shell) -> list[int]:
    return [each["number"] for each in shell("quarantine", "list", "-o", "json").data]


# -- quarantine ------------------------------------------------------------------------------------


def test_quarantine_is_listed(quarantined: Shell) -> None:
    first, second = quarantined("quarantine", "list", "-o", "json").data
    assert {name: first[name] for name in ("number", "source", "format", "reason", "times")} == {
        "number": 1,
        "source": "smq:q",
        "format": "s3",
        "reason": "read as s3: no",
        "times": 1,
    }
    assert (second["format"], second["bytes"], second["times"]) == (None, len(HOSTILE), 1)
    lines = quarantined("quarantine", "list", "-o", "jsonl", "--source", "hook").out.splitlines()
    assert [json.loads(line)["source"] for line in lines] == ["hook"]
    assert len(quarantined("quarantine", "list", "-o", "json", "--limit", "1").data) == 1
    shown = quarantined("quarantine", "list").out
    assert "read as s3: no" in shown
    assert "\x1b" not in shown


def test_a_body_is_shown_whole(quarantined: Shell) -> None:
    found = quarantined("quarantine", "show", "2", "-o", "json").data
    assert base64.b64decode(found["body_base64"]) == HOSTILE
    shown = quarantined("quarantine", "show", "2")
    assert "\\xff not json" in shown.out
    assert "\x1b" not in shown.out
    assert quarantined("quarantine", "show", "7").code == 2


def test_a_retry_takes_what_is_understood(quarantined: Shell) -> None:
    ran = quarantined("quarantine", "retry", "--all", "--yes", "-o", "json")
    assert ran.data == {"verb": "retry", "selected": 2, "changed": 1, "left": 1}
    assert numbers(quarantined) == [2]
    # What OSS says of the content is not believed: the object itself is asked by the daemon.
    assert quarantined("status", "-o", "json").data["undecided_sightings"] == 1
    assert quarantined("quarantine", "retry", "2", "--format", "s3", "--yes", "-o", "json").data["left"] == 1


def test_dropping_forgets_the_chosen(quarantined: Shell) -> None:
    assert quarantined("quarantine", "drop", "--source", "hook", "--yes").out == "drop: 1 of 1 bodies forgotten\n"
    assert numbers(quarantined) == [1]
    assert quarantined("quarantine", "drop", "1", "--yes", "-o", "json").data["changed"] == 1
    assert quarantined("quarantine", "drop", "1", "--yes", "-o", "json").data["changed"] == 0


@pytest.mark.parametrize("verb", ["retry", "drop"])
def test_nothing_is_changed_without_a_selector_or_a_yes(quarantined: Shell, verb: str) -> None:
    assert "nothing is selected" in quarantined("quarantine", verb, "--yes").err
    assert quarantined("quarantine", verb, "--yes").code == 2
    assert quarantined("quarantine", verb, "--all").code == 2
    assert numbers(quarantined) == [1, 2]


def test_status_counts_quarantine_and_what_was_missed(quarantined: Shell) -> None:
    found = quarantined("status", "-o", "json").data
    assert found["quarantined"] == [{"source": "hook", "count": 1}, {"source": "smq:q", "count": 1}]
    (missed,) = found["found_by_listing_only"]
    assert (missed["bucket"], missed["count"]) == ("my-media", 1)
    shown = quarantined("status").out
    assert "in quarantine" in shown
    assert "found by listing only" in shown


# -- events decode ---------------------------------------------------------------------------------


def decode(shell: Shell, folder: Path, body: bytes, *words: str) -> tuple[int, Any]:
    file = folder / "body"
    file.write_bytes(body)
    ran = shell("events", "decode", str(file), "-o", "json", *words)
    assert ran.out.isascii()
    return ran.code, json.loads(ran.out)


def test_a_body_is_decoded_by_its_marks(shell: Shell, tmp_path: Path) -> None:
    body = bodies.oss(bodies.oss_event("in/ü.mp4"), bodies.oss_event("x", "ObjectRemoved:DeleteObject"))
    code, found = decode(shell, tmp_path, base64.b64encode(body))
    (event,) = found["events"]
    assert {name: event[name] for name in ("bucket", "key", "etag", "size", "event_name")} == {
        "bucket": "media",
        "key": "in/ü.mp4",
        "etag": bodies.ETAG.lower(),
        "size": 7,
        "event_name": "ObjectCreated:PutObject",
    }
    assert found["dropped"] == [{"reason": "EVENT_TYPE", "event_name": "ObjectRemoved:DeleteObject"}]
    assert (code, found["undecodable"]) == (0, [])


def test_the_format_may_be_said(shell: Shell, tmp_path: Path) -> None:
    body = bodies.s3(bodies.s3_record("a%2Bb"))
    assert decode(shell, tmp_path, body)[1]["events"][0]["key"] == "a+b"
    assert decode(shell, tmp_path, body, "--format", "ceph")[1]["events"][0]["key"] == "a%2Bb"
    code, found = decode(shell, tmp_path, body, "--format", "oss")
    assert (code, found["events"], len(found["undecodable"])) == (1, [], 1)


def test_appended_objects_are_shown_where_accepted(shell: Shell, tmp_path: Path) -> None:
    body = bodies.oss(bodies.oss_event("k", "ObjectCreated:AppendObject"))
    assert decode(shell, tmp_path, body)[1]["dropped"][0]["reason"] == "APPEND"
    assert decode(shell, tmp_path, body, "--accept", "append")[1]["events"][0]["growing"] is True
    assert shell("events", "decode", str(tmp_path / "body"), "--accept", "all").code == 2


def test_nonsense_ends_with_a_reason_and_exit_code_1(shell: Shell, tmp_path: Path) -> None:
    code, found = decode(shell, tmp_path, b"\x00nonsense")
    assert (code, found["events"], found["dropped"]) == (1, [], [])
    assert "reason" in found["undecodable"][0]


def test_stdin_and_tables(shell: Shell) -> None:
    ran = shell("events", "decode", "-", typed=bodies.seaweedfs("/buckets/media/k").decode())
    assert ran.code == 0
    assert "as told" in ran.out
    ran = shell("events", "decode", "-", typed=bodies.oss(bodies.oss_event("\x1b[2J")).decode())
    assert "HEAD decides" in ran.out
    assert "\x1b" not in ran.out
    assert "it holds no event" in shell("events", "decode", "-", "--format", "s3", typed='{"Records": []}').out


def test_decoding_needs_no_configuration(shell: Shell, tmp_path: Path) -> None:
    shell.config.unlink()
    assert decode(shell, tmp_path, bodies.eventbridge("k"))[0] == 0
    assert shell("events", "decode", str(tmp_path / "nowhere")).code == 2

"""`plan` on a store: exact figures, what the ledger knows, and samples that say what they rest on."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.config import load
from dispatcher.core.dispatch import content_identity, dispatch_id
from dispatcher.core.events import normalise_etag
from dispatcher.core.segments import SegmentTuning
from dispatcher.ledger import recording, rulesets, snapshots
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.recording import NewDispatch
from dispatcher.ledger.snapshots import LedgerSnapshots
from dispatcher.service.assembly import open_buckets, register
from dispatcher.sources.bucket import BucketSource
from tests.cli.desk import Shell

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.core.settings import Settings
    from dispatcher.demo.s3server import S3Server

NOW = datetime(2026, 3, 14, tzinfo=UTC)


class Place:
    """A bucket of a store with two configurations for it."""

    def __init__(self, directory: Path, store: S3Server, client: Any, bucket: str) -> None:
        self.directory, self.client, self.bucket = directory, client, bucket
        self.shared = {
            "buckets": [
                {
                    "name": bucket,
                    "region": "cn-hangzhou",
                    "endpoint": store.endpoint,
                    "addressing": "path",
                    "credentials": {
                        "type": "access_key",
                        "access_key_id": store.access_key_id,
                        "access_key_secret": store.access_key_secret.value,
                    },
                }
            ],
            "never_trigger": [f"s3://{bucket}/out/"],
        }

    def write(self, name: str, *rules: dict[str, Any]) -> Path:
        path = self.directory / name
        made = [{"workflow": {"id": "wf", "media_url": "oss://m/{key}"}, **each} for each in rules]
        path.write_text(json.dumps({**self.shared, "rules": made}), encoding="utf-8")
        return path

    def put(self, *keys: str, body: bytes = b"media") -> dict[str, str]:
        """Put objects; return their ETags."""
        return {
            key: normalise_etag(self.client.put_object(Bucket=self.bucket, Key=key, Body=body)["ETag"]) for key in keys
        }

    def plan(self, *words: str) -> Any:
        return Shell(self.directory / "now.yaml")(
            "plan", "--against", str(self.directory / "new.yaml"), "-o", "json", *words
        ).data

    def settings(self) -> Settings:
        return load(self.directory / "now.yaml", {})


@pytest.fixture
def place(tmp_path: Path, moto: S3Server, moto_bucket: tuple[Any, str]) -> Place:
    return Place(tmp_path, moto, *moto_bucket)


def rule(name: str, prefix: str, **more: object) -> dict[str, object]:
    return {"name": name, "input": prefix, **more}


def amounts(found: Any, name: str) -> dict[str, int]:
    [each] = [each for each in found["rules"] if each["rule"] == name]
    return {word: value["objects"] for word, value in each.items() if isinstance(value, dict)}


def figures(*counts: int) -> dict[str, int]:
    names = ("gained", "lost", "unchanged", "dispatched", "startable", "gained_startable", "on_restart")
    return dict(zip(names, counts, strict=True))


def test_exact_figures_for_every_rule(place: Place) -> None:
    etags = place.put(*(f"in/a/{n}.mp4" for n in range(60)), *(f"in/b/{n}.mov" for n in range(40)), "in/notes.txt")
    place.write("now.yaml", rule("cut", "in/a/"), rule("old", "in/b/"), rule("gone", "in/a/1"))
    place.write(
        "new.yaml",
        rule("cut", "in/"),
        rule("renamed", "in/b/", was=["old"]),
        rule("fresh", "in/b/", existing="dispatch", workflow="wf2"),
    )
    settings = place.settings()
    with closing(Ledger.open(settings.ledger.url)) as ledger:
        register(settings, ledger, NOW)
        keys = [("cut", f"in/a/{n}.mp4") for n in range(7)] + [("old", f"in/b/{n}.mov") for n in range(5)]
        rows = [
            NewDispatch(
                dispatch_id(name, place.bucket, key, content_identity(etags[key], 5)),
                name, place.bucket, key, etags[key], 5, "", "poll", None,
            )
            for name, key in keys
        ]  # fmt: skip
        with ledger.write() as tx:
            recording.record(tx, rows, NOW)
    found = place.plan()
    assert amounts(found, "cut") == figures(40, 0, 60, 7, 93, 40, 0)
    assert amounts(found, "renamed") == figures(0, 0, 40, 5, 35, 0, 0)
    assert amounts(found, "fresh") == figures(40, 0, 0, 0, 40, 40, 40)
    assert amounts(found, "gone")["lost"] == 11
    assert found["total"]["gained"] == {"objects": 80, "bytes": 400}
    assert found["listed"] == [
        {"bucket": place.bucket, "root": "in/", "basis": "whole", "objects": 101, "of": None, "snapshot_at": None}
    ]
    assert (found["estimated"], found["ledger"]) == (False, str(ledger.path))
    assert found["backfill"]["calls"] == {"StartWorkflow": 133}
    assert found["backfill"]["command"].endswith("new.yaml backfill --rule cut --rule fresh")
    gained = [(each["code"], sorted(each["rules"])) for each in found["problems_gained"]]
    assert gained.count(("overlap", ["cut", "fresh"])) == 1
    assert ("overlap", ["cut", "renamed"]) in gained
    assert [each["rules"] for each in found["problems_lost"] if each["code"] == "overlap"] == [["cut", "gone"]]


def test_without_a_ledger_nothing_is_dispatched_and_it_says_so(place: Place, tmp_path: Path) -> None:
    place.put("in/a.mp4")
    place.write("now.yaml", rule("r", "in/"))
    place.write("new.yaml", rule("s", "in/"))
    found = place.plan()
    assert found["ledger"] is None
    assert amounts(found, "s")["startable"] == 1
    [rename] = [each for each in found["problems_gained"] if each["code"] == "rename"]
    assert (rename["rules"], rename["severity"]) == (["r", "s"], "error")
    assert not list(tmp_path.glob("*.db"))
    out = Shell(tmp_path / "now.yaml")("plan", "--against", str(tmp_path / "new.yaml")).out
    assert "there is no ledger yet" in out
    assert "a backfill would make 1 StartWorkflow" in out


def test_a_wish_that_was_fulfilled_is_not_fulfilled_again(place: Place) -> None:
    place.put("in/a.mp4", "in/b.mp4")
    place.write("now.yaml", rule("r", "in/", existing="dispatch"))
    place.write("new.yaml", rule("s", "in/", existing="dispatch", was=["r"]))
    settings = place.settings()
    with closing(Ledger.open(settings.ledger.url)) as ledger:
        register(settings, ledger, NOW)
    assert amounts(place.plan(), "s")["on_restart"] == 2
    with closing(Ledger.open(settings.ledger.url)) as ledger, ledger.write() as tx:
        rulesets.mark_existing_done(tx, "r")
    assert amounts(place.plan(), "s")["on_restart"] == 0


def test_a_sample_says_what_it_rests_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatcher.service.sampling.PAGE", 10)
    monkeypatch.setattr("dispatcher.service.sampling.SAMPLED_PAGE", 10)
    place.put(*(f"in/{n // 100}/{n:03}.{'mp4' if n % 2 else 'mov'}" for n in range(300)))
    place.write("now.yaml", rule("r", "in/", extensions=["mov"]))
    place.write("new.yaml", rule("r", "in/", extensions=["mov", "mp4"]))
    beginning = place.plan("--sample", "--objects", "40")
    [listed] = beginning["listed"]
    assert (listed["basis"], listed["objects"], listed["of"]) == ("beginning", 40, None)
    assert amounts(beginning, "r")["gained"] == 20
    _list_once(place)
    spread = place.plan("--sample", "--objects", "60")
    [listed] = spread["listed"]
    assert (listed["basis"], listed["objects"], listed["of"]) == ("snapshot", 60, 300)
    assert (spread["estimated"], amounts(spread, "r")["gained"], amounts(spread, "r")["unchanged"]) == (True, 150, 150)
    whole = place.plan("--sample", "--objects", "300")
    assert (whole["estimated"], whole["listed"][0]["basis"], whole["listed"][0]["objects"]) == (False, "whole", 300)
    out = Shell(place.directory / "now.yaml")(
        "plan", "--against", str(place.directory / "new.yaml"), "--sample", "--objects", "60"
    ).out
    assert "~150" in out
    assert "an estimate from 60 objects, spread over the 300" in out


def test_a_sample_meets_folders_that_take_turns(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second folder holds the other kind alone: pages at even distances would meet one kind."""
    monkeypatch.setattr("dispatcher.service.sampling.SAMPLED_PAGE", 5)
    place.put(*(f"in/{n // 20:02}/{n:03}.{'mp4' if n // 20 % 2 else 'mov'}" for n in range(400)))
    place.write("now.yaml", rule("r", "in/", extensions=["mov"]))
    place.write("new.yaml", rule("r", "in/", extensions=["mov", "mp4"]))
    _list_once(place)
    found = place.plan("--sample", "--objects", "50")
    assert found["listed"][0]["basis"] == "snapshot"
    assert amounts(found, "r")["gained"] > 0
    assert amounts(found, "r")["unchanged"] > 0


def _list_once(place: Place) -> None:
    """Let the ledger have a snapshot of the bucket."""
    settings = place.settings()
    with closing(Ledger.open(settings.ledger.url)) as ledger:
        register(settings, ledger, NOW)
        store = open_buckets(settings)[place.bucket]
        tuning = SegmentTuning(target=10, page=100)
        source = BucketSource(
            settings.buckets[place.bucket], "in/", LedgerSnapshots(ledger), store, 1, roots=["in/"], tuning=tuning
        )
        for batch in source.batches(threading.Event()):
            assert batch.progress is not None
            with ledger.write() as tx:
                snapshots.apply(tx, batch.progress)

"""Taking over by the command line: compare, adopt, run failed tasks again; on a store and the simulator."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.config import load
from dispatcher.core.events import LISTED, ObjectEvent, normalise_etag
from dispatcher.ledger import notices
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.notices import NoticeCode
from dispatcher.ports import Batch
from dispatcher.service.assembly import register
from dispatcher.service.intake import Intake
from tests.cli.desk import Ran, Shell
from tests.simulator_fixtures import ACCESS_KEY_ID, ACCESS_KEY_SECRET, simulator

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.demo.s3server import S3Server
    from dispatcher.simulator.server import Simulator

__all__ = ["simulator"]


class Place:
    """A bucket, an account where somebody else starts workflow w1, and our configuration for both."""

    def __init__(self, directory: Path, store: S3Server, client: Any, bucket: str, service: Simulator) -> None:
        self.config, self.client, self.bucket, self.service = directory / "c.yaml", client, bucket, service
        key = {"type": "access_key", "access_key_id": ACCESS_KEY_ID, "access_key_secret": ACCESS_KEY_SECRET.value}
        own = {**key, "access_key_id": store.access_key_id, "access_key_secret": store.access_key_secret.value}
        bucket_keys = {"name": bucket, "region": "cn-hangzhou", "endpoint": store.endpoint, "addressing": "path"}
        workflow = {"id": "w1", "media_url": f"oss://{bucket}/{{key}}"}
        self.config.write_text(
            json.dumps(
                {
                    "buckets": [{**bucket_keys, "credentials": own}],
                    "ims": {"endpoint": service.url},
                    "credentials": key,
                    "rules": [{"name": "transcode", "input": f"s3://{bucket}/in/", "workflow": workflow}],
                    "never_trigger": [f"s3://{bucket}/out/"],
                }
            ),
            encoding="utf-8",
        )

    def run(self, *words: str) -> Ran:
        return Shell(self.config)(*words)

    def json(self, *words: str) -> Any:
        return self.run(*words, "-o", "json").data

    def upload(self, *keys: str, trigger: bool = True) -> list[ObjectEvent]:
        """Put objects, and let the built-in trigger start them; return them as a listing brings them."""
        seen = []
        for key in keys:
            etag = normalise_etag(self.client.put_object(Bucket=self.bucket, Key=key, Body=b"media")["ETag"])
            seen.append(ObjectEvent(self.bucket, key, etag, 5, datetime.now(UTC), LISTED, "poll"))
            if trigger:
                self.service.trigger("w1", f"oss://{self.bucket}/{key}")
        return seen

    def record(self, seen: list[ObjectEvent], *, shadow: bool) -> None:
        settings = load(self.config, {})
        with closing(Ledger.open(settings.ledger.url)) as ledger:
            at = datetime.now(UTC) - timedelta(seconds=5)
            registered = register(settings, ledger, at)
            intake = Intake(
                ledger, settings.rules, registered.first_revision, lambda: datetime.now(UTC), lambda: None, shadow
            )
            intake.take(Batch(seen))


@pytest.fixture
def place(tmp_path: Path, moto: S3Server, moto_bucket: tuple[Any, str], simulator: Simulator) -> Place:
    return Place(tmp_path, moto, *moto_bucket, simulator)


def until() -> tuple[str, str]:
    return "--until", (datetime.now(UTC) + timedelta(minutes=1)).isoformat()


def test_a_shadow_is_compared_with_the_built_in_trigger(place: Place) -> None:
    place.record([], shadow=True)
    place.record(place.upload("in/a.mp4", "in/b.mp4"), shadow=True)
    agreed = place.run("compare", *until())
    assert (agreed.code, "both start the same" in agreed.out) == (0, True)
    place.upload("in/\x1b[2Jc.mp4")
    differs = place.run("compare", *until(), "-o", "json")
    assert differs.code == 1
    [rule] = json.loads(differs.out)["rules"]
    assert (rule["both"], rule["only_ours"], rule["only_theirs"], rule["reasons"]) == (2, 0, 1, {"NOT_RECORDED": 1})
    shown = place.run("compare", *until()).out
    assert "\x1b" not in shown
    assert "no listing has brought it" in shown
    assert place.run("compare", "--since", "1h", "--until", "2h").code == 2


def test_what_the_trigger_started_is_adopted_and_is_not_started_again(place: Place) -> None:
    place.upload("in/a.mp4", "in/b.mp4")
    waiting = place.upload("in/gone.mp4")
    place.client.delete_object(Bucket=place.bucket, Key="in/gone.mp4")
    dry = place.json("db", "adopt", "--foreign", "--dry-run")
    assert (dry["foreign_rows"], dry["without_id"]) == (2, 3)
    assert [(each["reason"], each["count"]) for each in dry["not_adopted"]] == [("GONE", 1)]
    assert not list(place.config.parent.glob("*.db"))
    assert place.run("db", "adopt", "--foreign").code == 2  # nobody is there to confirm it
    out = place.run("db", "adopt", "--foreign", "--yes").out
    assert "2 recorded as starts of their objects" in out
    assert "1 not adopted: the object is not there any more" in out
    rows = place.json("dispatches", "list")
    assert {(row["key"], row["state"], row["source"]) for row in rows} == {
        ("in/a.mp4", "started", "adopted"),
        ("in/b.mp4", "started", "adopted"),
    }
    again = place.json("db", "adopt", "--foreign", "--yes")
    assert (again["foreign_rows"], again["known"]) == (0, 2)
    assert waiting[0].key == "in/gone.mp4"
    assert place.run("db", "adopt", "--since", "91d").code == 2


def test_adopted_failures_run_again_by_name(place: Place) -> None:
    place.upload("in/a.mp4", "in/b.mp4")
    assert place.run("db", "adopt", "--foreign", "--yes").code == 0
    done = place.json("dispatches", "rerun", "--state", "started", "--key", "in/a.mp4", "--again", "fix-1", "--yes")
    assert (done["selected"], done["recorded"], done["known"]) == (1, 1, 0)
    [row] = place.json("dispatches", "list", "--state", "pending")
    assert (row["run"], row["key"], row["source"]) == ("fix-1", "in/a.mp4", "rerun")
    again = place.run("dispatches", "rerun", "--key", "in/a.mp4", "--again", "fix-1", "--yes").out
    assert "0 of 2 selected dispatches start again" in again
    assert [each["kind"] for each in place.json("backfill", "list")] == ["rerun"]
    for words in (["--again", "fix-1"], ["--rule", "transcode", "--again", "no such/name"]):
        assert place.run("dispatches", "rerun", *words, "--yes").code == 2


def test_status_says_that_the_ledger_is_behind_and_what_helps(place: Place) -> None:
    place.record([], shadow=True)
    with closing(Ledger.open(load(place.config, {}).ledger.url)) as ledger, ledger.write() as tx:
        notices.post(tx, NoticeCode.LEDGER_BEHIND, "task t1 carries an id", datetime.now(UTC))
    first, second, *_ = place.run("status").out.splitlines()
    assert first.startswith("ledger_behind since ")
    assert "db adopt" in second
    assert [each["code"] for each in place.json("status")["notices"]] == ["ledger_behind"]

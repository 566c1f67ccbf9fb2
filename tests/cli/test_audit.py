"""`audit` as a command: the contract's JSON and exit codes, on a store."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.cli.ledgers import now
from dispatcher.config import load
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.snapshots import LedgerSnapshots
from dispatcher.service.assembly import open_buckets, register
from dispatcher.service.intake import Intake
from dispatcher.sources.bucket import BucketSource
from tests.cli.desk import Shell

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.demo.s3server import S3Server


@pytest.fixture
def place(tmp_path: Path, moto: S3Server, moto_bucket: tuple[Any, str]) -> Shell:
    _, bucket = moto_bucket
    keys = {"access_key_id": moto.access_key_id, "access_key_secret": moto.access_key_secret.value}
    config = {
        "buckets": [
            {
                "name": bucket,
                "region": "cn-hangzhou",
                "endpoint": moto.endpoint,
                "addressing": "path",
                "credentials": {"type": "access_key", **keys},
            }
        ],
        "never_trigger": [f"s3://{bucket}/out/"],
        "rules": [{"name": "r", "input": "in/", "workflow": {"id": "wf", "media_url": "oss://m/{key}"}}],
    }
    path = tmp_path / "oss-dispatcher.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    return Shell(path)


def one_pass(shell: Shell, bucket: str) -> None:
    settings = load(shell.config, {})
    with closing(Ledger.open(settings.ledger.url)) as ledger:
        registered = register(settings, ledger, now() - timedelta(minutes=1))
        [store] = open_buckets(settings).values()
        source = BucketSource(settings.buckets[bucket], "in/", LedgerSnapshots(ledger), store, registered.revision)
        intake = Intake(ledger, settings.rules, registered.first_revision, now, lambda: None)
        for batch in source.batches(threading.Event()):
            intake.take(batch)


def test_it_balances_or_names_what_does_not(place: Shell, moto_bucket: tuple[Any, str]) -> None:
    client, bucket = moto_bucket
    client.put_object(Bucket=bucket, Key="in/old.mp4", Body=b"media")
    one_pass(place, bucket)
    client.put_object(Bucket=bucket, Key="in/new.mp4", Body=b"media")
    client.put_object(Bucket=bucket, Key="in/notes.txt", Body=b"text")
    one_pass(place, bucket)
    found = place("audit", "-o", "json").data
    assert found["balanced"]
    assert (found["listed"], found["matched"], found["not_matched"]) == (3, 2, {"EXTENSION": 1})
    assert found["by_state"] == {"existing": 1, "pending": 1}
    assert "balanced" in place("audit").out

    client.put_object(Bucket=bucket, Key="in/missed.mp4", Body=b"media")
    ran = place("audit", "-o", "json")
    assert ran.code == 1
    document = json.loads(ran.out)
    [gap] = document["unaccounted"]
    assert (gap["url"], gap["rule"]) == (f"oss://{bucket}/in/missed.mp4", "r")
    assert not document["balanced"]
    told = place("audit")
    assert told.code == 1
    assert f"oss://{bucket}/in/missed.mp4" in told.out

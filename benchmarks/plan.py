"""What `plan` costs on a large bucket, whether its figures are exact, and how near an estimate comes.

    python benchmarks/plan.py [objects]

Starts its own S3 server in a temporary directory, fills a bucket, and runs the command as a process: its figures are
compared with those that the keys make certain.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from dispatcher.config import load
from dispatcher.core.dispatch import content_identity, dispatch_id
from dispatcher.demo.s3server import S3Server, running_s3
from dispatcher.ledger import recording, snapshots
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.recording import NewDispatch
from dispatcher.ledger.snapshots import LedgerSnapshots
from dispatcher.service.assembly import open_buckets, register
from dispatcher.sources.bucket import BucketSource

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "media"
BODY = b"media"
ETAG = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
NOW = datetime.now(UTC)
ONE_THIRD = 3


def main(objects: int) -> None:
    """Fill a bucket, let a third be dispatched, and plan a rule that becomes wider."""
    with tempfile.TemporaryDirectory() as place, running_s3(Path(place) / "s3") as server:
        keys = [f"in/{n % 100:02}/upload-{n:08}.{'mp4' if n % 2 else 'mov'}" for n in range(objects)]
        begun = time.monotonic()
        put(server, keys)
        print(f"{objects} objects put in {time.monotonic() - begun:.0f} s", flush=True)
        home = Path(place)
        write(home / "now.yaml", server, {"name": "movies", "input": "in/", "extensions": ["mov"]})
        write(
            home / "new.yaml",
            server,
            {"name": "videos", "was": ["movies"], "input": "in/", "extensions": ["mov", "mp4"]},
        )
        movies = [key for key in keys if key.endswith("mov")]
        known = movies[: len(movies) // ONE_THIRD]
        fill(home, known)
        found = measured("plan", home, objects)
        [rule] = found["rules"]
        expected = {
            "gained": objects - len(movies),
            "unchanged": len(movies),
            "dispatched": len(known),
            "startable": objects - len(known),
        }
        got = {name: rule[name]["objects"] for name in expected}
        print(f"exact: {got == expected} {got}")
        sampled = measured("plan --sample", home, objects, "--sample", "--objects", str(max(1_000, objects // 20)))
        [part], [rule] = sampled["listed"], sampled["rules"]
        off = {name: f"{rule[name]['objects'] / count - 1:+.1%}" for name, count in expected.items()}
        print(f"estimate from {part['objects']} of {part['of']}: off by {off}")


def put(server: S3Server, keys: list[str]) -> None:
    """Put the same small object at each key."""
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name=server.region,
        aws_access_key_id=server.access_key_id,
        aws_secret_access_key=server.access_key_secret.value,
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=16),
    )
    client.create_bucket(Bucket=BUCKET)
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda key: client.put_object(Bucket=BUCKET, Key=key, Body=BODY), keys):
            pass


def write(path: Path, server: S3Server, rule: dict[str, object]) -> None:
    """Write a configuration with one rule."""
    keys = {
        "type": "access_key",
        "access_key_id": server.access_key_id,
        "access_key_secret": server.access_key_secret.value,
    }
    bucket = {"name": BUCKET, "region": "cn-hangzhou", "endpoint": server.endpoint, "addressing": "path"}
    workflow = {"id": "wf", "media_url": "oss://mirror/{key}"}
    settings = {"buckets": [{**bucket, "credentials": keys}], "rules": [{**rule, "workflow": workflow}]}
    path.write_text(json.dumps(settings))


def fill(home: Path, known: list[str]) -> None:
    """Give the ledger a snapshot of the bucket, and dispatches of these keys."""
    settings = load(home / "now.yaml", {})
    with closing(Ledger.open(settings.ledger.url)) as ledger:
        register(settings, ledger, NOW)
        for rows in chunks(known):
            with ledger.write() as tx:
                recording.record(tx, rows, NOW)
        source = BucketSource(
            settings.buckets[BUCKET], "in/", LedgerSnapshots(ledger), open_buckets(settings)[BUCKET], revision=1
        )
        for batch in source.batches(threading.Event()):
            if batch.progress is not None:
                with ledger.write() as tx:
                    snapshots.apply(tx, batch.progress)


def chunks(known: list[str]) -> Iterator[list[NewDispatch]]:
    """Yield rows, a thousand at a time."""
    rest = iter(known)
    identity = content_identity(ETAG, len(BODY))
    while some := list(islice(rest, 1_000)):
        yield [
            NewDispatch(
                dispatch_id("movies", BUCKET, key, identity), "movies", BUCKET, key, ETAG, len(BODY), "", "poll", None
            )
            for key in some
        ]


def measured(what: str, home: Path, objects: int, *words: str) -> dict[str, list[dict[str, dict[str, int]]]]:
    """Run the command and print what it cost; return what it told."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    plan = ("-o", "json", "plan", "--against", str(home / "new.yaml"), *words)
    done = subprocess.run(
        [sys.executable, "-m", "dispatcher", "-c", str(home / "now.yaml"), *plan],
        capture_output=True,
        text=True,
        check=True,
    )
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{what:15} {cpu / objects * 1e6:8.1f} us CPU an object {wall:8.2f} s, "
        f"largest process so far {after.ru_maxrss // 1024} MiB",
        flush=True,
    )
    found: dict[str, list[dict[str, dict[str, int]]]] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)

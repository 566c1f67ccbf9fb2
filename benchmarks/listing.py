"""What a listing costs: an unchanged pass beside the raw download and boto3's paginator, in one run.

    python benchmarks/listing.py [objects]

Starts its own S3 server and ledger in a temporary directory. CPU is this process's (user + system).
"""

from __future__ import annotations

import resource
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from dispatcher.core.calls import Endpoint
from dispatcher.core.listing import scan
from dispatcher.core.settings import Addressing, BucketSettings, Credentials
from dispatcher.demo.s3server import S3Server, running_s3
from dispatcher.ledger import snapshots
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.snapshots import LedgerSnapshots
from dispatcher.sources.bucket import BucketSource
from dispatcher.sources.s3 import S3Bucket

if TYPE_CHECKING:
    from collections.abc import Callable

BUCKET = "media"
STOP = threading.Event()


def main(objects: int) -> None:
    """Fill a bucket, then list it in each way."""
    with tempfile.TemporaryDirectory() as place, running_s3(Path(place) / "s3") as server:
        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            region_name=server.region,
            aws_access_key_id=server.access_key_id,
            aws_secret_access_key=server.access_key_secret.value,
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=16),
        )
        client.create_bucket(Bucket=BUCKET)
        put(client, [f"videos/{n // 1000:05}/upload-{n:08}.mp4" for n in range(objects)])
        bucket = opened(server)
        ledger = Ledger.open(f"sqlite:///{place}/ledger.db")
        source = BucketSource(bucket.bucket, "", LedgerSnapshots(ledger), bucket, revision=1)

        def one_pass() -> None:
            for batch in source.batches(STOP):
                with ledger.write() as tx:
                    if batch.progress is not None:
                        snapshots.apply(tx, batch.progress)

        measured("first listing", objects, one_pass)
        print(f"on disk: {size_on_disk(ledger, place) / objects:.1f} bytes an object")
        for _ in range(3):
            measured("raw download", objects, lambda: download(bucket))
            measured("unchanged pass", objects, one_pass)
        measured("boto3 paginator", objects, lambda: paginate(client))
        put(client, [f"videos/{n * 997 % objects // 1000:05}/upload-{n * 997 % objects:08}-b.mp4" for n in range(1000)])
        measured("pass with 1,000 scattered new objects", objects, one_pass)
        print(f"new: {source.report.new}")
        measured("unchanged pass after that", objects, one_pass)
        measured("unchanged pass after that", objects, one_pass)
        print(f"on disk: {size_on_disk(ledger, place) / objects:.1f} bytes an object")
        print(f"largest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
        ledger.close()
        bucket.close()


def opened(server: S3Server) -> S3Bucket:
    """Return the bucket as the program opens it."""
    ims = Endpoint("cn-hangzhou", "https://ice.cn-hangzhou.aliyuncs.com")
    settings = BucketSettings(BUCKET, server.region, server.endpoint, Addressing.PATH, on_oss=False, ims=ims)
    return S3Bucket(settings, lambda: Credentials(server.access_key_id, server.access_key_secret))


def put(client: object, keys: list[str]) -> None:
    """Put a small object at each key."""
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda key: client.put_object(Bucket=BUCKET, Key=key, Body=b"x"), keys):  # type: ignore[attr-defined]
            pass


def download(bucket: S3Bucket) -> None:
    """Fetch every answer and look at nothing but its frame."""
    token = None
    while True:
        page = scan(bucket.list("", token, 1_000, STOP).body)
        token = page.token
        if token is None:
            return


def paginate(client: object) -> None:
    """List by boto3, which parses every entry."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):  # type: ignore[attr-defined]
        len(page["Contents"])


def measured(what: str, objects: int, run: Callable[[], None]) -> None:
    """Run once and print what it cost."""
    cpu, wall = time.process_time(), time.monotonic()
    run()
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    print(f"{what:40} {cpu / objects * 1e6:8.2f} us CPU an object {wall:8.2f} s", flush=True)


def size_on_disk(ledger: Ledger, place: str) -> int:
    """Return the bytes of a fresh copy: without the free pages and the log."""
    copy = Path(place) / "copy.db"
    copy.unlink(missing_ok=True)
    ledger.backup(copy)
    return copy.stat().st_size


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)

"""The real process on a folder that mirrors a bucket, and on a bucket by OSS's own API."""

from __future__ import annotations

import signal
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.chain.harness import Chain, rule
from tests.sources.oss_server import Account, OssServer

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "{type: folder, path: mirror, prefix: in/, settle: 300ms}"
POLL = "sources: [{type: poll, every: 1s}]"


def write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)


def listen(chain: Chain) -> None:
    """Start the daemon, and return once it watches the folder."""
    begun = len(chain.log_lines("folder.watched")) if chain.log.exists() else 0
    chain.start()
    chain.wait_until(lambda: len(chain.log_lines("folder.watched")) > begun, "the folder to be watched")


def test_a_file_starts_once_when_its_object_has_arrived(chain: Chain) -> None:
    mirror = chain.home / "mirror"
    write(mirror / "old.mp4", b"old")
    chain.put("in/old.mp4", b"old")
    chain.put("in/a b/é.mp4", b"an earlier one")
    chain.configure(rule("all", "in/"), replaced={POLL: f"sources: [{{type: poll, every: 1h}}, {FOLDER}]"})
    listen(chain)
    chain.wait_until(lambda: bool(chain.log_lines("baseline.complete")), "the first listing")
    write(mirror / "a b" / "é.mp4", b"the new one")
    write(mirror / "notes.txt", b"no rule wants it")
    chain.put("in/a b/é.mp4", b"the new one")
    chain.wait_until(lambda: chain.states()["started"] == 1, "the file to start")
    assert [(row.key, row.size, row.source) for row in chain.rows()] == [("in/a b/é.mp4", 11, "folder:mirror")]
    chain.kill(chain.processes[-1])
    write(mirror / "meanwhile.mp4", b"x")
    chain.put("in/meanwhile.mp4", b"x")
    listen(chain)
    chain.wait_until(lambda: chain.states()["started"] == 2, "what was written meanwhile to start")
    assert chain.accepted() == Counter({("in/a b/é.mp4", "wf-all"): 1, ("in/meanwhile.mp4", "wf-all"): 1})
    assert chain.kill(chain.processes[-1], signal.SIGTERM) == 0


def test_a_folder_and_a_poll_together_start_each_object_once(chain: Chain) -> None:
    (chain.home / "mirror").mkdir()
    chain.configure(rule("all", "in/"), replaced={POLL: f"sources: [{{type: poll, every: 1s}}, {FOLDER}]"})
    listen(chain)
    chain.wait_until(lambda: bool(chain.log_lines("baseline.complete")), "the first listing")
    keys = [f"{number % 5}/{number:03}.mp4" for number in range(60)]
    for key in keys:
        write(chain.home / "mirror" / key, key.encode())
        chain.put(f"in/{key}", key.encode())
    chain.wait_until(lambda: chain.states()["started"] == len(keys), "all to start")
    assert chain.accepted() == Counter({(f"in/{key}", "wf-all"): 1 for key in keys})


def test_a_bucket_is_served_by_osss_own_api(chain: Chain) -> None:
    account = Account(chain.s3.access_key_id, chain.s3.access_key_secret.value)
    with OssServer(bucket=chain.bucket, account=account, now=datetime.now(UTC)) as oss:
        for number in range(30):
            oss.put(f"in/old-{number}.mp4".encode(), b"old")
        chain.configure(rule("all", "in/"), replaced={chain.s3.endpoint: f"{oss.endpoint}\n    api: oss"})
        chain.start()
        chain.wait_until(lambda: bool(chain.log_lines("baseline.complete")), "the first listing")
        keys = [f"in/{number} ü+.mp4" for number in range(30)]
        for key in keys:
            oss.put(key.encode(), key.encode())
        oss.append(b"in/live.mp4", 0, b"it may still grow")
        chain.wait_until(lambda: chain.states() == Counter(started=len(keys), pending=1), "all to start but the last")
        assert chain.accepted() == Counter({(key, "wf-all"): 1 for key in keys})
        [growing] = [row for row in chain.rows() if row.key == "in/live.mp4"]
        assert growing.reason == "SETTLING"
        assert all("authorization" in request.headers for request in oss.requests)

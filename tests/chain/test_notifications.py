"""Notifications and polls on one ledger: whatever sees an object first, it is started once.

`NOTIFIED_OBJECTS` sets the number of objects; 5,000 by default.
"""

from __future__ import annotations

import json
import os
import random
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from tests.chain.harness import Chain, rule

if TYPE_CHECKING:
    from collections.abc import Sequence


OBJECTS = int(os.environ.get("NOTIFIED_OBJECTS", "2000"))  # more where time is no matter
TOKEN = "chain-webhook-token"
UPLOADS_AT_ONCE = 8
SETTLE = 3.0


@pytest.fixture
def qps() -> int:
    return 5_000


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Sender:
    """What a bucket with event rules does: it posts bodies of OSS's notifications, and asks for a 2xx."""

    def __init__(self, chain: Chain, port: int) -> None:
        self._bucket = chain.bucket
        self._url = f"http://127.0.0.1:{port}/events/oss"
        self._pool = urllib3.PoolManager(retries=False, timeout=30.0)

    def send(self, keys: Sequence[str], name: str = "ObjectCreated:PutObject") -> None:
        body = json.dumps({"events": [self._event(key, name) for key in keys]})
        answer = self._pool.request("POST", self._url, body=body, headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status // 100 == 2, answer.status

    def _event(self, key: str, name: str) -> dict[str, Any]:
        return {
            "eventName": name,
            "eventSource": "acs:oss",
            "eventTime": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "oss": {"bucket": {"name": self._bucket}, "object": {"key": key, "eTag": "F" * 32, "size": 1}},
        }


def configure(chain: Chain, *rules: str, every: str = "1s", accept: str = "") -> Sender:
    port = free_port()
    (chain.home / "hook.secret").write_text(TOKEN)
    chain.secrets.append(TOKEN)
    hook = f"{{type: webhook, path: /events/oss, token_file: hook.secret, accept: [{accept}]}}"
    chain.configure(
        *rules,
        rate=2000,
        replaced={
            "sources: [{type: poll, every: 1s}]": f"sources: [{{type: poll, every: {every}}}, {hook}]\n"
            f'http: {{public: {{listen: "127.0.0.1:{port}"}}}}',
            # Waiting for a busy machine is no lost answer here: every call must be the only one.
            "call_timeout: 600ms": "call_timeout: 30s, concurrent_calls: 16",
        },
    )
    return Sender(chain, port)


def start(chain: Chain) -> None:
    chain.start()
    chain.wait_until(lambda: bool(chain.log_lines("baseline.complete")), "the first listing")


@pytest.mark.timeout(600)
def test_lost_doubled_and_shuffled_notifications_with_polls_start_each_object_once(chain: Chain) -> None:
    chance = random.Random(20260314)
    rules = rule("all", "in/", budget="unlimited"), rule("some", "in/0", budget="unlimited")
    sender = configure(chain, *rules, every="3s")
    start(chain)
    keys = [f"in/{number % 16:x}/klip ü+{number}.mp4" for number in range(OBJECTS)]
    told = [key for key in keys if chance.random() >= 0.2]
    told += chance.sample(told, len(told) // 5)

    def upload_and_tell(part: int) -> None:
        """Upload a part; tell of what is there by then, in an order of its own, some of it much later."""
        mine = keys[part::UPLOADS_AT_ONCE]
        order = random.Random(part)
        pending: list[str] = []
        counts = Counter(told)
        for place, key in enumerate(mine):
            chain.put(key, f"content of {key}".encode())
            pending += [key] * counts[key]
            if place % 10 == 9 or place == len(mine) - 1:
                order.shuffle(pending)
                now, pending = (pending, []) if place == len(mine) - 1 else (pending[::2], pending[1::2])
                for at in range(0, len(now), 10):
                    sender.send(now[at : at + 10])

    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        list(pool.map(upload_and_tell, range(UPLOADS_AT_ONCE)))
    expected = Counter({(key, "wf-all"): 1 for key in keys})
    expected += Counter({(key, "wf-some"): 1 for key in keys if key.startswith("in/0")})
    chain.wait_until(
        lambda: len(chain.simulator.calls()) >= expected.total() and chain.states()["started"] == expected.total(),
        "every object to start",
        within=300,
    )
    chain.wait_until(lambda: undecided(chain) == 0, "sightings to be decided")
    assert chain.accepted() == expected
    first = Counter(row.source.partition(":")[0] for row in chain.rows())
    assert min(first["poll"], first["webhook"]) > OBJECTS // 20, first  # both were first often enough to mean something


def undecided(chain: Chain) -> int:
    status = json.loads(chain.command("status", "-o", "json").stdout)
    waiting: int = status["undecided_sightings"]
    return waiting


@pytest.mark.parametrize("told", [1.0, 0.5, 0.0], ids=["all told", "half told", "none told"])
def test_an_appended_object_seen_by_events_and_polls_starts_once_after_it_is_still(chain: Chain, told: float) -> None:
    """Appending is played by overwrites that grow: the store of the tests has no AppendObject."""
    chance = random.Random(4)
    sender = configure(chain, rule("all", "in/", settle=f"{SETTLE:g}s"), accept="append")
    start(chain)
    last = 0.0
    for length in range(1, 21):
        chain.put("in/live.mp4", b"x" * length)
        last = time.time()
        if chance.random() < told:
            sender.send(["in/live.mp4"], "ObjectCreated:AppendObject")
        threading.Event().wait(0.3)  # the pause between two appends; nothing is waited for
    chain.wait_until(lambda: chain.states()["started"] == 1, "the object to start")
    (call,) = chain.simulator.calls()
    assert call.at.timestamp() >= last + SETTLE - 1.0  # the last content was seen when, or after, it was written
    (started,) = [row for row in chain.rows() if row.state == "started"]
    assert started.size == 20
    assert chain.accepted() == Counter({("in/live.mp4", "wf-all"): 1})


def test_notifications_alone_start_objects_and_events_of_other_buckets_are_let_go(chain: Chain) -> None:
    sender = configure(chain, rule("all", "in/"), every="never")
    chain.start()
    chain.wait_until(lambda: bool(chain.log_lines("daemon.ready")), "the daemon")
    chain.put("in/a.mp4")
    sender.send(["in/a.mp4", "in/b.txt"])
    sender._bucket = "stranger"
    sender.send(["in/a.mp4"])
    sender.send(["in/b.mp4"])
    chain.wait_until(lambda: chain.states()["started"] == 1, "the object to start")
    assert [line["bucket"] for line in chain.log_lines("bucket.unknown")] == ["stranger"]
    assert undecided(chain) == 0


def test_a_first_start_fires_for_no_notification_of_what_was_there(chain: Chain) -> None:
    sender = configure(chain, rule("all", "in/"), every="never")
    chain.put("in/old.mp4")
    old = sender._event("in/old.mp4", "ObjectCreated:PutObject")
    old["eventTime"] = "2026-01-01T00:00:00.000Z"
    threading.Event().wait(1.1)  # LastModified and the rule's first second must differ
    chain.start()
    chain.wait_until(lambda: bool(chain.log_lines("daemon.ready")), "the daemon")
    sender._event = lambda *_: old  # type: ignore[method-assign] # a notification that waited in a queue
    sender.send(["in/old.mp4"])
    del sender.__dict__["_event"]
    chain.put("in/new.mp4")
    sender.send(["in/new.mp4"])
    chain.wait_until(lambda: chain.states()["started"] == 1 and undecided(chain) == 0, "the new object to start")
    assert chain.accepted() == Counter({("in/new.mp4", "wf-all"): 1})


def test_a_pass_by_itself_starts_no_source_and_ends(chain: Chain) -> None:
    sender = configure(chain, rule("all", "in/"))
    assert chain.run_once() == 0
    chain.put("in/a.mp4")
    assert chain.run_once() == 0
    assert chain.states() == Counter(started=1)
    with pytest.raises(urllib3.exceptions.HTTPError):
        sender.send(["in/a.mp4"])


def test_a_listener_whose_address_is_taken_ends_the_start_with_advice(chain: Chain) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        (chain.home / "hook.secret").write_text(TOKEN)
        hook = "{type: webhook, path: /e, token_file: hook.secret}"
        public = f'http: {{public: {{listen: "127.0.0.1:{holder.getsockname()[1]}"}}}}'
        chain.configure(
            rule("all", "in/"),
            replaced={"sources: [{type: poll, every: 1s}]": f"sources: [{hook}]\n{public}"},
        )
        assert chain.start().wait(timeout=60) == 69
    assert "address" in chain.log.read_text()


def test_a_body_that_means_nothing_waits_in_quarantine_and_the_next_is_taken(chain: Chain) -> None:
    sender = configure(chain, rule("all", "in/"), every="never")
    chain.start()
    chain.wait_until(lambda: bool(chain.log_lines("daemon.ready")), "the daemon")
    chain.put("in/a.mp4")
    answer = sender._pool.request(
        "POST", sender._url, body=b"means nothing", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    assert answer.status // 100 == 2
    sender.send(["in/a.mp4"])
    chain.wait_until(lambda: chain.states()["started"] == 1, "the object to start")
    (kept,) = json.loads(chain.command("quarantine", "list", "-o", "json").stdout)
    assert kept["bytes"] == len(b"means nothing")

"""Backfill on the real S3 server, beside the daemon: live objects first, kills of either, one call for each."""

from __future__ import annotations

import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.chain.harness import rule

if TYPE_CHECKING:
    from tests.chain.harness import Chain

OBJECTS = 300


@pytest.fixture
def qps() -> int:
    return 1_000


def test_killed_on_both_sides_each_object_starts_once_and_live_ones_first(chain: Chain) -> None:
    keys = [f"in/{number % 7}/{number:05}.mp4" for number in range(OBJECTS)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(chain.put, keys))
    chain.configure(rule("all", "in/"), rule("odd", "in/3/", extensions=["mp4"]), rate=100)
    daemon = chain.start()
    chain.wait_until(lambda: bool(chain.log_lines("baseline.complete")), "the first listing")
    backfill = ["backfill", "--yes"]

    first = chain._launch(backfill, chain.log, chain.log, crash_at="after_backfill_commit")
    assert first.wait(timeout=60) == -signal.SIGKILL
    second = chain._launch(backfill, chain.log, chain.log)
    chain.wait_until(lambda: len(chain.simulator.calls()) > OBJECTS // 6, "some are started")
    chain.put("in/live.mp4")
    chain.wait_until(lambda: ("in/live.mp4", "wf-all") in chain.accepted(), "the live object is started")
    assert len(chain.simulator.calls()) < OBJECTS  # it did not wait for the backfill
    chain.kill(daemon)
    chain.start()
    assert second.wait(timeout=120) == 0

    expected = Counter((key, "wf-all") for key in [*keys, "in/live.mp4"])
    expected |= Counter((key, "wf-odd") for key in keys if key.startswith("in/3/"))
    assert chain.accepted() == expected

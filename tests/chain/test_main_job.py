"""The main job on real parts: bucket, rules, ledger, StartWorkflow, and the proof in the journal."""

from __future__ import annotations

import signal
from collections import Counter
from typing import TYPE_CHECKING

from tests.chain.harness import rule

if TYPE_CHECKING:
    from tests.chain.harness import Chain


def test_each_new_object_starts_each_matching_rule_once(chain: Chain) -> None:
    chain.put("in/old.mp4")
    chain.configure(rule("all", "in/"), rule("cam", "in/cam"))
    daemon = chain.start()
    chain.wait_until(lambda: bool(chain.log_lines("baseline.complete")), "the first listing")
    for key in ("in/a.mp4", "in/cam1/b.mov", "in/note.txt", "in/plain", "out/c.mp4"):
        chain.put(key)
    expected = Counter({("in/a.mp4", "wf-all"): 1, ("in/plain", "wf-all"): 1})
    expected |= Counter({("in/cam1/b.mov", "wf-all"): 1, ("in/cam1/b.mov", "wf-cam"): 1})
    chain.wait_until(lambda: [row.task_status for row in chain.rows()] == ["Succeed"] * 4, "tasks")
    assert chain.accepted() == expected
    assert chain.kill(daemon, signal.SIGTERM) == 0
    assert chain.log_lines("daemon.stopped")[0]["drained"] is True

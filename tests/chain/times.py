"""Time for the tests of the chain: the ledger's clock times are moved, nobody waits."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chain.harness import Chain

_MICROSECONDS = 1_000_000


def let_pass(chain: Chain, *, seconds: int) -> None:
    """Make everything that waits due so much earlier, also while the daemon runs."""
    earlier = seconds * _MICROSECONDS
    with closing(sqlite3.connect(chain.home / "oss-dispatcher.db", timeout=30)) as ledger, ledger:
        ledger.execute("UPDATE dispatches SET next_at = next_at - ?", (earlier,))
        ledger.execute("UPDATE target_health SET trial_at = trial_at - ?", (earlier,))

"""Orphans: a process that is the first of its container inherits every child whose parent ended.

The dispatcher starts no processes that outlive it, but what an operator runs inside its container may.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field


@dataclass
class Orphans:
    """Reaps ended processes that nobody waits for. One thread. `first`: this process is the first of its container."""

    first: bool = field(default_factory=lambda: os.getpid() == 1)
    _seen: int | None = field(default=None, init=False)

    def reap(self) -> None:
        """Reap one that was there at the last look already; call it every few seconds.

        A library that started a process waits for it by itself and at once: only what stays is an orphan.
        """
        if not self.first:
            return
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            found = None if ended is None else ended.si_pid
            if found is not None and found == self._seen:
                os.waitpid(found, os.WNOHANG)
                found = None
        except ChildProcessError:
            found = None
        self._seen = found

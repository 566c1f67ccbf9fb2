"""Named places at which a test can end the process as a power cut would.

The promises hold at any instruction; these are the ones where they are hardest to keep.
Without the environment variable every call is a no-op.
"""

from __future__ import annotations

import os
import signal
from itertools import count

VARIABLE = "OSS_DISPATCHER_CRASH_AT"

_NAME, _, _TIMES = os.environ.get(VARIABLE, "").partition(":")
_AT = int(_TIMES or 1)
_passed = count(1)


def reach(name: str) -> None:
    """End this process with SIGKILL if `OSS_DISPATCHER_CRASH_AT` is `name` (or `name:n`, the n-th time)."""
    if name == _NAME and next(_passed) == _AT:
        os.kill(os.getpid(), signal.SIGKILL)

"""The signals: the first asks to drain, the second leaves at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

from dispatcher.errors import ExitCode

SCRIPT = """
    import threading
    from dispatcher.service.stopping import Stop

    stop = Stop()
    stop.listen()
    print("listening", flush=True)
    stop.event.wait()
    print("draining", flush=True)
    threading.Event().wait()  # a drain that does not end
"""


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_leaves_at_once(first: signal.Signals, second: signal.Signals) -> None:
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "listening\n"
            process.send_signal(first)
            assert process.stdout.readline() == "draining\n"
            process.send_signal(second)
            assert process.wait(30) == ExitCode.STOPPED_EARLY
        finally:
            process.kill()

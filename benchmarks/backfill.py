"""A backfill on a real S3 server, killed three times at random: what it starts, how fast, and how much memory it takes.

    python benchmarks/backfill.py [objects] [kills]

Starts its own S3 server, simulator of the service and ledger in a temporary directory. The backfill is a process of
its own; after each SIGKILL the same command is run again. Ends with an error unless the simulator accepted exactly
one call for each (object, rule).
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

from dispatcher.core.settings import Secret
from dispatcher.demo.s3server import S3Server, running_s3
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import SimulatorSettings

BUCKET = "media"
KEY_ID, KEY_SECRET = "benchmark", "benchmark-secret"
CONNECTIONS = 8
UPLOADERS = 2
SAMPLE_SECONDS = 0.5
PART = 20
"""Every so manieth object lies under the prefix of a second rule."""

CONFIG = """
buckets:
  - name: {bucket}
    region: cn-hangzhou
    endpoint: {s3.endpoint}
    addressing: path
    credentials: {{type: access_key, access_key_id: {s3.access_key_id}, access_key_secret_file: s3.secret}}
ims: {{endpoint: "{ims}"}}
credentials: {{type: access_key, access_key_id: {key_id}, access_key_secret_file: ims.secret}}
never_trigger: [out/]
limits: {{StartWorkflow: 5000/s, ListWorkflowTasks: 100/s, concurrent_calls: 16}}
uncertain: {{after: 5s, every: 30s, sweeps: 2}}
rules:
  - {{name: all, input: in/, workflow: {{id: wf-all, media_url: "oss://mirror/{{key}}"}}}}
  - {{name: part, input: in/part/, workflow: {{id: wf-part, media_url: "oss://mirror/{{key}}"}}}}
"""


@dataclass
class Memory:
    """The resident memory of the backfill's processes, sampled: (seconds since the first start, rows started, KiB)."""

    samples: list[tuple[float, int, int]] = field(default_factory=list)

    def line(self, points: int = 10) -> str:
        """Return some of the samples, evenly spread, in MiB."""
        if not self.samples:
            return "no samples"
        step = max(1, len(self.samples) // points)
        return " ".join(f"{kib // 1024}" for _, _, kib in self.samples[::step])


def main(objects: int, kills: int) -> None:
    """Fill a bucket, run the backfill, kill it now and then, count."""
    settings = SimulatorSettings(
        access_key_id=KEY_ID,
        access_key_secret=Secret(KEY_SECRET),
        task_duration=timedelta(seconds=1),
        listing_delay=timedelta(milliseconds=100),
        qps=10_000,
    )
    with (
        tempfile.TemporaryDirectory() as place,
        running_s3(Path(place) / "s3") as server,
        Simulator(settings) as simulator,
    ):
        home = Path(place)
        configure(home, server, simulator.url)
        keys = [key_of(number) for number in range(objects)]
        fill(server, keys)
        memory = Memory()
        expected = objects + sum(key.startswith("in/part/") for key in keys)
        cpu = processor_time()
        seconds = backfill(home, simulator, expected, kills, memory)
        cpu = processor_time() - cpu
        accepted = Counter((json.loads(entry.task_input)["Media"], entry.workflow_id) for entry in simulator.calls())
        twice = sum(count - 1 for count in accepted.values())
        ledger = sum(each.stat().st_size for each in home.glob("oss-dispatcher.db*"))
        print(f"starts: {len(accepted)} of {expected}, started twice: {twice}")
        print(f"backfill: {seconds:.0f} s, {expected / seconds:.0f} starts a second, with {kills} kills")
        print(f"CPU of the backfill's processes: {cpu / expected * 1e3:.1f} ms a start")
        print(f"memory, MiB: {memory.line()}; most {max(kib for _, _, kib in memory.samples) // 1024}")
        print(f"ledger: {ledger / expected:.0f} bytes a start")
        if len(accepted) != expected or twice:
            sys.exit("not exactly one accepted call for each (object, rule)")


def key_of(number: int) -> str:
    """Return the key of an object: a twentieth of them match both rules."""
    folder = "part/" if number % PART == 0 else ""
    return f"in/{folder}{number // 1000:05}/upload-{number:08}.mp4"


def configure(home: Path, server: S3Server, ims: str) -> None:
    """Write the configuration and its secrets."""
    (home / "s3.secret").write_text(server.access_key_secret.value)
    (home / "ims.secret").write_text(KEY_SECRET)
    (home / "oss-dispatcher.yaml").write_text(CONFIG.format(bucket=BUCKET, s3=server, ims=ims, key_id=KEY_ID))


def backfill(home: Path, simulator: Simulator, expected: int, kills: int, memory: Memory) -> float:
    """Run the command to its end, killing it at random numbers of starts; return how long all of it took."""
    chance = random.SystemRandom()
    kill_at = sorted(chance.randrange(expected // 20, expected * 9 // 10) for _ in range(kills))
    begun = time.monotonic()
    for at in [*kill_at, None]:
        process = start(home)
        while process.poll() is None:
            started = len(simulator.calls())
            memory.samples.append((time.monotonic() - begun, started, resident(process.pid)))
            if at is not None and started >= at:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(SAMPLE_SECONDS)
        code = process.wait()
        print(f"{time.monotonic() - begun:8.1f} s: {len(simulator.calls())} starts, exit {code}", flush=True)
        if at is None and code != 0:
            sys.exit((home / "backfill.err").read_text()[-3_000:])
    return time.monotonic() - begun


def start(home: Path) -> subprocess.Popen[bytes]:
    """Start the command in the background."""
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    with (home / "backfill.out").open("ab") as out, (home / "backfill.err").open("ab") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "dispatcher", "-c", "oss-dispatcher.yaml", "-o", "json", "backfill", "--yes"],
            cwd=home,
            env=environment,
            stdout=out,
            stderr=err,
        )


def processor_time() -> float:
    """Return the processor time of all children that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def resident(pid: int) -> int:
    """Return the resident memory of a process in KiB, 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0)


# -- filling the bucket: boto3 signs 300 requests in a second, and the server takes several times as many -----------


def fill(server: S3Server, keys: list[str]) -> None:
    """Make the bucket and put a small object at each key, on several connections of several processes."""
    begun = time.monotonic()
    _put(server, http.client.HTTPConnection(urlsplit(server.endpoint).netloc), "", b"")
    parts = [keys[first :: UPLOADERS * CONNECTIONS] for first in range(UPLOADERS * CONNECTIONS)]
    with ProcessPoolExecutor(UPLOADERS) as pool:
        list(pool.map(_put_all, [server] * UPLOADERS, [parts[first::UPLOADERS] for first in range(UPLOADERS)]))
    print(f"uploaded {len(keys)} objects, {len(keys) / (time.monotonic() - begun):.0f} a second", flush=True)


def _put_all(server: S3Server, parts: list[list[str]]) -> None:
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(_put_some, [server] * len(parts), parts))


def _put_some(server: S3Server, keys: list[str]) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.endpoint).netloc)
    for key in keys:
        _put(server, connection, key, b"x")
    connection.close()


def _put(server: S3Server, connection: http.client.HTTPConnection, key: str, body: bytes) -> None:
    target = f"/{BUCKET}/{quote(key)}" if key else f"/{BUCKET}"
    now = datetime.now(UTC)
    digest = hashlib.sha256(body).hexdigest()
    headers = {
        "host": urlsplit(server.endpoint).netloc,
        "x-amz-content-sha256": digest,
        "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
    }
    connection.request("PUT", target, body, {**headers, "authorization": _signed(server, target, headers, now)})
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != http.client.OK:
        sys.exit(f"PUT {target}: {answer.status} {said[:300]!r}")


def _signed(server: S3Server, target: str, headers: dict[str, str], now: datetime) -> str:
    """Return the authorization of a request (AWS signature version 4)."""
    day, names = now.strftime("%Y%m%d"), ";".join(sorted(headers))
    lines = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
    request = "\n".join(("PUT", target, "", lines, names, headers["x-amz-content-sha256"]))
    scope = f"{day}/{server.region}/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{server.access_key_secret.value}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return f"AWS4-HMAC-SHA256 Credential={server.access_key_id}/{scope},SignedHeaders={names},Signature={signature}"


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 100_000,
        int(sys.argv[2]) if len(sys.argv) > 2 else 3,  # noqa: PLR2004 - the second argument
    )

"""The whole chain for tests: a bucket on the real S3 server, the simulator, and the real daemon as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.ledger.browse import Selector, select
from dispatcher.ledger.engine import Ledger
from tests.launching import without_proxies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dispatcher.demo.s3server import S3Server
    from dispatcher.simulator.server import Simulator
    from tests.launching import Launched, Launcher

KEY_ID, KEY_SECRET = "chain-key", "chain-secret"

CONFIG = """
buckets:
  - name: {bucket}
    region: cn-hangzhou
    endpoint: {s3.endpoint}
    addressing: path
    credentials: {{type: access_key, access_key_id: {s3.access_key_id}, access_key_secret_file: s3.secret}}
ims: {{endpoint: "{ims}"}}
credentials: {{type: access_key, access_key_id: {key_id}, access_key_secret_file: ims.secret}}
sources: [{{type: poll, every: 1s}}]
never_trigger: [out/]
limits: {{StartWorkflow: {rate}/s, ListWorkflowTasks: 200/s, GetWorkflowTask: 200/s, call_timeout: 600ms}}
uncertain: {{after: 800ms, every: 300ms, sweeps: 2}}
rules:
{rules}
"""


def rule(name: str, prefix: str, **more: object) -> str:
    """One rule as YAML text."""
    extra = "".join(f", {key}: {json.dumps(value)}" for key, value in more.items())
    workflow = f'{{id: wf-{name}, media_url: "oss://mirror/{{key}}"}}'
    return f"  - {{name: {name}, input: {prefix}, workflow: {workflow}{extra}}}"


@dataclass
class Chain:
    """One bucket, one simulator, one ledger; the daemon is started and killed at will."""

    home: Path
    bucket: str
    s3: S3Server
    client: Any
    simulator: Simulator
    launcher: Launcher
    processes: list[Launched] = field(default_factory=list)
    secrets: list[str] = field(default_factory=lambda: [KEY_SECRET])
    said: list[str] = field(default_factory=list)
    """What commands printed; with the daemon's log it is searched for secrets in the end."""

    @property
    def config(self) -> Path:
        return self.home / "oss-dispatcher.yaml"

    @property
    def log(self) -> Path:
        return self.home / "daemon.log"

    def configure(self, *rules: str, rate: int = 150, replaced: Mapping[str, str] | None = None) -> None:
        """Write the config; `replaced` exchanges text in it."""
        (self.home / "s3.secret").write_text(self.s3.access_key_secret.value)
        (self.home / "ims.secret").write_text(KEY_SECRET)
        text = CONFIG.format(
            bucket=self.bucket, s3=self.s3, ims=self.simulator.url, key_id=KEY_ID, rate=rate, rules="\n".join(rules)
        )
        for old, new in (replaced or {}).items():
            assert old in text, old
            text = text.replace(old, new)
        self.config.write_text(text)

    def put(self, key: str, body: bytes = b"media") -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body)

    def start(self, *arguments: str, crash_at: str = "") -> Launched:
        """Start `oss-dispatcher run` as a process of its own."""
        process = self._launch(["run", *arguments], self.log, self.log, crash_at=crash_at)
        self.processes.append(process)
        return process

    def _launch(self, arguments: Sequence[str], stdout: Path, stderr: Path, crash_at: str = "") -> Launched:
        return self.launcher.start(
            ["-c", str(self.config), *arguments],
            directory=self.home,
            stdout=stdout,
            stderr=stderr,
            environment={**without_proxies(), "OSS_DISPATCHER_CRASH_AT": crash_at},
        )

    def crash(self, *arguments: str, at: str, within: float = 60) -> int:
        """Run another command that is killed at a named place; return how it ended."""
        return self._launch(arguments, self.log, self.log, crash_at=at).wait(timeout=within)

    def run_once(self, *arguments: str, crash_at: str = "", within: float = 60) -> int:
        """Run one pass to its end; return the exit code."""
        return self.start("--once", *arguments, crash_at=crash_at).wait(timeout=within)

    def kill(self, process: Launched, how: signal.Signals = signal.SIGKILL) -> int:
        with suppress(ProcessLookupError):
            process.send_signal(how)
        return process.wait(timeout=60)

    def command(self, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run another command of the program, as an argument of the command `before` if that is given."""
        if before:
            done = subprocess.run(
                [*before, sys.executable, "-m", "dispatcher", "-c", str(self.config), *arguments],
                capture_output=True,
                text=True,
                cwd=self.home,
                timeout=60,
                check=False,
            )
        else:
            with tempfile.TemporaryDirectory(dir=self.home) as folder:
                stdout, stderr = Path(folder, "stdout"), Path(folder, "stderr")
                code = self._launch(arguments, stdout, stderr).wait(timeout=60)
                done = subprocess.CompletedProcess([*arguments], code, stdout.read_text(), stderr.read_text())
        self.said.append(done.stdout + done.stderr)
        return done

    def ledger(self) -> Ledger:
        return Ledger.open(f"sqlite:///{self.home / 'oss-dispatcher.db'}", readonly=True)

    def rows(self) -> list[Any]:
        """Every dispatch, as `dispatches list` shows it."""
        ledger = self.ledger()
        try:
            with ledger.read() as tx:
                return list(select(tx, Selector(limit=None), datetime.now(UTC)))
        finally:
            ledger.close()

    def states(self) -> Counter[str]:
        return Counter(row.state for row in self.rows())

    def accepted(self) -> Counter[tuple[str, str]]:
        """How often each (key, workflow) was really started, by the simulator's journal."""
        found: Counter[tuple[str, str]] = Counter()
        for entry in self.simulator.calls():
            media = json.loads(entry.task_input)["Media"]
            found[media.removeprefix("oss://mirror/"), entry.workflow_id] += 1
        return found

    def wait_until(self, condition: Callable[[], bool], what: str, within: float = 60) -> None:
        """Return once the condition holds; fail with the end of the daemon's log if it does not."""
        deadline = time.monotonic() + within
        while not condition():
            late, ended = time.monotonic() > deadline, not any(each.poll() is None for each in self.processes)
            if late or (ended and not condition()):
                log = self.log.read_text(errors="replace")[-6000:] if self.log.exists() else ""
                pytest.fail(f"{what}: not within {within} s{', and no daemon runs' if ended else ''}\n{log}")
            threading.Event().wait(0.05)

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """Every line of the daemon's log with this event."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                if entry.get("event") == event:
                    found.append(entry)
        return found

    def leaks(self) -> list[str]:
        """Return the lines of the log, and of what commands printed, that hold a secret or a signature."""
        log = self.log.read_text(errors="replace") if self.log.exists() else ""
        marks = [*self.secrets, self.s3.access_key_secret.value, "HMAC-SHA256", "X-Amz-Signature"]
        return [line for line in [*log.splitlines(), *self.said] if any(mark in line for mark in marks)]

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                self.kill(process)
        assert self.leaks() == []

"""The demo's world on loopback: an S3 server, the simulated service, a configuration, the real daemon."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.core.settings import Secret
from dispatcher.demo.s3server import running_s3
from dispatcher.demo.story import BUCKETS, MEDIA_URL, NEVER_TRIGGER, RULES
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import SimulatedWorkflow, SimulatorSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dispatcher.demo.s3server import S3Server
    from dispatcher.demo.story import DemoRule

_REGION = "cn-hangzhou"
_STOP_WITHIN = 20.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs, and where its files are."""

    directory: Path
    s3: S3Server
    simulator: Simulator

    @property
    def config(self) -> Path:
        return self.directory / "oss-dispatcher.yaml"

    @property
    def ledger(self) -> Path:
        return self.directory / "oss-dispatcher.db"

    @property
    def log(self) -> Path:
        return self.directory / "daemon.log"


@contextmanager
def running_stage(directory: Path) -> Iterator[Stage]:
    """Run the servers under a directory and write the configuration that uses them."""
    access_key_id = "DEMO" + secrets.token_hex(8).upper()
    access_key_secret = Secret(secrets.token_urlsafe(30))
    with running_s3(directory / "s3") as s3:
        settings = SimulatorSettings(
            access_key_id=access_key_id,
            access_key_secret=access_key_secret,
            region=_REGION,
            workflows=tuple(SimulatedWorkflow(rule.workflow, name=rule.name) for rule in RULES),
            listing_delay=timedelta(milliseconds=300),
            task_duration=timedelta(seconds=1),
        )
        with Simulator(settings, journal_path=directory / "journal.jsonl") as simulator:
            stage = Stage(directory, s3, simulator)
            _write_secret(directory / "s3.secret", s3.access_key_secret)
            _write_secret(directory / "service.secret", access_key_secret)
            stage.config.write_text(_config(stage, access_key_id), encoding="utf-8")
            yield stage


@contextmanager
def running_daemon(stage: Stage) -> Iterator[subprocess.Popen[bytes]]:
    """Run `oss-dispatcher run` as an operator would; its JSON log goes to a file of the stage.

    It does not hear Ctrl-C by itself: leaving the block drains it with SIGTERM.
    """
    command = [sys.executable, "-m", "dispatcher", "--config", str(stage.config), "run"]
    with stage.log.open("ab") as log:
        daemon = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=stage.directory,
            env={name: value for name, value in os.environ.items() if not name.startswith("OSS_DISPATCHER_")},
            start_new_session=True,
        )
    try:
        yield daemon
    finally:
        daemon.terminate()
        try:
            daemon.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _write_secret(path: Path, secret: Secret) -> None:
    path.touch(mode=0o600)
    path.write_text(secret.value, encoding="utf-8")


def _config(stage: Stage, access_key_id: str) -> str:
    """Return the configuration as YAML. JSON strings are YAML strings, so they need no other quoting."""
    buckets = "".join(
        f"  - name: {bucket}\n"
        f"    region: {_REGION}\n"
        f"    endpoint: {stage.s3.endpoint}\n"
        "    addressing: path\n"
        "    credentials:\n"
        "      type: access_key\n"
        f"      access_key_id: {stage.s3.access_key_id}\n"
        f"      access_key_secret_file: {json.dumps(str(stage.directory / 's3.secret'))}\n"
        for bucket in BUCKETS
    )
    return (
        "# Written by `oss-dispatcher demo`. Two buckets on a local S3 server, and the simulated service.\n"
        "version: 1\n"
        f"buckets:\n{buckets}"
        f"ims: {{endpoint: {json.dumps(stage.simulator.url)}}}\n"
        "credentials:\n"
        "  type: access_key\n"
        f"  access_key_id: {access_key_id}\n"
        f"  access_key_secret_file: {json.dumps(str(stage.directory / 'service.secret'))}\n"
        "sources:\n"
        "  - {type: poll, every: 1s}\n"
        f"rules:\n{''.join(map(_rule, RULES))}"
        f"never_trigger: [{NEVER_TRIGGER}]\n"
        "limits: {StartWorkflow: 20/s}\n"
        "uncertain: {after: 2s, every: 1s, sweeps: 2}\n"
        'ledger: {url: "sqlite:///oss-dispatcher.db"}\n'
    )


def _rule(rule: DemoRule) -> str:
    options = "".join(f"    {option}\n" for option in rule.options)
    return (
        f"  - name: {rule.name}\n"
        f"    input: s3://{rule.bucket}/{rule.prefix}\n"
        f"{options}"
        "    workflow:\n"
        f"      id: {rule.workflow}\n"
        f"      media_url: {json.dumps(MEDIA_URL)}\n"
    )

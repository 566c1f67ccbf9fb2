"""The units: systemd finds no fault with them, and scores their exposure low."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
SERVICES = ["oss-dispatcher.service", "oss-dispatcher-backfill@.service"]
COMMAND = "/usr/local/bin/oss-dispatcher"
MOST_EXPOSED = 1.5


@pytest.fixture(scope="module")
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        missing("systemd-analyze")
    assert found is not None
    return found


def settings_of(unit: str) -> dict[str, list[str]]:
    """Return every setting of a unit with its values in order."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / unit).read_text().splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_systemd_finds_no_fault_with_the_units(analyze: str, tmp_path: Path) -> None:
    for unit in UNITS.iterdir():
        # Where a package puts the command is its own affair; what is verified needs some command there.
        (tmp_path / unit.name).write_text(unit.read_text().replace(COMMAND, sys.executable))
    paths = [str(tmp_path / unit.name) for unit in UNITS.iterdir()]
    done = subprocess.run([analyze, "verify", *paths], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_is_hardly_exposed(analyze: str, unit: str) -> None:
    words = [analyze, "security", "--offline=true", f"--threshold={MOST_EXPOSED * 10:.0f}", "--no-pager"]
    done = subprocess.run([*words, str(UNITS / unit)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    told = subprocess.run([*words, "--json=short", str(UNITS / unit)], capture_output=True, text=True, check=False)
    assert len(json.loads(told.stdout)) > 50


def test_the_backfill_shares_the_daemons_user_ledger_secrets_and_walls() -> None:
    daemon, backfill = (settings_of(unit) for unit in SERVICES)
    own = {"Type", "ExecStart", "EnvironmentFile", "Description", "TimeoutStartSec", "SuccessExitStatus"}
    of_a_daemon = {"NotifyAccess", "WatchdogSec", "Restart", "RestartSec", "RestartPreventExitStatus", "WantedBy"}
    of_a_daemon |= {"StartLimitIntervalSec", "StartLimitBurst"}
    assert {name: values for name, values in backfill.items() if name not in own} == {
        name: values for name, values in daemon.items() if name not in own | of_a_daemon
    }


def test_the_daemon_is_told_and_watched_as_the_program_expects() -> None:
    daemon = settings_of(SERVICES[0])
    assert daemon["Type"] == ["notify"]
    assert daemon["NotifyAccess"] == ["main"]
    assert daemon["DynamicUser"] == ["yes"]
    assert daemon["RestartPreventExitStatus"] == ["77 78"]
    assert int(daemon["WatchdogSec"][0]) >= 30

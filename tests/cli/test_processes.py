"""The command as a process: pipes that close, defects, and the simulator until it is asked to stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.config import load
from dispatcher.core.calls import Endpoint, WorkflowCall
from dispatcher.core.outcomes import Started, Uncertain
from dispatcher.targets.alibaba import AlibabaClients
from dispatcher.targets.target import AlibabaTarget

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.core.settings import Settings
    from tests.cli.desk import Shell

PROGRAM = [sys.executable, "-m", "dispatcher"]
RULES = "rules: [{name: a, input: 'oss://my-media.oss-cn-hangzhou.aliyuncs.com/in/', workflow: w1}]\n"


def test_a_reader_that_leaves_early_is_no_error(shell: Shell) -> None:
    keys = [f"incoming/{number}.mp4" for number in range(2_000)]
    with subprocess.Popen(
        [*PROGRAM, "-c", str(shell.config), "explain", "-o", "jsonl", *keys],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        code = process.wait(60)
    assert (code, said) == (141, "")


def test_a_defect_is_told_in_one_line_and_shown_whole_with_verbose(shell: Shell) -> None:
    broken = (
        "import dispatcher.core.location as location\n"
        "def broken(*_): raise ZeroDivisionError('inside')\n"
        "location.parse_object = broken\n"
        "from dispatcher.cli.main import main\n"
        "main()\n"
    )
    words = [sys.executable, "-c", broken, "-c", str(shell.config), "explain", "x.mp4"]
    quiet = subprocess.run(words, capture_output=True, text=True, check=False)
    assert quiet.returncode == 70
    assert quiet.stderr.splitlines()[0].startswith("error: unexpected ZeroDivisionError")
    assert "Traceback" not in quiet.stderr
    loud = subprocess.run([*words, "-v"], capture_output=True, text=True, check=False)
    assert loud.returncode == 70
    assert "Traceback" in loud.stderr


def start(settings: Settings, workflow: str) -> object:
    endpoint = Endpoint("cn-hangzhou", settings.buckets["my-media"].ims.url)
    call = WorkflowCall(endpoint, workflow, json.dumps({"Type": "OSS", "Media": "oss://my-media/in/a.mp4"}), "{}")
    with closing(AlibabaClients(settings.credentials, call_timeout=timedelta(seconds=5))) as clients:
        return AlibabaTarget(clients).start(call)


@pytest.mark.parametrize("secret", [None, "chosen-by-the-operator"])
def test_the_simulator_prints_the_config_that_uses_it(
    tmp_path: Path, secret: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "journal.jsonl"
    if secret is not None:
        monkeypatch.setenv("SIMULATOR_ACCESS_KEY_SECRET", secret)
    words = [*PROGRAM, "simulator", "--port", "0", "--workflow", "w1", "--journal", str(journal)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            printed = process.stdout.readline() + process.stdout.readline()
            config = tmp_path / "c.yaml"
            config.write_text(RULES + printed, encoding="utf-8")
            assert isinstance(start(load(config, dict(os.environ)), "w1"), Started)
        finally:
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "1 tasks were started" in said
    assert secret is None or secret not in printed + said
    assert len(journal.read_text(encoding="utf-8").splitlines()) == 1


def test_the_simulator_fails_on_purpose_when_asked(tmp_path: Path) -> None:
    words = [*PROGRAM, "simulator", "--port", "0", "--fault", "5xx-after=1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            config = tmp_path / "c.yaml"
            config.write_text(RULES + process.stdout.readline() + process.stdout.readline(), encoding="utf-8")
            assert isinstance(start(load(config, {}), "any"), Uncertain)
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
    assert (process.returncode, "1 tasks were started" in said) == (0, True)


@pytest.mark.parametrize(
    "words", [["--fault", "nonsense=1"], ["--fault", "accept-drop=2"], ["--task-duration", "soon"]]
)
def test_a_wrong_simulator_option_says_what_to_write(shell: Shell, words: list[str]) -> None:
    ran = shell("simulator", *words)
    assert ran.code == 2
    assert "hint: " in ran.err

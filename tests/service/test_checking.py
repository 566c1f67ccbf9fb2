"""`check` without the network: the policy for overlaps, and the JSON of the contract."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from dispatcher.config import load
from dispatcher.core.problems import Severity
from dispatcher.service.checking import check, check_json, is_ok

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.core.settings import Settings

TWO = """\
rules:
  - {name: one, input: "oss://m.oss-cn-x.aliyuncs.com/test", workflow: w, extensions: [mp4]}
  - {name: two, input: "oss://m.oss-cn-x.aliyuncs.com/test1", workflow: w, extensions: [mp4]}
never_trigger: [out/]
"""


def read(folder: Path, text: str) -> Settings:
    file = folder / "config.yaml"
    file.write_text(text, "utf-8")
    return load(file, {})


def test_overlaps_follow_the_policy(tmp_path: Path) -> None:
    assert check(read(tmp_path, TWO + "overlap: allow\n")) == []
    (warning,) = check(read(tmp_path, TWO))
    (error,) = check(read(tmp_path, TWO + "overlap: deny\n"))
    assert (warning.severity, error.severity) == (Severity.WARNING, Severity.ERROR)
    assert is_ok([warning])
    assert not is_ok([warning], strict=True)
    assert not is_ok([error])


def test_the_json_of_the_contract(tmp_path: Path) -> None:
    shown = check_json(check(read(tmp_path, TWO)))
    (problem,) = shown["problems"]
    assert shown["ok"]
    assert (problem["code"], problem["severity"], problem["rules"]) == ("overlap", "warning", ["one", "two"])
    assert problem["witness"] == "oss://m/test1/clip.mp4"
    assert problem["message"]
    assert problem["hint"]


def test_errors_come_first(tmp_path: Path) -> None:
    found = check(read(tmp_path, TWO.replace("[out/]", "[tes]").replace(", extensions: [mp4]", "")))
    assert [problem.severity for problem in found][:2] == [Severity.ERROR, Severity.ERROR]
    assert not check_json(found)["ok"]


def test_checking_loads_nothing_heavy() -> None:
    heavy = ("boto3", "botocore", "sqlalchemy", "alibabacloud_ice20201109", "pydantic_settings", "pathspec")
    code = (
        f"import sys, dispatcher.config, dispatcher.service.checking; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"

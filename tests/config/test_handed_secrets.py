"""Secrets that systemd hands to a unit: found by name, each unit in a directory of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.config import load
from dispatcher.core.settings import Secret

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
credentials: {type: access_key, access_key_id: id, access_key_secret_file: oss-dispatcher.secret}
rules: [{name: a, input: "oss://my-media.oss-cn-hangzhou.aliyuncs.com/in/", workflow: w1}]
"""


def test_a_handed_secret_comes_before_one_beside_the_configuration(tmp_path: Path) -> None:
    config, handed = tmp_path / "oss-dispatcher.yaml", tmp_path / "handed"
    config.write_text(CONFIG)
    (tmp_path / "oss-dispatcher.secret").write_text("beside")
    handed.mkdir()
    environment = {"CREDENTIALS_DIRECTORY": str(handed)}
    assert load(config, environment).credentials.access_key_secret == Secret("beside")
    (handed / "oss-dispatcher.secret").write_text("handed\n")
    assert load(config, environment).credentials.access_key_secret == Secret("handed")
    assert load(config, {}).credentials.access_key_secret == Secret("beside")

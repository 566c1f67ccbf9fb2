"""Where the ledger would live: a container's own layer, and a pod among several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dispatcher import mounts
from dispatcher.core.settings import LedgerSettings
from dispatcher.service.placing import place_problems
from tests.service.fakes import make_settings

if TYPE_CHECKING:
    from pathlib import Path

OVERLAY = "310 209 0:55 / / rw,relatime - overlay overlay rw,lowerdir=/a,upperdir=/b\n"
VOLUME = "330 310 8:1 /vol /var/lib/oss-dispatcher rw - ext4 /dev/sda1 rw\n"
SETTINGS = make_settings(ledger=LedgerSettings("sqlite:////var/lib/oss-dispatcher/oss-dispatcher.db"))


@pytest.mark.parametrize(
    ("table", "warned"),
    [
        (OVERLAY, True),
        (OVERLAY + VOLUME, False),
        ("25 1 8:1 / / rw - ext4 /dev/sda1 rw\n", False),
        (OVERLAY + "331 310 0:56 / /var rw - overlay overlay rw\n", False),
        ("", False),
    ],
)
def test_a_ledger_on_the_containers_own_layer_is_warned_of(
    table: str, warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "mountinfo")
    (tmp_path / "mountinfo").write_text(table)
    problems = list(place_problems(SETTINGS, {}))
    assert [(problem.code, problem.severity) for problem in problems] == (
        [("ledger_on_container_layer", "warning")] if warned else []
    )
    assert not warned or "Mount a volume at /var/lib/oss-dispatcher" in problems[0].hint


@pytest.mark.parametrize(
    ("environment", "warned"),
    [
        ({"HOSTNAME": "media-5d8c7b9f4-x2x7p"}, False),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "media-5d8c7b9f4-x2x7p"}, True),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "media-1"}, True),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "media-0"}, False),
    ],
)
def test_a_pod_that_may_have_others_beside_it_is_warned_of_a_file(environment: dict[str, str], warned: bool) -> None:
    problems = list(place_problems(SETTINGS, environment, lambda _: False))
    assert [problem.code for problem in problems] == (["ledger_not_shared"] if warned else [])


def test_postgresql_may_be_anywhere() -> None:
    settings = make_settings(ledger=LedgerSettings("postgresql://db/ledger"))
    assert not list(place_problems(settings, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, lambda _: True))

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher import mounts
from dispatcher.cli.ledgers import now
from dispatcher.config import load
from dispatcher.core.dispatch import StateReason
from dispatcher.core.outcomes import Bury, Complete, Probe, Rejected, Started, Uncertain
from dispatcher.ledger import settling
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.settling import TaskFound
from dispatcher.service.assembly import register
from tests.cli.desk import CONFIG, HOSTILE, TASK, Filling, Shell, id_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _on_a_disk(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `check` says of the ledger's place does not depend on where the tests run."""
    table = tmp_path_factory.mktemp("mounts") / "mountinfo"
    table.write_text("25 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", table)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    config = tmp_path / "oss-dispatcher.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    return Shell(config)


@pytest.fixture
def filled(shell: Shell) -> Shell:
    """One row in every state: started and finished, dead, uncertain, skipped, and pending with a hostile key."""
    settings = load(shell.config, {})
    at = now() - timedelta(minutes=10)
    with closing(Ledger.open(settings.ledger.url)) as ledger:
        register(settings, ledger, at)
        filling = Filling(settings, ledger, at)
        filling.record("incoming/started.mp4")
        filling.send([(Started(TASK, "REQ-1"), Complete(TASK))])
        filling.record("incoming/dead.mp4")
        filling.send([(Rejected("InvalidParameter", "no such input", "REQ-2"), Bury(StateReason.REJECTED))])
        filling.record("incoming/uncertain.mp4")
        filling.send([(Uncertain("read time-out"), Probe(at + timedelta(hours=1)))])
        filling.record(HOSTILE)
        filling.record("incoming/skipped.mp4")
        with ledger.write() as tx:
            settling.settle_evidence(
                tx, [TaskFound(id_of("incoming/started.mp4"), 1, TASK, "Succeed", at, at + timedelta(minutes=1))], at
            )
    assert shell("dispatches", "skip", id_of("incoming/skipped.mp4"), "--yes").code == 0
    return shell

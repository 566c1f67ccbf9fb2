"""A configuration, the command line in this process, and rows written as the daemon writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from dispatcher.cli.main import app
from dispatcher.core.dispatch import DispatchState, content_identity, dispatch_id
from dispatcher.core.rendering import render_call
from dispatcher.core.unsendable import LimitBroken, UserDataTooLong
from dispatcher.ledger import claiming, recording, settling
from dispatcher.ledger.recording import NewDispatch
from dispatcher.ledger.settling import Settlement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from dispatcher.core.outcomes import Decision, Outcome
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.engine import Ledger

CONFIG = """\
version: 1
rules:
  - name: transcode
    input: http://my-media.oss-cn-hangzhou.aliyuncs.com/incoming/
    workflow: f0e54971ecbffd472190
    budget: 100/day
  - name: clips
    input: oss://my-media/incoming/clips/
    extensions: [mp4]
    workflow:
      id: a1b2c3
      user_data: {Folder: "{dir}"}
never_trigger: [incoming/transcoded/]
"""
ETAG = "0123456789abcdef0123456789abcdef"
SIZE = 4096
HOSTILE = "incoming/\x1b[2J\u202efdp.mp4"
TASK = "9a8b7c6d5e4f"


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        assert self.code == 0, self.err
        assert self.out.isascii()
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """The command line, with a configuration."""

    config: Path

    def __call__(self, *words: str, typed: str | None = None) -> Ran:
        done = CliRunner().invoke(app, ["--config", str(self.config), *words], input=typed)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return Ran(done.exit_code, done.stdout, done.stderr)


def id_of(key: str, rule: str = "transcode") -> str:
    return dispatch_id(rule, "my-media", key, content_identity(ETAG, SIZE))


@dataclass
class Filling:
    """Writes rows into a ledger as the daemon would."""

    settings: Settings
    ledger: Ledger
    at: datetime

    def record(self, *keys: str, rule: str = "transcode") -> None:
        rows = [
            NewDispatch(id_of(key, rule), rule, "my-media", key, ETAG, SIZE, "", "poll:my-media/incoming/", None)
            for key in keys
        ]
        with self.ledger.write() as tx:
            recording.record(tx, rows, self.at)

    def send(self, endings: Sequence[tuple[Outcome, Decision]]) -> None:
        """Call what is due, the oldest first, with these ends."""
        sender = self.ledger.become_sender(self.at)
        with self.ledger.write() as tx:
            due = claiming.due(tx, rule_ids=["transcode"], now=self.at, limit=len(endings))
            assert len(due) == len(endings)
            calls = []
            for each in due:
                rule = self.settings.rules.by_id[each.rule_id]
                call = render_call(
                    rule,
                    self.settings.buckets["my-media"].ims,
                    bucket=each.bucket,
                    key=each.key,
                    etag=each.etag,
                    size=each.size,
                    dispatch_id=each.dispatch_id,
                    attempt=1,
                )
                assert not isinstance(call, UserDataTooLong | LimitBroken)
                calls.append((each, 1, call))
            claiming.begin(tx, sender, calls, self.at)
            settlements = [
                Settlement(each.dispatch_id, 1, outcome, decision, self.at)
                for each, (outcome, decision) in zip(due, endings, strict=True)
            ]
            settling.settle(tx, sender, settlements, self.at)


STATES = {
    "incoming/started.mp4": DispatchState.STARTED,
    "incoming/dead.mp4": DispatchState.DEAD,
    "incoming/uncertain.mp4": DispatchState.UNCERTAIN,
    HOSTILE: DispatchState.PENDING,
    "incoming/skipped.mp4": DispatchState.SKIPPED,
}

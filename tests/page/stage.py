"""A ledger after a day of work, with rows in every state and keys of strangers, and the page that shows it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dispatcher.config import load
from dispatcher.core.backfilling import BackfillKind, Pace
from dispatcher.core.dispatch import StateReason
from dispatcher.core.events import decode_key
from dispatcher.core.health import Condition
from dispatcher.core.observations import Granted, Sighted, SourceAnswered, SourceFailed
from dispatcher.core.outcomes import Bury, Complete, Probe, Rejected, Started, Uncertain
from dispatcher.core.ratelimit import Rate
from dispatcher.core.scope import Scope, scope_text
from dispatcher.core.settings import Secret
from dispatcher.errors import QueueDeniedError
from dispatcher.ledger import backfills, quarantine, settling
from dispatcher.ledger.backfills import NewBackfill
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.recording import NewDispatch
from dispatcher.ledger.settling import TaskFound
from dispatcher.ports import Undecodable
from dispatcher.service.assembly import register
from dispatcher.service.board import Board
from dispatcher.service.desk.changing import Changing
from dispatcher.service.desk.looking import Looking
from dispatcher.service.health import Health
from dispatcher.web.operating import operator_app
from dispatcher.web.page.mounting import page_routes
from tests.cli.desk import ETAG, SIZE, Filling, id_of

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp

    from dispatcher.core.settings import Settings
    from dispatcher.errors import DispatcherError

TOKEN = "correct-horse-battery"
CONFIG = """\
version: 1
credentials: {type: access_key, access_key_id: LTAI-not-shown, access_key_secret: secret-not-shown}
sources:
  - {type: poll, every: 30s}
  - {type: smq, name: oss-events, endpoint: 1.mns.cn-hangzhou.aliyuncs.com, queue: oss-events}
rules:
  - name: transcode
    input: http://my-media.oss-cn-hangzhou.aliyuncs.com/incoming/
    workflow: f0e54971ecbffd472190
    budget: 100/day
  - name: clips
    input: oss://my-media/incoming/clips/
    extensions: [mp4]
    workflow: {id: a1b2c3, user_data: {Folder: "{dir}"}}
  - name: archive
    input: oss://my-media/archive/
    workflow: {id: a1b2c3}
never_trigger: [incoming/transcoded/]
"""
SCRIPT = "incoming/<script>document.title='taken'</script>&\"'.mp4"
RIGHT_TO_LEFT = "incoming/\u202egnp.\u202c\u0634\u0631\u064a\u0637 \u05e9.mp4"
LONG = "incoming/" + "x" * (1024 - len("incoming/") - 4) + ".mp4"
NO_TEXT = decode_key(b"incoming/caf\xe9-\xff\xfe.mp4")
HOSTILE = (SCRIPT, RIGHT_TO_LEFT, LONG, NO_TEXT)
DEAD = tuple(f"incoming/broken-{number}.mov" for number in range(6))
BODY = b'{"events": "not what a notification <b>holds</b>"}'


@dataclass
class Stage:
    """Everything behind the page. The clock stands."""

    settings: Settings
    ledger: Ledger
    at: datetime
    board: Board
    health: Health = field(default_factory=Health)
    failures: dict[str, DispatcherError] = field(default_factory=dict)
    woken: int = 0

    @classmethod
    def made(cls, folder: Path) -> Stage:
        """Write the configuration, and a ledger after a day."""
        config = folder / "oss-dispatcher.yaml"
        config.write_text(CONFIG, encoding="utf-8")
        settings = load(config, {})
        at = datetime.now(UTC)
        stage = cls(settings, Ledger.open(settings.ledger.url), at, Board(lambda: at))
        stage.fill()
        return stage

    def app(self, token: str | None = TOKEN, **changes: object) -> ASGIApp:
        """Return the operator's application as a daemon serves it."""
        http = replace(self.settings.http, token=None if token is None else Secret(token), **changes)  # type: ignore[arg-type] # fields by name
        looking = Looking(
            lambda: self.settings, self.ledger, lambda: self.at, self.health, self.board, lambda: self.failures
        )
        changing = Changing(lambda: self.settings, self.ledger, lambda: self.at, lambda: self._changed(looking))
        return operator_app(page_routes(http, looking, changing, lambda: self.at), lambda: datetime.now(UTC))

    def _changed(self, looking: Looking) -> None:
        looking.forget()
        self.woken += 1

    def close(self) -> None:
        self.ledger.close()

    # -- a day ------------------------------------------------------------------------------------------------

    def fill(self) -> None:
        register(self.settings, self.ledger, self.at - timedelta(days=2))
        for half_hour in range(1, 48, 2):
            self._work(half_hour)
        filling = Filling(self.settings, self.ledger, self.at - timedelta(minutes=20))
        filling.record(*DEAD)
        refused = Rejected("InvalidParameter.Input", "the input file is not supported", "REQ-DEAD")
        filling.send([(refused, Bury(StateReason.REJECTED))] * len(DEAD))
        filling.record("incoming/lost-answer.mp4")
        filling.send([(Uncertain("read time-out"), Probe(self.at + timedelta(hours=1)))])
        filling.at = self.at - timedelta(minutes=2)
        filling.record(*HOSTILE)
        self._beside()

    def _work(self, half_hour: int) -> None:
        at = self.at - timedelta(days=1) + timedelta(minutes=30 * half_hour + 5)
        keys = [f"incoming/day/{half_hour:02}-{number}.mp4" for number in range(2 + half_hour % 5)]
        filling = Filling(self.settings, self.ledger, at)
        filling.record(*keys)
        tasks = [f"task-{half_hour}-{place}" for place, _ in enumerate(keys)]
        filling.send([(Started(task, f"REQ-{half_hour}"), Complete(task)) for task in tasks])
        failed = half_hour in {13, 31}
        with self.ledger.write() as tx:
            settling.settle_evidence(
                tx,
                [
                    TaskFound(
                        id_of(key),
                        1,
                        f"task-{half_hour}-{place}",
                        "Failed" if failed and place == 0 else "Succeed",
                        at,
                        at + timedelta(minutes=1),
                        "the video track is damaged" if failed and place == 0 else None,
                    )
                    for place, key in enumerate(keys)
                ],
                at,
            )

    def _beside(self) -> None:
        with self.ledger.write() as tx:
            body = Undecodable("oss-events", BODY, "this is no notification of OSS", None)
            quarantine.record(tx, [body, Undecodable("oss-events", b"\xff\x00<i>", "not JSON", None)], self.at)
            new = NewBackfill(BackfillKind.BACKFILL, "f", scope_text(Scope(run="spring")), "spring", pace=Pace(Rate(5)))
            number = backfills.create(tx, new, self.at - timedelta(hours=2)).number
            rows = [
                NewDispatch(id_of(key, "archive"), "archive", "my-media", key, ETAG, SIZE, "spring", "backfill", None)
                for key in (f"archive/{n}.mp4" for n in range(12))
            ]
            backfills.record(tx, number, rows, self.at - timedelta(hours=1))
            backfills.complete(tx, number, self.at - timedelta(hours=1))
        for seen in (
            Sighted("poll:my-media/incoming/", "listing", 120),
            SourceAnswered("poll:my-media/incoming/"),
            Granted("cn-hangzhou", "StartWorkflow", 150),
            SourceFailed("oss-events"),
        ):
            self.board(seen)
        self.failures["oss-events"] = QueueDeniedError(
            "the queue oss-events refuses these credentials", hint="grant mns:ReceiveMessage on it"
        )
        self.health.started()
        self.health.proven()
        failure = self.failures["oss-events"]
        self.health.notes = (Condition("source_failed", f"oss-events: {failure.message}", failure.hint),)
        self.health.summary = "watching my-media; 3 rules; 16 waiting; 1 uncertain; 6 dead; last pass 12s ago"

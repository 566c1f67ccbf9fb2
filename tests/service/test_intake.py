"""Intake: from sightings to rows, committed with the source's progress before the source is acknowledged."""

from __future__ import annotations

import io
import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from dispatcher.core.dispatch import content_identity, dispatch_id
from dispatcher.core.events import BASELINE_REVISION
from dispatcher.core.rules import Existing
from dispatcher.core.segments import SnapshotChange
from dispatcher.errors import LedgerError, ServiceUnavailableError
from dispatcher.ledger import sightings
from dispatcher.ledger.failures import LedgerFullError
from dispatcher.ledger.snapshots import LedgerSnapshots
from dispatcher.ledger.tables import Lane, dispatches
from dispatcher.ports import Batch
from dispatcher.service import logs
from dispatcher.service.intake import Taken
from tests.service.conftest import lines
from tests.service.fakes import MODIFIED, make_rule, make_settings, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from dispatcher.core.rules import Rule
    from tests.service.conftest import Log, Scene

KEY = "in/a.mp4"


def rule_of(scene: Scene, rule: Rule) -> None:
    scene.settings = make_settings(rule)


def passes_root(root: str = "in/") -> SnapshotChange:
    """Progress of a source: a first listing of a root has begun."""
    return SnapshotChange("b", root, 0, begin=MODIFIED)


def known_roots(scene: Scene) -> list[str]:
    return list(LedgerSnapshots(scene.ledger).roots("b"))


def refuse_commits(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every transaction do its work and then fail, as on a disk that is full at the commit."""
    write = scene.ledger.write

    @contextmanager
    def refusing() -> Iterator[Connection]:
        with write() as tx:
            yield tx
            raise LedgerFullError("the disk is full", hint="make room")

    monkeypatch.setattr(scene.ledger, "write", refusing)


# -- verdicts become rows ---------------------------------------------------------------------------


def test_each_matching_rule_gets_a_row(scene: Scene) -> None:
    scene.settings = make_settings(make_rule("all"), make_rule("deep", "in/x/"), make_rule("other", "out/"))
    taken = scene.intake().take(Batch([seen("in/x/a.mp4"), seen("in/a.mp4"), seen("in/a.txt"), seen("in/x/")]))
    assert taken == Taken(events=4, recorded=3, known=0, undecided=0)
    assert sorted((row.rule, row.key) for row in scene.rows()) == [
        ("all", "in/a.mp4"),
        ("all", "in/x/a.mp4"),
        ("deep", "in/x/a.mp4"),
    ]
    assert scene.woken == 1


def test_a_row_tells_what_was_seen(scene: Scene) -> None:
    (dispatch,) = scene.record(KEY)
    row = scene.row(dispatch)
    assert dispatch == dispatch_id("r", "b", KEY, content_identity("e1", 7))
    assert (row.state, row.reason, row.bucket, row.etag, row.size) == ("pending", None, "b", "e1", 7)
    assert (row.source, row.run, row.first_seen_at) == ("poll:b/in/", "", scene.clock.now)


def test_a_batch_without_a_match_is_progress_all_the_same(scene: Scene) -> None:
    acknowledged: list[str] = []
    taken = scene.intake().take(Batch([seen("in/a.txt")], passes_root(), lambda: acknowledged.append("ack")))
    assert (taken.recorded, known_roots(scene), acknowledged, scene.woken) == (0, ["in/"], ["ack"], 0)


def test_many_rows_fit_in_one_batch(scene: Scene) -> None:
    scene.settings = make_settings(make_rule("one"), make_rule("two"))
    assert scene.intake().take(Batch([seen(f"in/{number}.mp4") for number in range(1_100)])).recorded == 2_200


def test_the_same_batch_again_adds_nothing(scene: Scene) -> None:
    intake = scene.intake()
    batch = Batch([seen(KEY), seen("in/b.mp4")])
    assert intake.take(batch).recorded == 2
    assert intake.take(batch) == Taken(events=2, recorded=0, known=2)
    assert intake.take(Batch([seen(KEY, source="smq:events")])).known == 1
    assert (len(scene.rows()), scene.woken) == (2, 1)


# -- one transaction, then the acknowledgement ------------------------------------------------------


def test_rows_and_progress_are_committed_before_the_acknowledgement(scene: Scene) -> None:
    looked: list[tuple[dict[str, str], list[str]]] = []
    ack = lambda: looked.append((scene.states(), known_roots(scene)))  # noqa: E731 - what the source sees then
    scene.intake().take(Batch([seen(KEY)], passes_root(), ack))
    assert looked == [({KEY: "pending"}, ["in/"])]


def test_a_commit_that_fails_leaves_nothing_and_acknowledges_nothing(
    scene: Scene, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = scene.intake()
    acknowledged: list[str] = []
    batch = Batch([seen(KEY), seen("in/b.mp4", etag=None)], passes_root(), lambda: acknowledged.append("ack"))
    with monkeypatch.context() as full:
        refuse_commits(scene, full)
        with pytest.raises(LedgerFullError):
            intake.take(batch)
    with scene.ledger.read() as tx:
        assert sightings.waiting(tx) == 0
    assert (scene.rows(), known_roots(scene), acknowledged, scene.woken) == ([], [], [], 0)
    assert lines(log, "dispatch.recorded") == []
    intake.take(batch)
    assert (scene.states(), acknowledged) == ({KEY: "pending"}, ["ack"])


def test_progress_that_does_not_fit_takes_the_rows_back(scene: Scene) -> None:
    """Two passes over one root at once: the second one's view is stale."""
    intake = scene.intake()
    intake.take(Batch([], passes_root()))
    stale = SnapshotChange("b", "in/", 7, begin=MODIFIED)
    with pytest.raises(LedgerError):
        intake.take(Batch([seen(KEY)], stale))
    assert scene.rows() == []


def test_an_acknowledgement_that_fails_loses_nothing(scene: Scene) -> None:
    def refuse() -> None:
        raise ServiceUnavailableError("the queue is away", hint="wait")

    intake = scene.intake()
    with pytest.raises(ServiceUnavailableError):
        intake.take(Batch([seen(KEY)], ack=refuse))
    assert scene.states() == {KEY: "pending"}
    assert intake.take(Batch([seen(KEY)])).known == 1


# -- objects that were there before -----------------------------------------------------------------


@pytest.mark.parametrize("existing", [Existing(), Existing(dispatch=True)])
def test_what_was_never_recorded_is_new_for_every_rule(scene: Scene, existing: Existing) -> None:
    rule_of(scene, make_rule(existing=existing))
    scene.record(KEY)
    assert scene.states() == {KEY: "pending"}


@pytest.mark.parametrize(
    ("existing", "modified_after", "taken"),
    [
        (Existing(), 0, False),
        (Existing(dispatch=True), 0, True),
        (Existing(dispatch=True, since=MODIFIED), 0, True),
        (Existing(dispatch=True, since=MODIFIED), -1, False),
        (Existing(dispatch=True, since=MODIFIED), None, False),
    ],
)
def test_what_is_older_than_the_rule_follows_existing(
    scene: Scene, existing: Existing, modified_after: int | None, taken: bool
) -> None:
    rule_of(scene, make_rule(existing=existing))
    modified_at = None if modified_after is None else MODIFIED + timedelta(seconds=modified_after)
    event = seen(KEY, known_revision=BASELINE_REVISION, modified_at=modified_at)
    scene.intake().take(Batch([event]))
    assert [row.source for row in scene.rows()] == (["existing"] if taken else [])


def test_an_existing_object_is_not_counted_by_the_budget(scene: Scene) -> None:
    rule_of(scene, make_rule(existing=Existing(dispatch=True)))
    scene.intake().take(Batch([seen(KEY, known_revision=BASELINE_REVISION), seen("in/b.mp4")]))
    with scene.ledger.read() as tx:
        lanes = {row.key: Lane(row.lane) for row in tx.execute(select(dispatches))}
    assert lanes == {KEY.encode(): Lane.EXEMPT, b"in/b.mp4": Lane.BUDGETED}


@pytest.mark.parametrize(("revision", "taken"), [(1, ["late"]), (2, []), (3, [])])
def test_an_object_is_existing_for_the_rules_that_came_later_and_decided_for_the_others(
    scene: Scene, revision: int, taken: list[str]
) -> None:
    early = make_rule("early", existing=Existing(dispatch=True))
    late = make_rule("late", existing=Existing(dispatch=True))
    scene.settings = make_settings(early)
    scene.intake()
    scene.settings = make_settings(early, late)
    intake = scene.intake()
    assert dict(intake.first_revision) == {"early": 1, "late": 2}
    intake.take(Batch([seen(KEY, known_revision=revision)]))
    assert [row.rule for row in scene.rows()] == taken


# -- rules that were renamed, shadow runs, sightings ------------------------------------------------


def test_a_renamed_rule_knows_what_it_did_under_its_old_id(scene: Scene) -> None:
    (before,) = scene.record(KEY)
    rule_of(scene, make_rule("new", was=("r",)))
    intake = scene.intake()
    taken = intake.take(Batch([seen(KEY), seen(KEY, etag="e2"), seen("in/b.mp4")]))
    assert (taken.recorded, taken.known) == (2, 1)
    assert {row.rule for row in scene.rows() if row.dispatch_id != before} == {"new"}


def test_a_shadow_run_records_and_nothing_is_ever_due(scene: Scene) -> None:
    scene.intake(shadow=True).take(Batch([seen(KEY)]))
    (row,) = scene.rows()
    assert (row.state, row.reason, row.next_at) == ("skipped", "SHADOW", None)


@pytest.mark.parametrize("unknown", [{"etag": None}, {"size": None}, {"etag": None, "size": None}])
def test_what_cannot_be_decided_yet_waits_as_a_sighting(scene: Scene, unknown: dict[str, None]) -> None:
    event = replace(seen(KEY, source="smq:events"), **unknown)  # type: ignore[arg-type]  # a table of fields
    acknowledged: list[str] = []
    taken = scene.intake().take(Batch([event], ack=lambda: acknowledged.append("ack")))
    with scene.ledger.read() as tx:
        (waiting,) = sightings.due(tx, scene.clock(), limit=10)
    assert (taken, scene.rows(), acknowledged) == (Taken(events=1, undecided=1), [], ["ack"])
    assert waiting.event == event


# -- the log ----------------------------------------------------------------------------------------


def test_each_recorded_row_is_one_line(scene: Scene, log: Log) -> None:
    ids = scene.record(KEY, "in/b.mp4")
    told = lines(log, "dispatch.recorded")
    assert [line["dispatch"] for line in told] == ids
    assert {name: told[0][name] for name in ("rule", "bucket", "key", "etag", "size", "source")} == {
        "rule": "r",
        "bucket": "b",
        "key": KEY,
        "etag": "e1",
        "size": 7,
        "source": "poll:b/in/",
    }
    scene.clock.later(seconds=1)
    scene.record(KEY, etag="e2")
    assert [line["dispatch"] for line in lines(log, "dispatch.superseded")] == [ids[0]]


def test_hostile_keys_are_escaped_in_the_log(scene: Scene, plain_logging: None) -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    key = "in/\x1b[2Jred\n\u202egpj\udcff.mp4"
    scene.intake().take(Batch([seen(key)]))
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    (line,) = (line for line in told if line["event"] == "dispatch.recorded")
    assert line["key"] == r"in/\x1b[2Jred\n\u202egpj\udcff.mp4"
    assert "\x1b" not in stream.getvalue()
    assert scene.rows()[0].key == key

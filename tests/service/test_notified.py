"""What notifications bring to intake: quarantine, strangers, growing and existing objects, and what was missed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.core.rules import Existing
from dispatcher.ledger import announcing, quarantine, sightings
from dispatcher.ledger.announcing import MISSED_AFTER
from dispatcher.ledger.failures import LedgerFullError
from dispatcher.ledger.quarantine import Choice
from dispatcher.ports import Batch, Undecodable
from dispatcher.service.intake import GROWING_SETTLE, Coverage
from dispatcher.service.strangers import MOST_NAMED
from tests.service.conftest import lines
from tests.service.fakes import make_rule, make_settings, seen
from tests.service.test_intake import refuse_commits

if TYPE_CHECKING:
    from dispatcher.core.events import ObjectEvent
    from dispatcher.service.intake import Intake
    from tests.service.conftest import Log, Scene

KEY = "in/a.mp4"
ANY = Choice(every=True)


def told(key: str = KEY, etag: str | None = "e1", **changes: Any) -> ObjectEvent:
    """A sighting of an object by a notification."""
    return seen(key, etag, source="smq:q", event_name="ObjectCreated:PutObject", **changes)


def intake_of(scene: Scene, **changes: Any) -> Intake:
    return replace(scene.intake(), **changes)


def bodies(scene: Scene) -> list[tuple[str, bytes, str, int]]:
    with scene.ledger.read() as tx:
        return [(each.source, each.body, each.reason, each.times) for each in quarantine.select_some(tx, ANY)]


# -- quarantine ------------------------------------------------------------------------------------


def test_what_means_nothing_is_kept_before_the_acknowledgement(scene: Scene, log: Log) -> None:
    kept: list[list[tuple[str, bytes, str, int]]] = []
    batch = Batch(
        [told()],
        ack=lambda: kept.append(bodies(scene)),
        undecodable=[Undecodable("smq:q", b"x", "one", None), Undecodable("smq:q", b"x", "two", None)],
    )
    taken = scene.intake().take(batch)
    assert kept == [[("smq:q", b"x", "one; two", 1)]]
    assert (taken.recorded, taken.quarantined) == (1, 1)
    assert [line["reason"] for line in lines(log, "body.quarantined")] == ["one", "two"]


def test_a_body_that_comes_again_is_counted_and_not_kept_twice(scene: Scene) -> None:
    intake = scene.intake()
    for _ in range(3):
        intake.take(Batch([], undecodable=[Undecodable("smq:q", b"x", "why", None)]))
    intake.take(Batch([], undecodable=[Undecodable("sqs:q", b"x", "why", None)]))
    assert bodies(scene) == [("smq:q", b"x", "why", 3), ("sqs:q", b"x", "why", 1)]


def test_a_commit_that_fails_keeps_no_body_and_acknowledges_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledged: list[str] = []
    batch = Batch([], ack=lambda: acknowledged.append("ack"), undecodable=[Undecodable("s", b"x", "why", None)])
    intake = scene.intake()
    with monkeypatch.context() as full:
        refuse_commits(scene, full)
        with pytest.raises(LedgerFullError):
            intake.take(batch)
    assert (bodies(scene), acknowledged) == ([], [])


# -- what is let go --------------------------------------------------------------------------------


def test_a_bucket_that_no_rule_reads_is_said_once_and_counted(scene: Scene, log: Log) -> None:
    intake = scene.intake()
    acknowledged: list[str] = []
    for _ in range(3):
        intake.take(Batch([replace(told(), bucket="other"), told()], ack=lambda: acknowledged.append("ack")))
    assert [line["bucket"] for line in lines(log, "bucket.unknown")] == ["other"]
    assert intake.strangers.counts == {"other": 3}
    assert (len(scene.rows()), len(acknowledged)) == (1, 3)


def test_the_memory_of_strange_buckets_is_bounded(scene: Scene) -> None:
    intake = scene.intake()
    intake.take(Batch([replace(told(), bucket=f"b{number}") for number in range(MOST_NAMED + 50)]))
    assert len(intake.strangers.counts) == MOST_NAMED


def test_nothing_is_asked_of_an_object_that_no_rule_could_match(scene: Scene) -> None:
    scene.intake().take(Batch([told("elsewhere/a.mp4", None), told("in/a.txt", None), told("in/dir/", None)]))
    with scene.ledger.read() as tx:
        assert sightings.waiting(tx) == 0


@pytest.mark.parametrize("event", [told(etag=None), told(size=None), told(hearsay=True)])
def test_an_event_that_is_not_believed_waits_for_head_and_keeps_all_it_said(scene: Scene, event: ObjectEvent) -> None:
    event = replace(event, growing=True, happened_at=scene.clock())
    scene.intake().take(Batch([event]))
    with scene.ledger.read() as tx:
        (waiting,) = sightings.due(tx, scene.clock(), limit=9)
    assert waiting.event == event
    assert scene.rows() == []


# -- objects that grow -----------------------------------------------------------------------------


@pytest.mark.parametrize(("settle", "waits"), [(None, GROWING_SETTLE), (timedelta(seconds=30), timedelta(seconds=30))])
def test_the_first_sighting_of_a_growing_object_waits(scene: Scene, settle: timedelta | None, waits: timedelta) -> None:
    scene.settings = make_settings(make_rule(settle=settle))
    scene.intake().take(Batch([told(growing=True), told("in/b.mp4")]))
    rows = {row.key: (row.reason, row.next_at) for row in scene.rows()}
    assert rows == {KEY: ("SETTLING", scene.clock() + waits), "in/b.mp4": (None, scene.clock())}


def test_each_growth_begins_the_wait_again(scene: Scene) -> None:
    intake = scene.intake()
    for number in range(4):
        intake.take(Batch([told(etag=f"e{number}", growing=True)]))
        scene.clock.later(minutes=4)
    last = scene.clock() - timedelta(minutes=4)
    waiting = [(row.etag, row.next_at) for row in scene.rows() if row.state == "pending"]
    assert waiting == [("e3", last + GROWING_SETTLE)]
    assert {row.reason for row in scene.rows() if row.state == "skipped"} == {"SUPERSEDED"}


def test_where_appended_objects_are_accepted_a_listed_one_may_be_growing(scene: Scene) -> None:
    intake = intake_of(scene, coverage=Coverage(growing=frozenset({"b"})))
    intake.take(Batch([seen(KEY), told("in/b.mp4")]))
    assert {row.key: row.reason for row in scene.rows()} == {KEY: "SETTLING", "in/b.mp4": None}


# -- objects that were there before ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("happened", "modified", "taken"),
    [
        (-60, None, False),
        (-60, -3600, False),
        (-60, 0, True),  # overwritten since: its own notification may be the one that is lost
        (0, -3600, True),  # a multipart upload that was begun long ago
        (60, None, True),
        (None, -60, False),
        (None, 60, True),
        (None, None, True),
    ],
)
def test_an_object_made_before_its_rule_is_existing(
    scene: Scene, happened: int | None, modified: int | None, taken: bool
) -> None:
    at: dict[str, Any] = {
        name: None if seconds is None else scene.clock() + timedelta(seconds=seconds)
        for name, seconds in (("happened_at", happened), ("modified_at", modified))
    }
    intake = intake_of(scene, since={"r": scene.clock()})
    intake.take(Batch([told(**at)]))
    assert bool(scene.rows()) is taken


def test_whole_seconds_of_a_store_hide_nothing_of_the_first_second(scene: Scene) -> None:
    since = scene.clock() + timedelta(milliseconds=700)
    intake = intake_of(scene, since={"r": since})
    intake.take(Batch([told(modified_at=None, happened_at=since.replace(microsecond=0))]))
    assert len(scene.rows()) == 1


def test_existing_objects_start_where_their_rule_wants_them(scene: Scene) -> None:
    scene.settings = make_settings(make_rule(existing=Existing(dispatch=True)))
    intake = intake_of(scene, since={"r": scene.clock()})
    intake.take(Batch([told(modified_at=None, happened_at=scene.clock() - timedelta(days=1))]))
    assert [row.source for row in scene.rows()] == ["existing"]


def test_a_late_notification_of_older_content_is_superseded_by_whole_seconds(scene: Scene) -> None:
    """A HEAD tells whole seconds, and some listings tell milliseconds of the same moment."""
    at = scene.clock().replace(microsecond=0)
    intake = scene.intake()
    intake.take(Batch([seen(KEY, "e1", modified_at=at + timedelta(milliseconds=250))]))
    intake.take(Batch([told(etag="e2", modified_at=at)]))
    assert {row.etag: row.state for row in scene.rows()} == {"e1": "skipped", "e2": "pending"}


# -- what notifications missed ---------------------------------------------------------------------


def covering(scene: Scene) -> Intake:
    return intake_of(scene, coverage=Coverage(announced=frozenset({"b"})))


def missed(scene: Scene) -> dict[str, int]:
    scene.upkeep().count_missed()
    with scene.ledger.read() as tx:
        return {bucket: each.found_by_listing_only for bucket, each in announcing.missed(tx).items()}


def test_an_object_that_only_a_listing_brought_is_counted_after_ten_minutes(scene: Scene, log: Log) -> None:
    covering(scene).take(Batch([seen(KEY), seen("in/b.mp4"), seen("in/c.txt")]))
    scene.clock.later(seconds=MISSED_AFTER.total_seconds() - 1)
    assert missed(scene) == {}
    scene.clock.later(seconds=1)
    assert missed(scene) == {"b": 2}
    assert missed(scene) == {"b": 2}
    (line,) = lines(log, "notifications.missed")
    assert (line["bucket"], line["found_by_listing_only"]) == ("b", 2)
    covering(scene).take(Batch([seen("in/d.mp4")]))
    scene.clock.later(minutes=10)
    assert missed(scene) == {"b": 3}


@pytest.mark.parametrize("content", ["e1", None])
def test_a_notification_within_ten_minutes_is_in_time(scene: Scene, content: str | None) -> None:
    intake = covering(scene)
    intake.take(Batch([seen(KEY)]))
    scene.clock.later(minutes=9)
    intake.take(Batch([told(etag=content)]))
    scene.clock.later(minutes=9)
    assert missed(scene) == {}


@pytest.mark.parametrize("content", ["e1", None])
def test_a_notification_before_the_listing_is_in_time(scene: Scene, content: str | None) -> None:
    intake = covering(scene)
    intake.take(Batch([told(etag=content)]))
    intake.take(Batch([seen(KEY)]))
    scene.clock.later(minutes=20)
    assert missed(scene) == {}


def test_nothing_is_missed_where_no_notification_is_expected(scene: Scene) -> None:
    scene.settings = make_settings(make_rule(existing=Existing(dispatch=True)))
    scene.intake().take(Batch([seen(KEY)]))
    covering(scene).take(Batch([seen("in/old.mp4", known_revision=0)]))
    assert len(scene.rows()) == 2
    scene.clock.later(minutes=20)
    assert missed(scene) == {}


def test_a_bucket_that_no_source_covers_any_more_waits_for_nothing(scene: Scene) -> None:
    covering(scene).take(Batch([seen(KEY)]))
    with scene.ledger.write() as tx:
        announcing.uncover(tx, ["other"])
        assert announcing.waiting(tx) == 0

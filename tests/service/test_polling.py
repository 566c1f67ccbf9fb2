"""Polling: passes over the roots of a bucket, what fails alone, and what it tells."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.core.pacing import QUICK
from dispatcher.core.rules import Existing
from dispatcher.core.settings import PollSettings
from dispatcher.errors import ListingError
from dispatcher.ledger.failures import LedgerFullError
from dispatcher.ledger.snapshots import LedgerSnapshots
from dispatcher.service.assembly import register
from dispatcher.service.intake import Intake
from dispatcher.service.polling import Poll
from tests.service.conftest import lines
from tests.service.fakes import make_rule, make_settings
from tests.sources.conftest import Store

if TYPE_CHECKING:
    import threading

    import pytest

    from dispatcher.core.rules import Rule
    from dispatcher.sources.store import Answer
    from tests.service.conftest import Log, Scene

KEY = "in/a.mp4"


class PartlyDenied(Store):
    """A store of which the roots in `denied` cannot be listed."""

    denied: frozenset[str] = frozenset()

    def list(self, root: str, token: str | None, page: int, stop: threading.Event) -> Answer:
        if root in self.denied:
            raise ListingError(f"HTTP 403 for {root}", hint="allow oss:ListObjects")
        return super().list(root, token, page, stop)


def poll(scene: Scene, store: Store, *rules: Rule, every: timedelta | None = None, others: int = 0) -> Poll:
    """Register the rules and make the poll of bucket `b`, as a start of the program does."""
    scene.settings = make_settings(*(rules or (make_rule(),)), poll=PollSettings(every=every))
    registered = register(scene.settings, scene.ledger, scene.clock())
    return Poll(
        bucket=scene.settings.buckets["b"],
        rules=scene.settings.rules.rules,
        roots=scene.settings.rules.roots("b"),
        settings=PollSettings(every=every),
        revision=registered.revision,
        memory=LedgerSnapshots(scene.ledger),
        lister=store,
        intake=Intake(scene.ledger, scene.settings.rules, registered.first_revision, scene.clock, lambda: None),
        ledger=scene.ledger,
        existing_pending=set(registered.existing_pending),
        others=lambda: others,
    )


def test_the_first_pass_starts_nothing_and_the_next_what_came_since(scene: Scene, log: Log) -> None:
    store = Store()
    store.put("in/old.mp4")
    store.now += timedelta(seconds=5)
    made = poll(scene, store)
    assert made.tick(scene.stop) == QUICK
    assert scene.rows() == []
    (line,) = lines(log, "baseline.complete")
    assert (line["bucket"], line["root"], line["existing"]) == ("b", "in/", 1)
    store.put(KEY)
    made.tick(scene.stop)
    assert scene.states() == {KEY: "pending"}
    assert lines(log, "pass.complete")[-1]["new"] == 1


def test_a_root_that_fails_keeps_no_other_from_being_listed(scene: Scene, log: Log) -> None:
    store = PartlyDenied()
    made = poll(scene, store, make_rule("a", "a/"), make_rule("in", "in/"))
    made.tick(scene.stop)
    store.denied = frozenset({"a/"})
    store.put(KEY)
    store.put("a/a.mp4")
    made.tick(scene.stop)
    assert scene.states() == {KEY: "pending"}
    (line,) = lines(log, "pass.failed")
    assert (line["root"], line["error"], line["hint"]) == ("a/", "HTTP 403 for a/", "allow oss:ListObjects")
    assert made.failure is not None
    store.denied = frozenset()
    made.tick(scene.stop)
    assert scene.states() == {KEY: "pending", "a/a.mp4": "pending"}
    assert made.failure is None


def test_a_pass_whose_commit_fails_is_told_and_made_again(
    scene: Scene, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    made = poll(scene, store)
    made.tick(scene.stop)
    store.put(KEY)

    def full() -> None:
        raise LedgerFullError("the disk is full", hint="make room")

    with monkeypatch.context() as refusing:
        refusing.setattr(scene.ledger, "write", full)
        made.tick(scene.stop)
    assert (scene.rows(), lines(log, "pass.failed")[0]["hint"]) == ([], "make room")
    made.tick(scene.stop)
    assert scene.states() == {KEY: "pending"}


def test_the_forecast_is_told_once_after_a_good_round(scene: Scene, log: Log) -> None:
    store = PartlyDenied()
    store.denied = frozenset({"in/"})
    made = poll(scene, store)
    made.tick(scene.stop)
    assert lines(log, "poll.forecast") == []
    store.denied = frozenset()
    made.tick(scene.stop)
    made.tick(scene.stop)
    (line,) = lines(log, "poll.forecast")
    assert (line["requests_a_pass"], line["every_seconds"], line["requests_a_month"]) == (1, 30, 86_400)
    assert line["allowed_a_month"] == 1_000_000


def test_the_wait_follows_the_configuration_and_the_other_buckets(scene: Scene) -> None:
    assert poll(scene, Store(), every=timedelta(seconds=7)).tick(scene.stop) == timedelta(seconds=7)
    assert poll(scene, Store(), others=999).tick(scene.stop) == timedelta(days=30) / 1_000


def test_nothing_is_listed_once_stopped(scene: Scene) -> None:
    store = Store()
    scene.stop.set()
    poll(scene, store).tick(scene.stop)
    assert store.requests == 0


# -- objects that were there before a rule -------------------------------------------------------------


def with_old_objects(scene: Scene, log: Log) -> Store:
    """A bucket of 25 objects that one rule knows as its baseline."""
    store = Store()
    for number in range(25):
        store.put(f"in/{number:02}.mp4")
    store.now += timedelta(seconds=5)
    poll(scene, store).tick(scene.stop)
    assert lines(log, "baseline.complete")[0]["existing"] == 25
    return store


def late_rule() -> Rule:
    return make_rule("late", existing=Existing(dispatch=True))


def test_a_rule_that_comes_later_gets_the_existing_objects_once(scene: Scene, log: Log) -> None:
    store = with_old_objects(scene, log)
    made = poll(scene, store, make_rule(), late_rule())
    assert made.existing_pending == {"late"}
    made.tick(scene.stop)
    assert {row.rule for row in scene.rows()} == {"late"}
    assert (len(scene.rows()), made.existing_pending) == (25, set())
    again = poll(scene, store, make_rule(), late_rule())
    assert again.existing_pending == set()
    again.tick(scene.stop)
    assert len(scene.rows()) == 25


def test_existing_objects_stay_wanted_until_a_pass_was_complete(scene: Scene, log: Log) -> None:
    store = with_old_objects(scene, log)
    made = poll(scene, store, make_rule(), late_rule())
    source = made._sources["in/"]
    source.tuning = replace(source.tuning, page=10)
    answered = store.requests
    store.fail = lambda: store.requests == answered + 3
    made.tick(scene.stop)
    assert made.failure is not None
    assert made.existing_pending == {"late"}
    assert len(scene.rows()) < 25
    made.tick(scene.stop)
    assert (len(scene.rows()), made.existing_pending) == (25, set())


def test_a_stop_in_the_middle_of_a_pass_leaves_existing_objects_wanted(scene: Scene, log: Log) -> None:
    store = with_old_objects(scene, log)
    made = poll(scene, store, make_rule(), late_rule())
    source = made._sources["in/"]
    source.tuning = replace(source.tuning, page=10)
    store.between = scene.stop.set
    made.tick(scene.stop)
    assert made.existing_pending == {"late"}
    assert poll(scene, store, make_rule(), late_rule()).existing_pending == {"late"}

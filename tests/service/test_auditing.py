"""The audit: every object by every rule, every match a row, a tombstone, or there before its rule."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.events import ObjectEvent
from dispatcher.core.rules import Existing, Reason
from dispatcher.errors import ListingError
from dispatcher.ledger import operating, pruning, sightings
from dispatcher.ledger.browse import Selector
from dispatcher.ledger.snapshots import LedgerSnapshots
from dispatcher.service import auditing
from dispatcher.service.assembly import register
from dispatcher.service.auditing import Audit, Auditor
from dispatcher.service.intake import Intake
from dispatcher.sources.bucket import BucketSource
from tests.service.fakes import make_rule, make_settings
from tests.sources.conftest import Store

if TYPE_CHECKING:
    from dispatcher.core.rules import Rule
    from dispatcher.sources.store import Answer
    from tests.service.conftest import Scene


def passes(scene: Scene, store: Store, *rules: Rule) -> None:
    """Make the rules the current ones and list the bucket once, as the daemon does."""
    scene.settings = make_settings(*rules)
    registered = register(scene.settings, scene.ledger, scene.clock())
    intake = Intake(scene.ledger, scene.settings.rules, registered.first_revision, scene.clock, lambda: None)
    for root in scene.settings.rules.roots("b"):
        source = BucketSource(
            scene.settings.buckets["b"],
            root,
            LedgerSnapshots(scene.ledger),
            store,
            registered.revision,
            roots=scene.settings.rules.roots("b"),
        )
        for batch in source.batches(threading.Event()):
            intake.take(batch)


def audit(scene: Scene, store: Store) -> Audit:
    return Auditor(scene.settings, scene.ledger, {"b": store}, scene.stop).audit()


def test_what_the_daemon_saw_balances_and_adds_up(scene: Scene) -> None:
    rules = (make_rule(), make_rule("mp4", "in/video/"))
    store = Store()
    store.put("in/old.mp4")
    passes(scene, store, *rules)
    for key in ("in/a.mp4", "in/video/b.mp4", "in/notes.txt", "in/video/"):
        store.put(key)
    passes(scene, store, *rules)
    found = audit(scene, store)
    assert found.balanced
    assert found.by_state == {"existing": 1, "pending": 3}
    assert found.not_matched[Reason.EXTENSION] == 1
    assert found.not_matched[Reason.FOLDER_MARKER] == 2
    assert found.listed * found.rules == found.matched + found.not_matched.total()


def test_an_object_that_nothing_saw_is_named(scene: Scene) -> None:
    store = Store()
    store.put("in/old.mp4")
    passes(scene, store, make_rule())
    store.put("in/lost.mp4")
    found = audit(scene, store)
    assert not found.balanced
    assert [(each.rule, each.key) for each in found.unaccounted] == [("r", "in/lost.mp4")]


def test_changed_content_is_another_match(scene: Scene) -> None:
    store = Store()
    passes(scene, store, make_rule())
    store.put("in/a.mp4")
    passes(scene, store, make_rule())
    assert audit(scene, store).balanced
    store.put("in/a.mp4", etag="another")
    assert audit(scene, store).unaccounted_count == 1


def test_a_tombstone_is_a_row(scene: Scene) -> None:
    store = Store()
    passes(scene, store, make_rule())
    store.put("in/a.mp4")
    passes(scene, store, make_rule())
    with scene.ledger.write() as tx:
        operating.skip(tx, Selector(), scene.clock())
    with scene.ledger.write() as tx:
        later = scene.clock() + timedelta(days=100)
        assert pruning.prune(tx, later, now=later) == 1
    found = audit(scene, store)
    assert found.balanced
    assert found.by_state == {"skipped": 1}


def test_existing_objects_that_a_rule_asks_for_must_have_rows(scene: Scene) -> None:
    store = Store()
    store.put("in/old.mp4")
    passes(scene, store, make_rule())
    assert audit(scene, store).balanced
    scene.settings = make_settings(make_rule(existing=Existing(dispatch=True)))
    assert audit(scene, store).unaccounted_count == 1


def test_a_sighting_that_waits_for_the_store_is_no_gap(scene: Scene) -> None:
    store = Store()
    passes(scene, store, make_rule())
    store.put("in/a.mp4")
    waiting = ObjectEvent("b", "in/a.mp4", None, None, None, "ObjectCreated:Put", "queue")
    with scene.ledger.write() as tx:
        sightings.record(tx, [waiting], scene.clock())
    found = audit(scene, store)
    assert found.balanced
    assert found.by_state == {"undecided": 1}


def test_a_rule_added_later_does_not_ask_for_what_was_there(scene: Scene) -> None:
    store = Store()
    passes(scene, store, make_rule())
    store.put("in/a.mp4")
    passes(scene, store, make_rule())
    passes(scene, store, make_rule(), make_rule("later"))
    found = audit(scene, store)
    assert found.balanced
    assert found.by_state == {"existing": 1, "pending": 1}


def test_many_matches_without_a_row_are_looked_up_in_parts(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "KEPT_BACK", 3)
    monkeypatch.setattr(auditing, "MOST_NAMED", 2)
    store = Store()
    for number in range(10):
        store.put(f"in/{number}.mp4")
    passes(scene, store, make_rule())
    for number in range(4):
        store.put(f"in/new{number}.mp4")
    found = audit(scene, store)
    assert (found.by_state["existing"], found.unaccounted_count, len(found.unaccounted)) == (10, 4, 2)


def test_a_listing_that_fails_proves_nothing(scene: Scene) -> None:
    class Denied(Store):
        def list(self, root: str, token: str | None, page: int, stop: threading.Event) -> Answer:
            raise ListingError(f"HTTP 403 for {root}", hint="allow oss:ListObjects")

    with pytest.raises(ListingError):
        audit(scene, Denied())
    scene.stop.set()
    assert not audit(scene, Store()).balanced

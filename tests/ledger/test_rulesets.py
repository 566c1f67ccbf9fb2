from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dispatcher.errors import ConfigError
from dispatcher.ledger import holds, rulesets
from dispatcher.ledger.holds import HoldReason
from dispatcher.ledger.rulesets import RuleFacts

if TYPE_CHECKING:
    from tests.ledger.conftest import Desk

A = RuleFacts("a", (), "oss://b/in/", "wf-1")
B = RuleFacts("b", (), "oss://b/other/", "wf-2")


def test_the_same_rules_keep_their_revision(desk: Desk) -> None:
    first = desk.rules(A, B)
    again = desk.rules(B, replace(A, budget=5))
    assert first.revision == again.revision == 1
    assert first.added == ("a", "b")
    assert again.added == ()


def test_a_rule_is_there_since_the_revision_that_added_it(desk: Desk) -> None:
    desk.rules(A)
    assert desk.rules(A, B).first_revision == {"a": 1, "b": 2}
    assert desk.rules(A).removed == ("b",)
    assert desk.rules(A, B).first_revision == {"a": 1, "b": 4}


def test_a_silent_rename_is_refused_and_changes_nothing(desk: Desk) -> None:
    desk.rules(A)
    with pytest.raises(ConfigError, match="rule a is gone, and rule new") as caught:
        desk.rules(replace(A, rule_id="new"))
    assert "was: [a]" in caught.value.hint
    assert desk.rules(A).revision == 1


def test_a_renamed_rule_keeps_its_memory(desk: Desk) -> None:
    desk.rules(A)
    (dispatch,) = desk.record("k", rule="a")
    with desk.ledger.write() as tx:
        holds.hold(tx, "a", HoldReason.OPERATOR, "why", desk.now)
    new = replace(A, rule_id="new", was=("a",))
    done = desk.rules(new, B)
    assert (done.first_revision, done.renamed, done.added, done.removed) == (
        {"new": 1, "b": 2},
        {"a": "new"},
        ("b",),
        (),
    )
    with desk.ledger.write() as tx:
        assert [rulesets.move_renamed(tx), rulesets.move_renamed(tx)] == [1, 0]
        assert holds.held(tx).keys() == {"new"}
        assert rulesets.skip_removed(tx, desk.now) == []
    assert desk.view(dispatch).rule == "new"
    assert desk.rules(new, B).revision == done.revision


def test_rows_are_moved_in_bounded_batches(desk: Desk) -> None:
    desk.rules(A)
    desk.record(*(str(i) for i in range(25)), rule="a")
    desk.rules(replace(A, rule_id="new", was=("a",)))
    with desk.ledger.write() as tx:
        assert [rulesets.move_renamed(tx, limit=10) for _ in range(4)] == [10, 10, 5, 0]


def test_waiting_rows_of_a_removed_rule_are_skipped(desk: Desk) -> None:
    desk.rules(A, B)
    (waiting,) = desk.record("k", rule="a")
    (other,) = desk.record("k", rule="b")
    desk.rules(B)
    with desk.ledger.write() as tx:
        assert rulesets.skip_removed(tx, desk.now) == [waiting]
        assert rulesets.skip_removed(tx, desk.now) == []
    assert (desk.view(waiting).state, desk.view(waiting).reason) == ("skipped", "RULE_REMOVED")
    assert desk.view(other).state == "pending"


def test_existing_objects_are_pending_until_they_are_done(desk: Desk) -> None:
    wants = replace(A, existing_wanted=True)
    assert desk.rules(wants, B).existing_pending == ("a",)
    with desk.ledger.write() as tx:
        rulesets.mark_existing_done(tx, "a")
    assert desk.rules(wants, B).existing_pending == ()


def test_a_former_id_cannot_belong_to_two_rules(desk: Desk) -> None:
    desk.rules(A)
    with pytest.raises(ConfigError, match="was"):
        desk.rules(A, replace(B, was=("a",)))

"""Two rule sets side by side: every object is judged by both, and the figures add up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.calls import Api
from dispatcher.core.extensions import MEDIA
from dispatcher.core.location import Location
from dispatcher.core.planning import (
    Amount,
    Comparison,
    Effect,
    RuleChange,
    RuleFigures,
    calls_of,
    only_in,
    pair_rules,
    silent_renames,
)
from dispatcher.core.problems import Problem, Severity
from dispatcher.core.rules import EditingAction, InputType, Rule, RuleSet, WorkflowAction


def rule(rule_id: str, prefix: str, workflow: str = "wf", **changes: object) -> Rule:
    return replace(Rule(rule_id, rule_id, Location("b", prefix), MEDIA, WorkflowAction(workflow)), **changes)  # type: ignore[arg-type]  # fields by name


def test_rules_are_paired_by_id_and_by_was() -> None:
    before = RuleSet([rule("same", "a/"), rule("wider", "b/c/"), rule("old", "d/"), rule("gone", "e/")])
    after = RuleSet(
        [rule("new", "f/"), rule("wider", "b/"), rule("same", "a/"), rule("young", "d/", "wf2", was=("older", "old"))]
    )
    pairs = pair_rules(before, after)
    assert [(pair.id, pair.change, pair.changed) for pair in pairs] == [
        ("new", RuleChange.ADDED, ()),
        ("wider", RuleChange.CHANGED, ("input",)),
        ("same", RuleChange.KEPT, ()),
        ("young", RuleChange.RENAMED, ("action",)),
        ("gone", RuleChange.REMOVED, ()),
    ]
    assert pairs[3].before is before.by_id["old"]
    assert pairs[4].after is None


def test_a_rename_that_does_not_say_so_is_named() -> None:
    before, after = RuleSet([rule("old", "a/"), rule("x", "b/")]), RuleSet([rule("new", "a/"), rule("y", "b/", "wf2")])
    assert list(silent_renames(pair_rules(before, after))) == [("old", "new")]
    assert list(silent_renames(pair_rules(before, RuleSet([rule("new", "a/", was=("old",))])))) == []


def test_an_object_is_gained_lost_or_unchanged_for_each_rule() -> None:
    before = RuleSet([rule("r", "in/a/"), rule("old", "in/"), rule("gone", "in/")])
    after = RuleSet([rule("r", "in/"), rule("renamed", "in/", was=("old",)), rule("added", "in/b/")])
    comparison = Comparison(before, after, pair_rules(before, after))
    assert dict(comparison.effects("b", "in/b/x.mp4", 1)) == {
        "r": Effect.GAINED,
        "renamed": Effect.UNCHANGED,
        "added": Effect.GAINED,
        "gone": Effect.LOST,
    }
    assert dict(comparison.effects("b", "in/x.txt", 1)) == {}


PREFIXES = st.sampled_from(["", "a", "a/", "a/b", "a/b/", "b/"])
SETS = st.lists(st.tuples(st.sampled_from("pqrs"), PREFIXES), unique_by=lambda each: each[0], max_size=4).map(
    lambda found: RuleSet([rule(rule_id, prefix) for rule_id, prefix in found])
)
KEYS = st.sampled_from(["a/b/1.mp4", "a/2.mov", "ab.mp4", "b/3.txt", "c.mp4", "a/", "b/4"])


@given(SETS, SETS, KEYS)
def test_the_effects_are_exactly_the_two_verdicts(before: RuleSet, after: RuleSet, key: str) -> None:
    effects = dict(Comparison(before, after, pair_rules(before, after)).effects("b", key, 1))
    then = {each.id for each in before.matching("b", key, 1)}
    now = {each.id for each in after.matching("b", key, 1)}
    assert effects == {
        **dict.fromkeys(then - now, Effect.LOST),
        **dict.fromkeys(now - then, Effect.GAINED),
        **dict.fromkeys(now & then, Effect.UNCHANGED),
    }


def test_figures_add_up_and_a_part_counts_for_the_whole() -> None:
    part, whole = RuleFigures(), RuleFigures()
    for n, known in enumerate([True, False, False, True]):
        part.add(Effect.GAINED if n % 2 else Effect.UNCHANGED, ("b", str(n)), 10)
        part.add_state(Effect.GAINED if n % 2 else Effect.UNCHANGED, 10, known=known, wished=n == 2)
    part.add(Effect.LOST, ("b", "lost"), None)
    whole.plus(part, 2.5)
    assert (whole.gained, whole.unchanged, whole.lost) == (Amount(5, 50), Amount(5, 50), Amount(2, 0))
    assert (whole.dispatched, whole.startable, whole.on_restart) == (Amount(5, 50), Amount(5, 50), Amount(2, 25))
    assert whole.gained_startable == Amount(2, 25)
    assert (whole.gained_examples, whole.lost_examples) == ([("b", "1"), ("b", "3")], [("b", "lost")])


def test_problems_are_the_same_under_a_new_name() -> None:
    def overlap(*rules: str) -> Problem:
        return Problem("overlap", Severity.WARNING, rules, ("b", "k"), f"{rules} overlap", "mend it")

    before, after = RuleSet([rule("old", "a/"), rule("x", "a/b/")]), RuleSet([rule("new", "a/", was=("old",))])
    pairs = pair_rules(before, after)
    assert only_in([overlap("x", "new")], [overlap("old", "x")], pairs) == []
    assert only_in([overlap("x", "new"), overlap("new", "x")], [overlap("old", "x")], pairs) == [overlap("new", "x")]
    assert only_in([overlap("old", "x")], [], pairs) == [overlap("old", "x")]


@pytest.mark.parametrize(
    ("action", "calls"),
    [
        (WorkflowAction("wf"), (Api.START_WORKFLOW,)),
        (WorkflowAction("wf", input_type=InputType.MEDIA), (Api.REGISTER_MEDIA_INFO, Api.START_WORKFLOW)),
        (EditingAction({}, template_id="t"), (Api.SUBMIT_MEDIA_PRODUCING_JOB,)),
    ],
)
def test_the_calls_of_one_start(action: WorkflowAction | EditingAction, calls: tuple[Api, ...]) -> None:
    assert calls_of(action) == calls

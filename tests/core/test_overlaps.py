"""Overlaps are told with a key that proves them, and exactly when there is one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.extensions import ANY, MEDIA, ExtensionSet
from dispatcher.core.location import Location
from dispatcher.core.overlaps import Overlap, exclude_pattern, find_overlaps, overlap_problems
from dispatcher.core.problems import SHOWN, Problem, Severity
from dispatcher.core.rules import MatchMode, Rule, RuleSet, WorkflowAction

if TYPE_CHECKING:
    import pytest


def a_rule(
    name: str,
    prefix: str,
    extensions: ExtensionSet = MEDIA,
    exclude: tuple[str, ...] = (),
    match: MatchMode = MatchMode.DOCUMENTED,
) -> Rule:
    return Rule(name, name, Location("b", prefix), extensions, WorkflowAction("w"), exclude=exclude, match=match)


def problems(*rules: Rule, never: str | None = None) -> list[Problem]:
    found = RuleSet(rules, [Location("b", never)] if never is not None else [])
    return list(overlap_problems(found, Severity.WARNING))


def the_overlap(*rules: Rule) -> Problem:
    (problem,) = problems(*rules)
    assert problem.witness is not None
    bucket, key = problem.witness
    assert {rule.id for rule in RuleSet(rules).matching(bucket, key, 1)} >= set(problem.rules)
    return problem


def test_neighbours_without_a_slash_overlap() -> None:
    problem = the_overlap(a_rule("x", "test"), a_rule("y", "test1"))
    assert problem.witness == ("b", "test1/clip.mp4")
    assert problem.rules == ("x", "y")
    assert "'x'" in problem.message
    assert "'y'" in problem.message
    assert "test/" in problem.hint
    assert problems(a_rule("x", "test/"), a_rule("y", "test1")) == []


def test_a_nested_folder_is_mended_by_the_exclude_of_the_hint() -> None:
    wide, narrow = a_rule("x", "A/"), a_rule("y", "A/B [1]*/")
    problem = the_overlap(wide, narrow)
    pattern = exclude_pattern("A/B [1]*/")
    assert f'exclude: ["{pattern}"]' in problem.hint
    assert problems(replace(wide, exclude=(pattern,)), narrow) == []


def test_a_nested_prefix_without_a_slash_is_mended_too() -> None:
    wide, narrow = a_rule("x", ""), a_rule("y", "A/B")
    assert problems(replace(wide, exclude=(exclude_pattern("A/B"),)), narrow) == []
    assert len(problems(wide, narrow)) == 1


def test_one_folder_twice_asks_for_extensions() -> None:
    assert "different extensions" in the_overlap(a_rule("x", "A/"), a_rule("y", "A/")).hint
    assert problems(a_rule("x", "A/", ExtensionSet.of("mp4")), a_rule("y", "A/", ExtensionSet.of("mov"))) == []


def test_a_bound_file_name_overlaps_by_its_siblings() -> None:
    problem = the_overlap(a_rule("x", "A/test.flv"), a_rule("y", "A/test12"))
    assert problem.witness == ("b", "A/test12.flv")
    assert "match: prefix" in problem.hint
    assert problems(a_rule("x", "A/test.flv"), a_rule("y", "A/test/")) == []
    assert problems(a_rule("x", "A/test.flv", match=MatchMode.PREFIX), a_rule("y", "A/test12")) == []


def test_what_never_triggers_does_not_overlap() -> None:
    assert problems(a_rule("x", "A"), a_rule("y", "A/B/"), never="A/B/") == []
    assert len(problems(a_rule("x", "A"), a_rule("y", "A/B/"), never="A/B/clip")) == 1


def test_excludes_by_extension_leave_the_others() -> None:
    no_mp4 = a_rule("x", "A/", exclude=("*.mp4",))
    problem = the_overlap(no_mp4, a_rule("y", "A/"))
    assert problem.witness is not None
    assert not problem.witness[1].endswith(".mp4")
    only_mp4 = a_rule("y", "A/", ExtensionSet.of("mp4"))
    assert the_overlap(no_mp4, only_mp4).witness == ("b", "A/clip.MP4")
    assert problems(a_rule("x", "A/", exclude=("*.mp4", "*.MP4")), only_mp4) == []


def test_other_buckets_do_not_meet() -> None:
    assert problems(a_rule("x", "A/"), replace(a_rule("y", "A/"), input=Location("c", "A/"))) == []


def test_braces_in_prefixes_and_extensions_are_only_text() -> None:
    braces = ExtensionSet.of("{name}")
    assert the_overlap(a_rule("x", "{key}/", braces), a_rule("y", "{key}/", braces)).witness == (
        "b",
        "{key}/clip.{name}",
    )


def test_thousands_of_separate_rules_have_nothing_to_tell() -> None:
    assert problems(*(a_rule(f"r{place}", f"in/{place}/") for place in range(3_000))) == []


def test_thousands_of_overlaps_are_told_in_a_bounded_list() -> None:
    found = problems(*(a_rule(f"r{place}", "in/") for place in range(3_000)))
    assert len(found) == SHOWN + 1
    assert "more than" in found[-1].message


def test_a_search_that_would_not_end_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatcher.core.overlaps.PAIRS_EXAMINED", 100)
    found = problems(*(a_rule(f"r{place}", "in/", ExtensionSet.of(f"e{place}")) for place in range(30)))
    assert [problem.rules for problem in found] == [()]
    assert "not all were examined" in found[0].message


# -- exactly when a key exists ---------------------------------------------------------------------

PREFIXES = st.lists(st.sampled_from(["a", "t", "1", "/", ".mp4", ".ts"]), max_size=4).map("".join)
SETS = st.sampled_from([MEDIA, ANY, ExtensionSet.of("mp4"), ExtensionSet.of("ts", "none"), ExtensionSet.of("none")])
EXCLUDES = st.lists(st.sampled_from(["*.mp4", "*.ts", "/a/**", "**/t/**", "a*", "/a1*", "!*.ts"]), max_size=2).map(
    tuple
)
MODES = st.sampled_from(list(MatchMode))
RULES = st.lists(st.tuples(PREFIXES, SETS, EXCLUDES, MODES), min_size=2, max_size=4)
NAMES = ("clip", "a", "t", "1", "zz9", "")
POOL = tuple(f"{name}{extension}" for name in NAMES for extension in (".mp4", ".ts", ".mov", "", ".MP4"))
FOLDERS = ("", "/", "t/", "/a/", "sub/", "/sub/")


@given(RULES, st.lists(PREFIXES.filter(bool), max_size=2))
def test_an_overlap_is_told_exactly_when_a_key_starts_both(
    written: list[tuple[str, ExtensionSet, tuple[str, ...], MatchMode]], guards: list[str]
) -> None:
    rules = RuleSet(
        [a_rule(f"r{place}", *parts) for place, parts in enumerate(written)], [Location("b", guard) for guard in guards]
    )
    told = set()
    for found in find_overlaps(rules):
        assert isinstance(found, Overlap)
        both = {found.wide.id, found.narrow.id}
        assert both <= {rule.id for rule in rules.matching("b", found.key, None)}
        assert frozenset(both) not in told
        told.add(frozenset(both))
    starts = [shape.prefix for rule in rules.rules for shape in rule.shapes]
    keys = {f"{start}{folder}{name}" for start in starts for folder in FOLDERS for name in POOL} | set(starts)
    met = set()
    for key in keys:
        ids = sorted(rule.id for rule in rules.matching("b", key, None))
        met |= {frozenset((one, other)) for one in ids for other in ids if one < other}
    assert met <= told

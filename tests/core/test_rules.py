"""Which objects a rule takes: the documented examples, the edges of names, and a slow reference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.extensions import ANY, MEDIA, MEDIA_EXTENSIONS, ExtensionSet, extension_of
from dispatcher.core.location import Location, Names, parse_location, parse_object
from dispatcher.core.matching import exclusion, minimal_prefixes
from dispatcher.core.rules import MatchMode, Reason, Rule, RuleSet, WorkflowAction

CONFORMANCE = json.loads((Path(__file__).parents[1] / "conformance" / "matching.json").read_text("utf-8"))


def a_rule(
    prefix: str,
    name: str = "r",
    *,
    bucket: str = "b",
    extensions: ExtensionSet = MEDIA,
    match: MatchMode = MatchMode.DOCUMENTED,
    exclude: tuple[str, ...] = (),
    min_size: int = 1,
) -> Rule:
    return Rule(
        name,
        name,
        Location(bucket, prefix),
        extensions,
        WorkflowAction("w"),
        match=match,
        exclude=exclude,
        min_size=min_size,
    )


def reason(rule: Rule, key: str, size: int | None = 1, never: str | None = None, bucket: str = "b") -> Reason:
    rules = RuleSet([rule], [Location("b", never)] if never is not None else [])
    (verdict,) = rules.verdicts(bucket, key, size)
    assert rules.matching(bucket, key, size) == ((rule,) if verdict.matched else ())
    return verdict.reason


@pytest.mark.parametrize("case", CONFORMANCE["cases"], ids=lambda case: case["input"].rpartition(".com")[2])
@pytest.mark.parametrize("match", list(MatchMode))
def test_the_published_examples_hold(case: dict[str, object], match: MatchMode) -> None:
    place = parse_location(str(case["input"]), Names()).location
    bucket, key = parse_object(str(case["file"]), Names())
    wanted = case["match"] if match is MatchMode.DOCUMENTED else case.get("prefix", case["match"])
    found = reason(a_rule(place.prefix, bucket=place.bucket, match=match), key, bucket=bucket)
    assert found is (Reason.MATCHED if wanted else Reason.PREFIX)


def test_the_documented_extensions_are_all_there() -> None:
    published = CONFORMANCE["extensions"]
    assert set(published["video"] + published["audio"]) == MEDIA_EXTENSIONS
    assert len(MEDIA_EXTENSIONS) == 42


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("a/clip.mp4", Reason.MATCHED),
        ("a/clip.MP4", Reason.MATCHED),
        ("a/clip", Reason.MATCHED),
        ("a.b/clip", Reason.MATCHED),
        ("a.txt/clip", Reason.MATCHED),
        ("clip.tar.mp4", Reason.MATCHED),
        ("clip.mp4.tar", Reason.EXTENSION),
        (".mp4", Reason.MATCHED),
        (".profile", Reason.EXTENSION),
        ("clip.", Reason.EXTENSION),
        ("clip..", Reason.EXTENSION),
        ("clip..mp4", Reason.MATCHED),
        ("clip.mp4 ", Reason.EXTENSION),
        ("a//clip.mp4", Reason.MATCHED),
        ("a/.mp4/clip.txt", Reason.EXTENSION),
        ("视频/片.mp4", Reason.MATCHED),
        ("a/clip.mp4/", Reason.FOLDER_MARKER),
        ("a/", Reason.FOLDER_MARKER),
        ("/clip.mp4", Reason.MATCHED),
    ],
)
def test_the_extension_is_that_of_the_last_segment(key: str, wanted: Reason) -> None:
    assert reason(a_rule(""), key) is wanted


def test_extension_lists() -> None:
    mov_or_none = ExtensionSet.of("MOV", "none")
    assert reason(a_rule("", extensions=mov_or_none), "x.mov") is Reason.MATCHED
    assert reason(a_rule("", extensions=mov_or_none), "x") is Reason.MATCHED
    assert reason(a_rule("", extensions=mov_or_none), "x.mp4") is Reason.EXTENSION
    assert reason(a_rule("", extensions=ExtensionSet.of("mov")), "x") is Reason.EXTENSION
    assert reason(a_rule("", extensions=ANY), "x.") is Reason.MATCHED
    assert extension_of("x") is None
    assert ExtensionSet.of("mov").common(ExtensionSet.of("mp4")).empty
    assert ANY.common(mov_or_none) == mov_or_none == mov_or_none.common(ANY)
    assert [some.words for some in (ANY, MEDIA, mov_or_none)] == [("any",), ("media",), ("mov", "none")]


def test_swf_matches_with_a_note() -> None:
    (verdict,) = RuleSet([a_rule("")]).verdicts("b", "x.SWF", 1)
    assert verdict.matched
    assert "swf" in verdict.note


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("A/test.flv", True),
        ("A/test1.flv", True),
        ("A/test1.FLV", True),
        ("A/test1.mp4", False),
        ("A/test1/x.flv", False),
        ("A/tes.flv", False),
        ("A/test", False),
        ("A/test.flv.mp4", True),
        ("A/test.flv/x.mp4", True),
        ("B/A/test1.flv", False),
    ],
)
def test_a_bound_file_name_means_its_siblings(key: str, *, wanted: bool) -> None:
    assert (reason(a_rule("A/test.flv"), key) is Reason.MATCHED) is wanted
    plain = key.startswith("A/test.flv")
    assert (reason(a_rule("A/test.flv", match=MatchMode.PREFIX), key) is Reason.MATCHED) is plain


def test_a_bound_name_that_is_no_media_file_is_a_prefix() -> None:
    assert reason(a_rule("A/test.v1"), "A/test1.v1") is Reason.PREFIX
    assert reason(a_rule("A.mp4/"), "A1.mp4") is Reason.PREFIX


def test_reasons_come_in_their_order() -> None:
    rule = a_rule("in/", exclude=("*.txt", "*/"), min_size=10)
    assert reason(rule, "x/", bucket="other") is Reason.BUCKET
    assert reason(rule, "x/", never="x/") is Reason.PREFIX
    assert reason(rule, "in/x/", 0, never="in/") is Reason.FOLDER_MARKER
    assert reason(rule, "in/x.txt", 0, never="in/") is Reason.NEVER_TRIGGER
    assert reason(rule, "in/x.txt", 0) is Reason.EXCLUDED
    assert reason(rule, "in/x.doc", 0) is Reason.EXTENSION
    assert reason(rule, "in/x.mp4", 9) is Reason.EMPTY
    assert reason(rule, "in/x.mp4", 10) is Reason.MATCHED


def test_an_unknown_size_is_not_judged() -> None:
    assert reason(a_rule(""), "x.mp4", None) is Reason.MATCHED
    assert reason(a_rule(""), "x.mp4", 0) is Reason.EMPTY
    assert reason(a_rule("", min_size=0), "x.mp4", 0) is Reason.MATCHED


def test_never_trigger_holds_in_its_own_bucket_only() -> None:
    rules = RuleSet([a_rule("", "r"), a_rule("", "s", bucket="c")], [Location("b", "out")])
    assert rules.matching("b", "out1/x.mp4", 1) == ()
    assert [rule.id for rule in rules.matching("c", "out1/x.mp4", 1)] == ["s"]


@pytest.mark.parametrize(
    ("patterns", "key", "wanted"),
    [
        (["**/.tmp/**"], "a/.tmp/x.mp4", True),
        (["**/.tmp/**"], "./.tmp/x.mp4", True),
        (["*.ts"], "a/b/x.ts", True),
        (["/a/*.ts"], "b/a/x.ts", False),
        (["*.ts", "!keep.ts"], "a/keep.ts", False),
        (["*.ts"], "a/x\nb.ts", True),
    ],
)
def test_exclude_patterns_are_gitwildmatch(patterns: list[str], key: str, *, wanted: bool) -> None:
    assert exclusion(patterns)(key) is wanted


def test_rules_are_found_by_id_and_bucket() -> None:
    rules = RuleSet([a_rule("x/", "r"), a_rule("x/y/", "s"), a_rule("a/test.flv", "t"), a_rule("", "u", bucket="c")])
    assert rules.by_id["s"].input.prefix == "x/y/"
    assert rules.buckets() == ("b", "c")
    assert rules.roots("b") == ("a/test", "x/")
    assert rules.roots("c") == ("",)
    assert rules.roots("none") == ()
    assert rules.verdict("u", "b", "x", None).reason is Reason.BUCKET
    assert rules == RuleSet(rules.rules)
    assert rules != RuleSet(rules.rules, [Location("b", "x")])


# -- against a slow, obvious reference ------------------------------------------------------------


def slow_match(rule: Rule, never: list[Location], key: str, size: int) -> bool:
    path = rule.input.prefix
    folder, _, last = path.rpartition("/")
    stem, dot, extension = last.rpartition(".")
    under = key.startswith(path)
    if rule.match is MatchMode.DOCUMENTED and dot and extension.lower() in MEDIA_EXTENSIONS:
        key_folder, _, key_last = key.rpartition("/")
        same_folder = key_folder == folder and (("/" in key) == ("/" in path))
        under = under or (
            same_folder
            and key_last.startswith(stem)
            and key_last.lower().rpartition(".")[1:] == (".", extension.lower())
        )
    name = key.rsplit("/", maxsplit=1)[-1]
    known = "." not in name or name.lower().rsplit(".", maxsplit=1)[1] in MEDIA_EXTENSIONS
    guarded = any(key.startswith(place.prefix) for place in never)
    return under and not key.endswith("/") and not guarded and known and size >= rule.min_size


PATHS = st.lists(st.sampled_from(["a", "b", "A", ".", "/", "mp4", ".mp4", ".flv", ".MP4", "é"]), max_size=6).map(
    "".join
)


@given(
    st.lists(st.tuples(PATHS, st.sampled_from(list(MatchMode)), st.integers(0, 2)), max_size=6),
    st.lists(PATHS.filter(bool), max_size=2),
    PATHS.filter(bool),
    st.integers(0, 2),
)
def test_matching_agrees_with_the_slow_reference(
    written: list[tuple[str, MatchMode, int]], guards: list[str], key: str, size: int
) -> None:
    found = [
        a_rule(path, f"r{place}", match=match, min_size=least) for place, (path, match, least) in enumerate(written)
    ]
    never = [Location("b", guard) for guard in guards]
    rules = RuleSet(found, never)
    wanted = tuple(rule for rule in found if slow_match(rule, never, key, size))
    assert rules.matching("b", key, size) == wanted
    assert tuple(verdict.rule for verdict in rules.verdicts("b", key, size) if verdict.matched) == wanted
    assert all(any(key.startswith(root) for root in rules.roots("b")) for _ in wanted)


@given(st.lists(PATHS, max_size=8))
def test_roots_are_minimal_and_cover(prefixes: list[str]) -> None:
    kept = minimal_prefixes(prefixes)
    assert all(any(prefix.startswith(root) for root in kept) for prefix in prefixes)
    assert not any(one != other and one.startswith(other) for one in kept for other in kept)


def test_the_work_for_a_key_does_not_grow_with_the_rules() -> None:
    class Counting(str):
        __slots__ = ()
        probes = 0

        def __getitem__(self, item: object) -> str:
            Counting.probes += 1
            return super().__getitem__(item)  # type: ignore[index] # only slices are asked for

    def probes(count: int) -> int:
        rules = RuleSet([a_rule(f"in/{place:05}/", f"r{place}") for place in range(count)])
        Counting.probes = 0
        assert len(rules.matching("b", Counting("in/00007/clip.mp4"), 1)) == 1
        return Counting.probes

    assert probes(10) == probes(3_000)

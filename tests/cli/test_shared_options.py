"""The shared options may stand anywhere on the line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.cli.globals import to_the_front


@pytest.mark.parametrize(
    ("written", "understood"),
    [
        (["check", "-o", "json"], ["-o", "json", "check"]),
        (["check", "--output=jsonl", "--strict"], ["--output=jsonl", "check", "--strict"]),
        (["explain", "oss://b/k", "-ojson", "-v"], ["-ojson", "-v", "explain", "oss://b/k"]),
        (["dispatches", "list", "-c", "a.yaml", "--rule", "r"], ["-c", "a.yaml", "dispatches", "list", "--rule", "r"]),
        (["explain", "--", "-o", "json"], ["explain", "--", "-o", "json"]),
        (["check", "-o"], ["-o"]),
    ],
)
def test_shared_options_are_found_wherever_they_stand(written: list[str], understood: list[str]) -> None:
    assert to_the_front(written) == understood


@given(st.lists(st.sampled_from(["check", "--strict", "--rule", "x", "-q", "--", "--config=a"])))
def test_no_argument_is_lost_or_invented(args: list[str]) -> None:
    assert sorted(to_the_front(args)) == sorted(args)


@given(st.lists(st.sampled_from(["-q", "a", "-o", "json", "--", "-c", "x.yaml"])))
def test_ordering_twice_changes_nothing(args: list[str]) -> None:
    once = to_the_front(args)
    assert to_the_front(once) == once

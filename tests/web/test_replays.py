"""The memory of signed requests."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dispatcher.web import replays
from dispatcher.web.replays import ReplayedError, Replays
from dispatcher.web.requests import RefusedError
from tests.web.conftest import NOW

SOON = NOW + timedelta(minutes=15)


def test_a_mark_is_taken_once() -> None:
    memory = Replays()
    with memory.once(b"a", SOON, NOW):
        pass
    with pytest.raises(ReplayedError), memory.once(b"a", SOON, NOW):
        pytest.fail("it ran")
    with memory.once(b"b", SOON, NOW):
        pass


def test_what_failed_was_not_taken() -> None:
    memory = Replays()
    with pytest.raises(ZeroDivisionError), memory.once(b"a", SOON, NOW):
        raise ZeroDivisionError
    with memory.once(b"a", SOON, NOW):
        pass


def test_a_copy_of_one_under_way_waits() -> None:
    memory = Replays()
    with memory.once(b"a", SOON, NOW), pytest.raises(RefusedError) as raised, memory.once(b"a", SOON, NOW):
        pytest.fail("it ran")
    assert raised.value.status == 503


def test_the_memory_is_bounded_in_time_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "_REMEMBERED", 10)
    memory = Replays()
    for number in range(100):
        with memory.once(b"%d" % number, SOON, NOW):
            pass
    assert len(memory._taken) <= 10
    with memory.once(b"late", SOON + timedelta(hours=1), SOON):
        pass
    assert list(memory._taken) == [b"late"]

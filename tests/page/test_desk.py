"""What keeps viewers from slowing the sender down, and what the board remembers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from dispatcher.core.observations import Granted, Recorded, Sighted, SourceAnswered, SourceFailed
from dispatcher.ledger.deadlines import LedgerSlowError, within
from dispatcher.service.board import Board
from dispatcher.service.desk.remembering import SHARE, Remembered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.page.stage import Stage

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


class Time:
    """A monotonic clock, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_answer_is_kept_twenty_times_as_long_as_it_took() -> None:
    time, found = Time(), iter(range(10))

    def find() -> int:
        time.now += 3.0
        return next(found)

    asked = Remembered(find, time)
    assert asked() == 0
    time.now += SHARE * 3.0 - 0.1
    assert asked() == 0
    time.now += 0.2
    assert asked() == 1
    asked.forget()
    assert asked() == 2


def test_many_viewers_look_once() -> None:
    entered, gate, looks = threading.Event(), threading.Event(), []

    def find() -> int:
        looks.append(1)
        entered.set()
        assert gate.wait(10)
        return 7

    asked = Remembered(find)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(asked) for _ in range(4)]
        assert entered.wait(10)
        gate.set()
        assert [each.result(10) for each in answers] == [7] * 4
    assert len(looks) == 1


def test_what_fails_is_not_remembered() -> None:
    answers: Iterator[LedgerSlowError | int] = iter([LedgerSlowError("slow", hint="narrow it"), 5])

    def find() -> int:
        answer = next(answers)
        if isinstance(answer, LedgerSlowError):
            raise answer
        return answer

    asked = Remembered(find)
    with pytest.raises(LedgerSlowError):
        asked()
    assert asked() == 5


def test_a_look_that_takes_too_long_is_broken_off_and_the_connection_goes_on(stage: Stage) -> None:
    with stage.ledger.read() as tx:
        with pytest.raises(LedgerSlowError) as raised, within(tx, 0.01):
            tx.execute(text(ENDLESS))
        assert "narrow it" in raised.value.hint
        assert tx.scalar(text("SELECT 1")) == 1


def test_the_board_remembers_the_last_of_each_source() -> None:
    now = NOW
    board = Board(lambda: now)
    board(SourceFailed("q"))
    assert board.sources()["q"].failing
    now += timedelta(seconds=5)
    board(SourceAnswered("q"))
    board(Sighted("q", "oss", 3))
    board(Recorded("r", "q", timedelta(seconds=2)))
    board(Recorded("r", "q", None))
    known = board.sources()["q"]
    assert not known.failing
    assert (known.sightings, known.sighted_at, known.lag) == (3, now, timedelta(seconds=2))


def test_the_board_counts_permits_of_the_last_minute() -> None:
    now = NOW
    board = Board(lambda: now)
    board(Granted("cn-x", "StartWorkflow", 4))
    now += timedelta(seconds=59)
    board(Granted("cn-x", "StartWorkflow", 2))
    assert board.used("cn-x", "StartWorkflow") == 6
    now += timedelta(seconds=2)
    assert board.used("cn-x", "StartWorkflow") == 2
    assert board.used("cn-y", "StartWorkflow") == 0

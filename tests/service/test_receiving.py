"""Receiving, deciding and replaying: sources that fail and come back, HEADs that decide, bodies that are read again."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.decoding import COMPLETE_ONLY, Format
from dispatcher.core.settings import NoAuthentication, WebhookSettings
from dispatcher.errors import LedgerError, ServiceUnavailableError
from dispatcher.ledger import quarantine, sightings
from dispatcher.ledger.failures import LedgerDamagedError, LedgerFullError
from dispatcher.ledger.quarantine import Choice
from dispatcher.ports import Batch
from dispatcher.service.deciding import Deciding
from dispatcher.service.opening import coverage_of
from dispatcher.service.receiving import LONGEST_PAUSE_SECONDS, BodyReceiver, Receiving
from dispatcher.service.replaying import Replayed, replay
from dispatcher.sources.store import ObjectHead
from tests.core.decoding import bodies
from tests.service.conftest import lines
from tests.service.fakes import MODIFIED, PATIENT, make_settings
from tests.service.test_notified import told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dispatcher.errors import DispatcherError
    from tests.service.conftest import Log, Scene

KEY = "in/a.mp4"
ANY = Choice(every=True)
HOOK = WebhookSettings("hook", "/hook", NoAuthentication())


@dataclass
class Scripted:
    """A source that yields what a test laid out for each time it is iterated; then it waits for the stop."""

    rounds: list[list[Batch | Exception]]
    name: str = "scripted"
    begun: int = 0
    waiting: threading.Event = field(default_factory=threading.Event)

    def batches(self, stop: threading.Event) -> Iterator[Batch]:
        self.begun += 1
        for each in self.rounds.pop(0) if self.rounds else ():
            if isinstance(each, Exception):
                raise each
            yield each
        if not self.rounds:
            self.waiting.set()
            assert stop.wait(PATIENT)


def nobody_fails(problem: BaseException) -> None:
    raise AssertionError("the daemon would have ended") from problem


def receiving(scene: Scene, source: Scripted, failed: Callable[[BaseException], None]) -> Receiving:
    # Pauses of almost nothing: what is tested is that the source is iterated again.
    made = Receiving(source, scene.intake(), failed, chance=lambda: 2 - 1e-6)
    made.start(scene.stop)
    return made


AWAY = ServiceUnavailableError("the queue is away", hint="wait")
FULL = LedgerFullError("the disk is full", hint="make room")


def test_a_source_that_fails_is_iterated_again(scene: Scene, log: Log) -> None:
    source = Scripted([[Batch([told()]), AWAY], [FULL], [Batch([told("in/b.mp4")])]])
    receiving(scene, source, nobody_fails)
    assert source.waiting.wait(PATIENT)
    assert set(scene.states()) == {KEY, "in/b.mp4"}
    assert [line["error"] for line in lines(log, "source.failed")] == ["the queue is away", "the disk is full"]


@pytest.mark.parametrize("error", [LedgerDamagedError("damaged", hint="restore"), ZeroDivisionError()])
def test_what_no_pause_mends_ends_the_daemon(scene: Scene, error: Exception) -> None:
    ended: list[BaseException] = []
    told_it = threading.Event()

    def failed(problem: BaseException) -> None:
        ended.append(problem)
        told_it.set()

    receiving(scene, Scripted([[error]]), failed)
    assert told_it.wait(PATIENT)
    assert ended == [error]


def test_pauses_double_up_to_a_minute_and_are_shortened_by_chance(scene: Scene) -> None:
    source = Scripted([[AWAY] for _ in range(12)])
    made = Receiving(source, scene.intake(), nobody_fails, chance=lambda: 0.0)
    pauses = []
    for _ in range(9):
        pauses.append(made.pause())
        made.receive(scene.stop)
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
    assert replace(made, chance=lambda: 1.0).pause() == 0.5
    source.rounds[:] = [[Batch([]), AWAY], []]
    made.receive(scene.stop)
    assert made.pause() == 2


def test_a_receiving_thread_ends_with_the_stop(scene: Scene) -> None:
    source = Scripted([])
    thread = Receiving(source, scene.intake(), nobody_fails).start(scene.stop)
    assert source.waiting.wait(PATIENT)
    scene.stop.set()
    thread.join(PATIENT)
    assert not thread.is_alive()


def test_a_pushed_body_is_committed_when_the_receiver_returns(scene: Scene) -> None:
    receive = BodyReceiver(scene.intake())
    receive("hook", bodies.seaweedfs(f"/buckets/b/{KEY}"), None, COMPLETE_ONLY)
    receive("hook", b"nonsense", Format.S3, COMPLETE_ONLY)
    assert scene.states() == {KEY: "pending"}
    with scene.ledger.read() as tx:
        (kept,) = quarantine.select_some(tx, ANY)
    assert (kept.source, kept.body, kept.format) == ("hook", b"nonsense", "s3")


# -- deciding --------------------------------------------------------------------------------------


@dataclass
class Store:
    """A store that answers HEAD from a table."""

    answers: Mapping[str, ObjectHead | DispatcherError | None]
    asked: list[str] = field(default_factory=list)

    def head(self, key: str, _stop: threading.Event) -> ObjectHead | None:
        self.asked.append(key)
        answer = self.answers[key]
        if isinstance(answer, Exception):
            raise answer
        return answer


def deciding(scene: Scene, **answers: ObjectHead | DispatcherError | None) -> tuple[Deciding, Store]:
    store = Store({f"in/{name}.mp4": answer for name, answer in answers.items()})
    stores = {"b": store}
    return Deciding(scene.ledger, stores, scene.intake(), scene.clock, scene.stop), store  # type: ignore[arg-type] # HEAD is all it needs


def waiting(scene: Scene) -> int:
    with scene.ledger.read() as tx:
        return sightings.waiting(tx)


def test_head_decides_what_was_only_told(scene: Scene) -> None:
    part, store = deciding(scene, a=ObjectHead("real", 9, MODIFIED))
    part.intake.take(Batch([told(etag="told", hearsay=True), told(etag=None)]))
    part.tick()
    assert [(row.etag, row.size, row.source) for row in scene.rows()] == [("real", 9, "smq:q")]
    assert (waiting(scene), store.asked) == (0, [KEY])


def test_hundreds_are_decided_in_one_look(scene: Scene) -> None:
    names = [f"k{number}" for number in range(450)]
    part, store = deciding(scene, **{name: ObjectHead("real", 9, MODIFIED) for name in names})
    part.intake.take(Batch([told(f"in/{name}.mp4", None) for name in names]))
    part.tick()
    assert (len(scene.rows()), waiting(scene), len(store.asked)) == (450, 0, 450)


def test_an_object_that_is_not_there_is_asked_for_an_hour(scene: Scene, log: Log) -> None:
    part, store = deciding(scene, a=None)
    part.intake.take(Batch([told(etag=None)]))
    for _ in range(70):
        part.tick()
        scene.clock.later(minutes=1)
    assert (waiting(scene), scene.rows()) == (0, [])
    assert 10 < len(store.asked) < 30
    assert [line["key"] for line in lines(log, "sighting.gone")] == [KEY]


def test_a_store_that_is_away_is_one_line_and_asked_later(scene: Scene, log: Log) -> None:
    part, store = deciding(scene, a=AWAY, b=AWAY, c=ObjectHead("e", 1, None))
    part.intake.take(Batch([told(f"in/{name}.mp4", None) for name in "abc"]))
    part.tick()
    (line,) = lines(log, "sightings.postponed")
    assert (line["count"], waiting(scene), scene.states()) == (2, 2, {"in/c.mp4": "pending"})
    part.tick()
    assert len(store.asked) == 3
    scene.clock.later(seconds=5)
    part.tick()
    assert len(store.asked) == 5


def test_a_stop_while_asking_changes_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    part, store = deciding(scene, a=None)
    part.intake.take(Batch([told(etag=None)]))
    monkeypatch.setattr(store, "head", lambda _key, stop: stop.set())  # broken off: no answer
    part.tick()
    with scene.ledger.read() as tx:
        (found,) = sightings.due(tx, scene.clock(), limit=9)
    assert (found.tries, found.missing_since) == (0, None)


# -- replaying -------------------------------------------------------------------------------------


def keep(scene: Scene, *kept: bytes, source: str = "hook") -> None:
    receive = BodyReceiver(scene.intake())
    for body in kept:
        receive(source, body, Format.S3, COMPLETE_ONLY)


def test_a_body_is_read_as_its_source_is_configured_now(scene: Scene) -> None:
    keep(scene, bodies.seaweedfs(f"/buckets/b/{KEY}"), b"nonsense")
    scene.settings = make_settings(sources=(replace(HOOK, format=Format.SEAWEEDFS),))
    assert replay(scene.settings, scene.ledger, ANY, None, scene.clock) == Replayed(understood=1, left=1)
    assert scene.states() == {KEY: "pending"}
    with scene.ledger.read() as tx:
        assert [each.body for each in quarantine.select_some(tx, ANY)] == [b"nonsense"]
    assert replay(scene.settings, scene.ledger, ANY, None, scene.clock) == Replayed(understood=0, left=1)


def test_a_body_is_read_as_an_operator_says(scene: Scene) -> None:
    keep(scene, bodies.seaweedfs(f"/buckets/b/{KEY}"), source="gone")
    chosen = Choice(sources=("gone",))
    assert replay(scene.settings, scene.ledger, chosen, Format.CEPH, scene.clock) == Replayed(left=1)
    assert replay(scene.settings, scene.ledger, chosen, Format.SEAWEEDFS, scene.clock) == Replayed(understood=1)


def test_the_good_parts_of_a_body_are_taken_and_the_body_stays(scene: Scene) -> None:
    event = bodies.oss_event(KEY)
    event["oss"]["bucket"]["name"] = "b"
    keep(scene, bodies.oss(event, bodies.oss_event("")))
    assert replay(scene.settings, scene.ledger, ANY, Format.OSS, scene.clock) == Replayed(left=1)
    assert waiting(scene) == 1


def test_a_choice_of_nothing_is_nothing(scene: Scene) -> None:
    keep(scene, b"nonsense")
    with scene.ledger.write() as tx:
        assert quarantine.drop(tx, Choice()) == 0
        assert quarantine.count(tx, Choice(numbers=(1,), sources=("other",))) == 0
        assert quarantine.drop(tx, ANY) == 1


# -- coverage --------------------------------------------------------------------------------------


def test_sources_cover_all_buckets_or_those_that_are_written(scene: Scene) -> None:
    accepting = replace(HOOK, accept=replace(COMPLETE_ONLY, append=True))
    assert coverage_of(make_settings(sources=(HOOK,))).announced == {"b"}
    assert coverage_of(make_settings(sources=(HOOK,))).growing == set()
    assert coverage_of(make_settings(sources=(HOOK, accepting))).growing == {"b"}
    assert coverage_of(make_settings(sources=(replace(HOOK, buckets=("x",)),))).announced == {"x"}
    assert coverage_of(make_settings()).announced == set()


def test_times_of_sightings_survive_the_ledger(scene: Scene) -> None:
    event = told(etag=None, happened_at=scene.clock() + timedelta(microseconds=5))
    scene.intake().take(Batch([event]))
    with scene.ledger.read() as tx:
        assert sightings.due(tx, scene.clock(), limit=1)[0].event == event
    assert issubclass(LedgerFullError, LedgerError)

"""A backfill in this process: what it covers, what it records and estimates, when it ends, and who sends."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.core.backfilling import BackfillState, Pace
from dispatcher.core.calls import Api
from dispatcher.core.dispatch import StateReason
from dispatcher.core.location import Location
from dispatcher.core.outcomes import Bury, Complete, Probe, Rejected, Started, Uncertain
from dispatcher.core.ratelimit import Rate
from dispatcher.core.rules import RuleSet
from dispatcher.core.scope import Moment, Period, Scope
from dispatcher.errors import ConfigError, ListingError, UsageError
from dispatcher.ledger import backfills, holds, notices, settling
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.holds import HoldReason
from dispatcher.ledger.notices import NoticeCode
from dispatcher.service.assembly import register
from dispatcher.service.backfilling import requesting, sending
from dispatcher.service.backfilling.estimating import Estimating, forecast
from dispatcher.service.backfilling.matching import Matching
from dispatcher.service.backfilling.recording import LookEnd, Recorder
from dispatcher.service.backfilling.running import End, Ended, Progress, Running
from dispatcher.service.backfilling.sending import Sender, Sending
from dispatcher.sources.store import ObjectHead
from tests.service.fakes import MODIFIED, NOW, TARGET, make_rule, make_settings, seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dispatcher.core.estimates import Estimate
    from dispatcher.core.events import ObjectEvent
    from dispatcher.ledger.backfills import Backfill
    from tests.service.conftest import Scene

ALL = Scope()


@dataclass
class Heap:
    """Objects in memory, page by page; `breaks` raises after them."""

    pages_: list[list[ObjectEvent]]
    breaks: bool = False
    requests: int = 0

    @property
    def list_requests(self) -> dict[str, int]:
        return {"b": self.requests}

    def pages(self, stop: threading.Event) -> Iterator[Sequence[ObjectEvent]]:
        for page in self.pages_:
            if stop.is_set():
                return
            self.requests += 1
            yield page
        if self.breaks:
            raise ListingError("the store is away", hint="wait")


@dataclass
class Heads:
    """A bucket that answers HEAD requests."""

    objects: dict[str, ObjectHead]
    asked: list[str] = field(default_factory=list)

    def head(self, key: str, stop: threading.Event) -> ObjectHead | None:
        self.asked.append(key)
        return self.objects.get(key)


@dataclass
class Silent:
    """Takes what is told, and does with each moment what a test wants."""

    every: timedelta = timedelta()
    said: list[str] = field(default_factory=list)
    shown: list[Progress] = field(default_factory=list)

    def show(self, progress: Progress) -> None:
        self.shown.append(progress)

    def say(self, text: str) -> None:
        self.said.append(text)


@dataclass
class NoSending:
    """Nobody sends, as far as the loop is concerned; `then` happens at each look."""

    then: Any = None
    sender: Sender = Sender.DAEMON
    began: int = 0
    ended: int = 0

    def begin(self) -> None:
        self.began += 1

    def look(self) -> None:
        if self.then is not None:
            self.then()

    def end(self) -> None:
        self.ended += 1


@dataclass
class Site:
    """One scene with backfills on it."""

    scene: Scene

    def request(self, scope: Scope = ALL, *, pace: Pace | None = None, most: int | None = None) -> Backfill:
        with self.scene.ledger.write() as tx:
            return requesting.request(tx, scope, pace or Pace(), most, self.scene.clock())[0]

    def matching(self, scope: Scope = ALL, heads: Heads | None = None) -> Matching:
        return Matching(scope.of(self.scene.settings.rules), scope, {"b": heads or Heads({})})

    def record(self, number: int, *pages: list[ObjectEvent], scope: Scope = ALL, heads: Heads | None = None) -> LookEnd:
        matching = self.matching(scope, heads)
        recorder = Recorder(self.scene.ledger, number, matching, self.scene.clock, lambda: None)
        return recorder.record(Heap(list(pages)), self.scene.stop)

    def estimate(self, *pages: list[ObjectEvent], scope: Scope = ALL) -> Estimate:
        return Estimating(self.matching(scope), self.scene.ledger, lambda _: None).estimate(
            Heap(list(pages)), self.scene.stop
        )

    def get(self, number: int) -> Backfill:
        with self.scene.ledger.read() as tx:
            return backfills.get(tx, number)

    def run(self, number: int, *pages: list[ObjectEvent], then: Any = None, **changes: Any) -> Ended:
        values: dict[str, Any] = {
            "sending": NoSending(then),
            "reporter": Silent(),
            "blocked_for": timedelta(),
            "targets": frozenset({TARGET}),
            "matching": self.matching(),
            "objects": Heap(list(pages)),
        }
        return Running(
            self.scene.ledger, number, clock=self.scene.clock, stop=self.scene.stop, **(values | changes)
        ).run()

    def settle(self, outcome: Any, decision: Any) -> None:
        """Let a call of the oldest due row end so."""
        scene = self.scene
        worker = scene.worker()
        claims = worker._claim()
        with scene.ledger.write() as tx:
            for claim in claims:
                settlement = settling.Settlement(
                    claim.dispatch.dispatch_id, claim.attempt, outcome, decision, scene.clock()
                )
                settling.settle(tx, scene.sender, [settlement], scene.clock())


@pytest.fixture
def site(scene: Scene) -> Site:
    scene.settings = make_settings(make_rule("a"), make_rule("b", "in/b/"))
    register(scene.settings, scene.ledger, scene.clock())
    return Site(scene)


# -- what is covered -----------------------------------------------------------------------------------


def test_rules_place_and_period_narrow_what_is_covered(site: Site) -> None:
    moment = Moment("2026-03-14", MODIFIED + timedelta(hours=25))
    late = seen("in/late.mp4", modified_at=MODIFIED + timedelta(hours=1))
    objects = [seen("in/1.mp4"), seen("in/b/2.mp4"), late, seen("in/3.txt"), seen("in/dated.mp4", modified_at=None)]

    def keys(scope: Scope) -> list[tuple[str, int]]:
        return [(each.event.key, len(each.rules)) for each in site.matching(scope).select(objects)]

    assert keys(ALL) == [("in/1.mp4", 1), ("in/b/2.mp4", 2), ("in/late.mp4", 1), ("in/dated.mp4", 1)]
    assert keys(Scope(rules=("b",))) == [("in/b/2.mp4", 1)]
    assert keys(Scope(place=Location("b", "in/b"))) == [("in/b/2.mp4", 2)]
    assert keys(Scope(place=Location("other", "in/"))) == []
    assert keys(Scope(period=Period(since=moment))) == [("in/late.mp4", 1), ("in/dated.mp4", 1)]
    assert keys(Scope(period=Period(since=moment, slack=timedelta()))) == [("in/dated.mp4", 1)]
    assert keys(Scope(period=Period(until=Moment("t", MODIFIED)))) == [("in/dated.mp4", 1)]


def test_only_roots_inside_the_place_are_listed() -> None:
    rules = RuleSet([make_rule("a"), make_rule("b", "out/"), make_rule("c", "in/deep/")])
    assert Scope(place=Location("b", "in/deep/er/")).roots(rules, "b") == ("in/deep/er/",)
    assert Scope(place=Location("b", "")).roots(rules, "b") == ("in/", "out/")
    assert Scope(place=Location("b", "else/")).roots(rules, "b") == ()
    assert Scope(place=Location("c", "in/")).roots(rules, "b") == ()


def test_a_scope_that_covers_nothing_is_refused(site: Site) -> None:
    with pytest.raises(UsageError, match="no rule c"):
        requesting.prepare(site.scene.settings, Scope(rules=("c",)))
    with pytest.raises(UsageError, match="reads anything under"):
        requesting.prepare(site.scene.settings, Scope(place=Location("b", "else/")))


# -- recording and estimating ------------------------------------------------------------------------------


def test_the_dry_run_counts_exactly_what_is_then_recorded(site: Site) -> None:
    site.scene.record("in/b/known.mp4")  # live: rows of both rules
    pages = [
        [seen("in/1.mp4", size=10), seen("in/b/known.mp4"), seen("in/b/2.MOV", size=5)],
        [seen("in/x"), seen("in/3.txt")],
    ]
    estimate = site.estimate(*pages)
    assert (estimate.listed, estimate.matched, estimate.starts) == (5, 4, 4)
    assert {rule: (each.total.objects, each.total.known) for rule, each in estimate.rules.items()} == {
        "a": (4, 1),
        "b": (2, 1),
    }
    assert {name: each.objects for name, each in estimate.rules["a"].by_extension.items()} == {
        "mp4": 2,
        "mov": 1,
        "none": 1,
    }
    assert estimate.rules["a"].by_extension["mov"].bytes == 5
    assert estimate.rules["b"].examples == [("b", "in/b/2.MOV")]
    assert len(site.scene.rows()) == 2
    told = forecast(site.scene.settings, estimate, Rate(2), None)
    assert (told.calls, told.needed) == ({Api.START_WORKFLOW: 4}, timedelta(seconds=2))
    assert forecast(site.scene.settings, estimate, None, 1).calls == {Api.START_WORKFLOW: 1}

    number = site.request().number
    assert site.record(number, *pages) is LookEnd.COMPLETE
    done = site.get(number)
    assert (done.recorded, done.seen.known, done.seen.listed, done.seen.matched) == (4, 2, 5, 4)
    assert (done.seen.reached, done.recorded_at) == ("in/3.txt", NOW)
    assert site.estimate(*pages).starts == 0


def test_a_page_of_more_rows_than_one_transaction_takes(site: Site) -> None:
    number = site.request().number
    site.record(number, [seen(f"in/b/{each}.mp4") for each in range(700)])
    assert (site.get(number).recorded, site.get(number).seen.listed) == (1_400, 700)


def test_a_renamed_rule_does_not_start_its_objects_again(site: Site) -> None:
    site.scene.record("in/1.mp4")
    site.scene.settings = make_settings(make_rule("new", was=("a",)))
    number = site.request().number
    site.record(number, [seen("in/1.mp4")])
    assert site.get(number).recorded == 0


def test_a_run_starts_the_same_objects_once_more_and_once(site: Site) -> None:
    site.scene.record("in/1.mp4")
    again = Scope(run="codec")
    number = site.request(again).number
    site.record(number, [seen("in/1.mp4")], scope=again)
    site.record(number, [seen("in/1.mp4")], scope=again)
    assert [(row.run, row.source) for row in site.scene.rows()].count(("codec", "backfill")) == 1
    assert site.get(number).recorded == 1


def test_a_limit_ends_the_look_and_counts_over_all_of_them(site: Site) -> None:
    number = site.request(most=3).number
    pages = [[seen("in/1.mp4"), seen("in/2.mp4")], [seen("in/3.mp4"), seen("in/4.mp4")], [seen("in/5.mp4")]]
    assert site.record(number, *pages) is LookEnd.COMPLETE
    assert site.get(number).seen.listed == 4  # the third page was not asked for
    assert site.record(number, *pages) is LookEnd.COMPLETE
    assert len(site.scene.rows()) == 3


def test_hearsay_is_looked_at_unless_it_is_known(site: Site) -> None:
    site.scene.record("in/known.mp4")
    heads = Heads(
        {
            "in/changed.mp4": ObjectHead("e2", 9, NOW),
            "in/empty.mp4": ObjectHead("e3", 0, NOW),
            "in/told.mp4": ObjectHead("e4", 8, NOW),
        }
    )
    told = [replace(seen(f"in/{name}.mp4"), hearsay=True) for name in ("known", "changed", "gone", "empty")]
    told.append(replace(seen("in/told.mp4"), etag=None, size=None, hearsay=True))
    number = site.request().number
    site.record(number, told, heads=heads)
    assert sorted(heads.asked) == ["in/changed.mp4", "in/empty.mp4", "in/gone.mp4", "in/told.mp4"]
    new = {row.key: (row.etag, row.size) for row in site.scene.rows() if row.source == "backfill"}
    assert new == {"in/changed.mp4": ("e2", 9), "in/told.mp4": ("e4", 8)}
    assert (site.get(number).seen.gone, site.get(number).seen.known) == (1, 1)


def test_the_same_request_goes_on_and_its_options_replace_those_before(site: Site) -> None:
    first = site.request(Scope(rules=("a",)), pace=Pace(max_rate=Rate(2), max_running=3))
    again = site.request(Scope(rules=("a",)), pace=Pace(max_running=9))
    assert (again.number, again.pace) == (first.number, Pace(max_rate=Rate(2), max_running=9))
    assert site.request(Scope(rules=("b",))).number != first.number
    with site.scene.ledger.write() as tx:
        backfills.cancel(tx, first.number, NOW)
    with pytest.raises(UsageError, match="cancelled"), site.scene.ledger.write() as tx:
        requesting.go_on(tx, site.get(first.number), Pace(), None, NOW)


# -- running ---------------------------------------------------------------------------------------------


def test_it_ends_when_its_last_row_has(site: Site) -> None:
    number = site.request().number
    ended = site.run(number, [seen("in/1.mp4")], then=lambda: site.settle(Started("t", "R"), Complete("t")))
    assert (ended.why, ended.exit_code) == (End.DONE, 0)
    assert site.get(number).state is BackfillState.DONE
    assert ended.progress.counts.running == 1


def test_rows_that_never_started_make_it_a_failure(site: Site) -> None:
    number = site.request().number
    refused = Rejected("InvalidParameter", "no", "R")
    ended = site.run(number, [seen("in/1.mp4")], then=lambda: site.settle(refused, Bury(StateReason.REJECTED)))
    assert (ended.why, ended.exit_code) == (End.DONE, 1)


def test_asked_to_stop_it_pauses(site: Site) -> None:
    number = site.request().number
    ended = site.run(number, [seen("in/1.mp4")], [seen("in/2.mp4")], then=site.scene.stop.set)
    assert (ended.why, ended.exit_code) == (End.ASKED, 75)
    assert site.get(number).state is BackfillState.PAUSED
    assert site.get(number).recorded_at is None


def test_after_its_time_it_pauses(site: Site) -> None:
    number = site.request(pace=Pace(window=timedelta(hours=8))).number
    ended = site.run(number, [seen("in/1.mp4")], then=lambda: site.scene.clock.later(hours=5))
    assert (ended.why, ended.exit_code) == (End.EXPIRED, 75)
    assert site.get(number).state is BackfillState.PAUSED


def test_paused_by_another_command_it_leaves(site: Site) -> None:
    number = site.request().number

    def pause() -> None:
        with site.scene.ledger.write() as tx:
            backfills.pause(tx, number, NOW)

    assert site.run(number, [seen("in/1.mp4")], [seen("in/2.mp4")], then=pause).why is End.STOPPED
    assert len(site.scene.rows()) == 1


def test_what_waits_for_an_operator_is_not_waited_for(site: Site) -> None:
    with site.scene.ledger.write() as tx:
        holds.hold(tx, "a", HoldReason.OPERATOR, "", NOW)
    ended = site.run(site.request().number, [seen("in/1.mp4")])
    assert (ended.why, ended.exit_code) == (End.HELD, 75)


def test_a_ledger_that_is_behind_is_not_waited_for(site: Site) -> None:
    with site.scene.ledger.write() as tx:
        notices.post(tx, NoticeCode.LEDGER_BEHIND, "task t", NOW)
    ended = site.run(site.request().number, [seen("in/1.mp4")])
    assert (ended.why, ended.exit_code) == (End.BEHIND, 75)


def test_an_unanswered_call_is_waited_for(site: Site) -> None:
    looks: list[int] = []

    def turn() -> None:
        if not looks:
            site.settle(Uncertain("read time-out"), Probe(NOW + timedelta(hours=1)))
        looks.append(1)
        if len(looks) > 3:
            site.scene.stop.set()

    assert site.run(site.request().number, [seen("in/1.mp4")], then=turn).why is End.ASKED
    assert {row.state.value for row in site.scene.rows()} == {"uncertain"}


def test_a_store_that_goes_away_is_remembered(site: Site) -> None:
    number = site.request().number
    sending_ = NoSending()
    with pytest.raises(ListingError, match="the store is away"):
        site.run(number, objects=Heap([[seen("in/1.mp4")]], breaks=True), sending=sending_)
    found = site.get(number)
    assert (found.error, found.state, found.recorded) == ("the store is away", BackfillState.RUNNING, 1)
    assert sending_.ended == 1


# -- who sends ---------------------------------------------------------------------------------------------


class Parts:
    """Stands for the sending parts of a daemon."""

    failure: BaseException | None = None
    listener: object = None

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.drained = False

    def start_worker(self) -> None:
        """Start nothing."""

    def start_upkeep(self) -> None:
        """Start nothing."""

    def drain(self, ticks: object, worker: object) -> None:
        assert (ticks, worker, self.stop.is_set()) == (None, None, True)
        self.drained = True


@pytest.fixture
def beside(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Sending, list[float], list[str]]]:
    """The sending half on a ledger of its own process, its clock, and what it says."""
    site.scene.ledger.resign()
    ledger = Ledger.open(site.scene.url)
    said: list[str] = []
    now = [0.0]

    def assembled(_settings: object, own: Ledger, clock: Any, *_: object, yields: bool, **__: object) -> Parts:
        own.become_sender(clock(), yields=yields)
        return Parts()

    monkeypatch.setattr(sending, "assemble", assembled)
    made = Sending(site.scene.settings, ledger, ("a", "b"), site.scene.clock, said.append, monotonic=lambda: now[0])
    with closing(ledger):
        yield made, now, said


def test_without_a_daemon_the_command_sends_and_lets_a_daemon_take_over(
    site: Site, beside: tuple[Sending, list[float], list[str]]
) -> None:
    sending_, now, said = beside
    sending_.begin()
    assert sending_.sender is Sender.THIS_COMMAND
    daemon = threading.Thread(target=site.scene.ledger.become_sender, args=(NOW,))
    daemon.start()
    while daemon.is_alive():
        now[0] += 2
        sending_.look()
        daemon.join(0.01)
    now[0] += 2
    sending_.look()
    assert (sending_.sender, site.scene.ledger.is_sender()) == (Sender.DAEMON, True)
    assert said[-2:] == ["a daemon starts: this command lets it send", "a daemon runs: it sends from now on"]


def test_a_daemon_that_stopped_has_time_to_come_back(
    site: Site, beside: tuple[Sending, list[float], list[str]]
) -> None:
    sending_, now, said = beside
    site.scene.ledger.become_sender(NOW)
    sending_.begin()
    assert sending_.sender is Sender.DAEMON
    site.scene.ledger.resign()
    seen_: list[Sender] = []
    for now[0] in (2.0, 20.0, 31.0, 33.0):
        sending_.look()
        seen_.append(sending_.sender)
    assert seen_ == [Sender.NOBODY, Sender.NOBODY, Sender.NOBODY, Sender.THIS_COMMAND]
    assert said[-1] == "no daemon came back: this command sends by itself"
    sending_.end()
    assert not site.scene.ledger.somebody_sends()


def test_a_daemon_with_other_rules_is_refused(site: Site, beside: tuple[Sending, list[float], list[str]]) -> None:
    site.scene.ledger.become_sender(NOW)
    beside[0].rules = ("a", "fresh")
    with pytest.raises(ConfigError, match="does not know rule fresh"):
        beside[0].begin()

"""What a pass brings, case by case, on a store in memory."""

from __future__ import annotations

import threading
import tracemalloc
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.core.events import encode_key
from dispatcher.core.segments import SegmentTuning
from dispatcher.errors import ListingError
from dispatcher.ledger import snapshots
from dispatcher.sources.bucket import Wanted
from dispatcher.sources.store import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

World = Any
SMALL = SegmentTuning(target=4, spill=20, page=5, events=10)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world(tuning=SMALL)


def keys(events: list[Any]) -> list[str]:
    return sorted(event.key for event in events)


def fill(world: World, count: int, folder: str = "a") -> None:
    for number in range(count):
        world.store.put(f"{folder}/{number:04}.mp4")


def test_what_lies_there_at_the_first_listing_does_not_fire(world: World) -> None:
    fill(world, 50)
    source = world.source()
    assert world.listing(source) == []
    assert source.report.existing == 50
    assert source.report.baseline
    assert source.report.complete


def test_existing_objects_are_brought_where_a_rule_wants_them(world: World) -> None:
    fill(world, 50)
    events = world.listing(wanted=Wanted(existing=True))
    assert len(events) == 50
    assert {event.known_revision for event in events} == {0}
    assert world.listing(wanted=Wanted(existing=True)) == []


def test_a_new_object_carries_what_intake_needs(world: World) -> None:
    world.listing()
    _, etag, size = world.store.put("a/é ü.mp4", "AB" * 16)
    [event] = world.listing()
    assert (event.bucket, event.key, event.etag, event.size) == ("b", "a/é ü.mp4", etag.lower(), size)
    assert event.modified_at == world.store.now
    assert event.known_revision is None
    assert event.source == "poll:b/"


def test_what_is_later_than_the_start_of_the_first_listing_is_new(world: World) -> None:
    fill(world, 30)
    done = threading.Event()

    def write_one() -> None:
        if not done.is_set() and world.store.requests == 3:
            done.set()
            world.store.put("z/while-listing.mp4")

    world.store.between = write_one
    assert keys(world.listing()) == ["z/while-listing.mp4"]


def test_an_interrupted_baseline_goes_on_with_its_start(world: World) -> None:
    fill(world, 200)
    world.crash_after = 3
    with pytest.raises(world.crash):
        world.listing()
    world.crash_after = None
    world.store.put("b/in-between.mp4")
    assert keys(world.listing()) == ["b/in-between.mp4"]


def test_an_object_from_the_past_fires(world: World) -> None:
    fill(world, 30)
    world.listing()
    world.store.put("a/0010-multipart.mp4", modified=world.store.now - timedelta(days=3))
    assert keys(world.listing()) == ["a/0010-multipart.mp4"]


def test_a_change_of_metadata_does_not_fire(world: World) -> None:
    fill(world, 30)
    world.listing()
    for key, (etag, size, _) in list(world.store.objects.items()):
        world.store.objects[key] = (etag, size, world.store.now + timedelta(days=1))
    source = world.source()
    assert world.listing(source) == []
    assert source.report.segments_parsed > 0


def test_an_unchanged_listing_is_not_parsed(world: World) -> None:
    fill(world, 100)
    world.listing()
    source = world.source()
    assert world.listing(source) == []
    assert (source.report.segments_parsed, source.report.listed) == (0, 100)
    assert source.report.requests == 20


def test_an_object_absent_from_one_pass_is_remembered_and_from_two_forgotten(world: World) -> None:
    fill(world, 30)
    world.listing()
    hidden = world.store.objects.pop(b"a/0007.mp4")
    world.listing()
    world.store.objects[b"a/0007.mp4"] = hidden
    assert world.listing() == []
    del world.store.objects[b"a/0007.mp4"]
    world.listing()
    world.listing()
    world.store.objects[b"a/0007.mp4"] = hidden
    assert keys(world.listing()) == ["a/0007.mp4"]


def test_a_broken_pass_does_not_count_as_absence(world: World) -> None:
    fill(world, 60)
    world.listing()
    hidden = world.store.objects.pop(b"a/0007.mp4")
    world.listing()
    for _ in range(3):
        first = world.store.requests
        world.store.fail = lambda first=first: world.store.requests > first + 8
        with pytest.raises(ListingError):
            world.listing()
    world.store.fail = lambda: False
    world.store.objects[b"a/0007.mp4"] = hidden
    assert world.listing() == []


def test_a_store_that_is_suddenly_empty_is_suspected_and_nothing_fires_when_it_is_back(world: World) -> None:
    world.tuning = SegmentTuning()
    fill(world, 1_500)
    world.listing()
    there, world.store.objects = world.store.objects, {}
    source = world.source()
    assert world.listing(source) == []
    assert source.report.suspect is not None
    assert source.report.suspect.missing == 1_500
    for _ in range(3):
        assert world.listing() == []
    world.store.objects = there
    world.store.put("a/new.mp4")
    assert keys(world.listing()) == ["a/new.mp4"]
    with world.ledger.read() as tx:
        [root] = snapshots.statistics(tx)
    assert (root.suspect_pass, root.suspect_missing) == (2, 1_500)
    assert (root.entries, root.kept) == (1_501, 1_500)


def test_trouble_that_begins_small_makes_nothing_fire_either(world: World) -> None:
    world.tuning = SegmentTuning()
    fill(world, 4_000)
    world.listing()
    there = dict(world.store.objects)
    for key in sorted(there)[:300]:
        del world.store.objects[key]  # too few to be suspected
    assert world.listing() == []
    world.store.objects = {}
    for _ in range(3):
        assert world.listing() == []
    world.store.objects = there
    assert world.listing() == []


def test_rewriting_everything_is_not_suspected(world: World) -> None:
    world.tuning = SegmentTuning()
    fill(world, 1_500)
    world.listing()
    for key, (etag, size, _) in list(world.store.objects.items()):
        world.store.objects[key] = (etag, size, world.store.now + timedelta(days=1))
    source = world.source()
    assert world.listing(source) == []
    assert source.report.suspect is None


def test_every_known_object_is_brought_with_its_revision_when_everything_is_wanted(world: World) -> None:
    fill(world, 40)
    world.listing()
    world.store.put("a/0003-later.mp4")
    world.listing()
    world.revision = 9
    world.store.put("a/0004-now.mp4")
    events = {event.key: event.known_revision for event in world.listing(wanted=Wanted(everything=True))}
    assert len(events) == 42
    assert events.pop("a/0004-now.mp4") is None
    assert events.pop("a/0003-later.mp4") == 7
    assert set(events.values()) == {0}
    assert world.listing() == []


def test_explain_finds_the_revision_of_a_content(world: World) -> None:
    key, etag, size = world.store.put("a/x.mp4")
    world.listing()
    _, newer, new_size = world.store.put("a/x.mp4")
    world.listing()
    with world.ledger.read() as tx:
        assert snapshots.revision_of(tx, "b", "a/x.mp4", etag, size) == 0
        assert snapshots.revision_of(tx, "b", "a/x.mp4", newer, new_size) == 7
        assert snapshots.revision_of(tx, "b", "a/y.mp4", etag, size) is None
    assert key == b"a/x.mp4"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "a/", ["a/new.mp4"]),
        ("a/", "", ["a/new.mp4"]),
        ("b/", "a/", []),
    ],
    ids=["narrower", "wider", "sibling"],
)
def test_a_changed_root_goes_on_from_what_the_old_one_knew(
    old: str, new: str, expected: list[str], world: World
) -> None:
    fill(world, 30, "a")
    fill(world, 30, "b")
    world.listing(root=old, roots=(old,))
    world.store.put("a/new.mp4")
    world.store.now += timedelta(hours=1)
    assert keys(world.listing(root=new, roots=(new,))) == expected
    with world.ledger.read() as tx:
        remembered = {root.root for root in snapshots.statistics(tx)}
    assert remembered == ({new} if expected else {old, new})
    world.store.put("a/newer.mp4")
    assert keys(world.listing(root=new, roots=(new,))) == ["a/newer.mp4"]


def test_an_old_root_stays_until_all_its_heirs_know_what_it_knew(world: World) -> None:
    fill(world, 20, "a")
    fill(world, 20, "b")
    world.listing(root="", roots=("",))
    world.store.put("a/new.mp4")
    world.store.put("b/new.mp4")
    world.store.now += timedelta(hours=1)
    assert keys(world.listing(root="a/", roots=("a/", "b/"))) == ["a/new.mp4"]
    assert keys(world.listing(root="b/", roots=("a/", "b/"))) == ["b/new.mp4"]
    with world.ledger.read() as tx:
        assert {root.root for root in snapshots.statistics(tx)} == {"a/", "b/"}


def test_a_second_writer_of_a_snapshot_is_refused_and_nothing_is_written(world: World) -> None:
    fill(world, 10)
    world.listing()
    world.store.put("a/x.mp4")
    passing = world.source().batches(threading.Event())
    batch = next(passing)
    assert keys(world.listing()) == ["a/x.mp4"]
    with pytest.raises(snapshots.SnapshotConflictError), world.ledger.write() as tx:
        snapshots.apply(tx, batch.progress)


def test_a_stop_ends_a_pass_without_judging_absence(world: World) -> None:
    fill(world, 60)
    world.listing()
    stop = threading.Event()
    first = world.store.requests
    world.store.between = lambda: stop.set() if world.store.requests > first + 3 else None
    source = world.source()
    assert list(source.batches(stop)) == []
    assert not source.report.complete
    assert source.report.requests == 4


def rewritten(world: World, change: Callable[[bytes], bytes]) -> None:
    listed = world.store.list

    def list_changed(root: str, token: str | None, page: int, stop: threading.Event) -> Answer:
        answer = listed(root, token, page, stop)
        return Answer(change(answer.body), answer.date)

    world.store.list = list_changed


def test_another_spelling_of_the_same_listing_does_not_fire(world: World) -> None:
    fill(world, 40)
    world.store.put("a/with space + plus.mp4")
    world.listing()
    rewritten(
        world,
        lambda body: (
            body.replace(b"><", b">\n  <")
            .replace(b"&#34;", b"&quot;")
            .replace(b"%20", b"+")
            .replace(b"mp4<", b"%6Dp4<")
        ),
    )
    source = world.source()
    assert world.listing(source) == []
    world.store.put("a/0020-new.mp4")
    assert keys(world.listing(source)) == ["a/0020-new.mp4"]


def test_whitespace_only_between_entries_is_noticed_and_read(world: World) -> None:
    rewritten(world, lambda body: body.replace(b"</Contents><Contents>", b"</Contents> <Contents>"))
    world.listing()
    fill(world, 12)
    assert len(world.listing()) == 12
    assert world.listing() == []


def test_an_answer_that_is_cut_off_is_an_error_and_unused(world: World) -> None:
    world.listing()
    fill(world, 12)
    rewritten(world, lambda body: body[:-30])
    with pytest.raises(ListingError, match="cannot be used"):
        world.listing()
    assert world.fired == []


def test_a_server_that_does_not_page_is_an_error(world: World) -> None:
    fill(world, 12)
    original = world.store.list
    world.store.list = lambda root, token, page, stop: original(root, None, page, stop)
    with pytest.raises(ListingError, match="honour paging"):
        world.listing()


def test_empty_answers_that_circle_are_an_error(world: World) -> None:
    frame = b"<IsTruncated>true</IsTruncated><NextContinuationToken>%s</NextContinuationToken>"
    body = b"<ListBucketResult>" + frame + b"</ListBucketResult>"
    tokens = iter(b"xyz" * 100)
    world.store.list = lambda *_: Answer(body % bytes([next(tokens)]), world.store.now)
    with pytest.raises(ListingError, match="token twice"):
        world.listing()


def test_an_entry_without_etag_is_left_to_intake(world: World) -> None:
    world.listing()
    world.store.put("a/x.mp4")
    rewritten(world, lambda body: body.split(b"<ETag>")[0] + body.split(b"</ETag>")[-1])
    [event] = world.listing()
    assert event.etag is None


def test_a_key_that_is_not_utf8_keeps_its_bytes(world: World) -> None:
    world.listing()
    world.store.put(b"a/\xff\xfe.mp4")
    [event] = world.listing()
    assert encode_key(event.key) == b"a/\xff\xfe.mp4"


def test_places_never_run_out_where_all_objects_arrive_at_one_spot(world: World) -> None:
    world.tuning = SegmentTuning(target=2, spill=6, page=20, events=1_000)
    world.store.put("a")
    world.store.put("z")
    world.listing()
    expected = 0
    for number in range(40):
        for part in range(3):
            world.store.put(f"m{1_000 - number:05}-{part}")
            world.store.put(f"n{number:05}-{part}")
        expected += 6
        assert len(world.listing()) == 6
    assert len(world.hashes(live=True)) == expected + 2


def peak_of_a_first_listing(make_world: Callable[..., World], count: int) -> int:
    world = make_world(tuning=SegmentTuning(spill=500, events=5))
    pages = world.store

    def listed(root: str, token: str | None, page: int, stop: threading.Event) -> Answer:
        start = int(token or 0)
        end = min(start + page, count)
        pages.objects = {b"v/%08d" % n: (f"{n:032x}", n, pages.now) for n in range(start, end)}
        answer: Answer = pages.page_of(sorted(pages.objects), str(end) if end < count else None)
        return answer

    pages.list = listed
    tracemalloc.start()
    try:
        assert world.listing() == []
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_bucket(make_world: Callable[..., World]) -> None:
    peak_of_a_first_listing(make_world, 1_000)  # what is loaded once
    small = peak_of_a_first_listing(make_world, 6_000)
    large = peak_of_a_first_listing(make_world, 18_000)
    assert large < small * 1.2

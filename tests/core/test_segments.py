from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core import segments
from dispatcher.core.segments import END

HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=50)


@given(HASHES)
def test_hashes_take_eight_bytes_and_come_back(hashes: list[int]) -> None:
    packed = segments.pack_hashes(hashes)
    assert len(packed) == 8 * len(hashes)
    assert list(segments.unpack_hashes(packed)) == hashes


@given(st.lists(st.integers(0, 3), max_size=50))
def test_revisions_come_back(revisions: list[int]) -> None:
    assert list(segments.unpack_revisions(segments.pack_revisions(revisions))) == revisions


def test_one_revision_takes_eight_bytes_however_many_entries() -> None:
    assert len(segments.pack_revisions([7] * 10_000)) == 8


@given(st.integers(0, 10_000), st.integers(1, 500))
def test_a_cut_covers_everything_in_nearly_equal_parts(count: int, target: int) -> None:
    sizes = segments.cut(count, target)
    assert sum(sizes) == count
    assert all(sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert not sizes or max(sizes) <= max(target * 1.5 + 1, 2)


@given(st.integers(0, 2**40), st.integers(1, 2**40), st.integers(0, 200))
def test_places_rise_within_their_range_or_are_refused(after: int, room: int, count: int) -> None:
    places = segments.place(after, after + room, count)
    if places is None:
        assert room < count * 17
        return
    assert len(places) == count
    assert places == sorted(set(places))
    assert all(after < place <= after + room for place in places)
    assert not places or places[-1] == after + room


@given(st.integers(0, 2**40), st.integers(1, 2**40), st.integers(1, 200))
def test_places_before_a_segment_stay_before_it(after: int, room: int, count: int) -> None:
    places = segments.place_before(after, after + room, count)
    if places is None:
        assert room < (count + 1) * 17
        return
    assert places == sorted(set(places))
    assert len(places) == count
    assert all(after < place < after + room for place in places)


def test_the_end_of_the_list_has_room_for_everything() -> None:
    places = segments.place(10, END, 1_000)
    assert places is not None
    assert places[0] > 10
    assert len(set(places)) == 1_000


@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(0, 999), st.integers(0, 999))
def test_contents_that_differ_have_different_hashes(one: bytes, other: bytes, size: int, other_size: int) -> None:
    first = segments.entry_hash(b"k" * 32, one, "ab", size)
    second = segments.entry_hash(b"k" * 32, other, "ab", other_size)
    assert (first == second) == ((one, size) == (other, other_size))
    assert first != segments.entry_hash(b"l" * 32, one, "ab", size)
    assert first != segments.entry_hash(b"k" * 32, one, None, size)


def test_much_missing_is_more_than_a_thousand_and_a_tenth() -> None:
    assert segments.too_much_missing(1_001, 9_000)
    assert not segments.too_much_missing(1_000, 0)
    assert not segments.too_much_missing(1_001, 9_010)

"""The snapshot against a plain set difference, over thousands of random operations."""

from __future__ import annotations

import os
import random
import zlib
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.core.events import encode_key
from dispatcher.core.segments import SegmentTuning
from dispatcher.errors import ListingError

if TYPE_CHECKING:
    from collections.abc import Callable

PASSES = int(os.environ.get("SNAPSHOT_PASSES", "80"))
"""Passes of each run; more of them by this variable."""


def by_bytes(key: bytes) -> Any:
    return key


def by_tree(key: bytes) -> Any:
    return key.replace(b"/", b"\0")


def by_hash(key: bytes) -> Any:
    return zlib.crc32(key), key


ORDERS = {"bytes": (by_bytes,), "tree": (by_tree,), "hash": (by_hash,), "switching": (by_bytes, by_tree, by_hash)}


class Truth:
    """What was ever there, and what may fire: nothing twice, nothing of the baseline, nothing else."""

    def __init__(self, world: Any, life: Any) -> None:
        self.world = world
        self.life = life
        self.baseline: set[Any] = set()
        self.ever: set[Any] = set()
        self.fired: Counter[Any] = Counter()

    def take(self) -> None:
        for event in self.world.fired:
            self.fired[(encode_key(event.key), event.etag, event.size)] += 1
        self.world.fired.clear()
        twice = {each for each, count in self.fired.items() if count > 1} - self.life.returned
        assert not twice, "fired twice"
        assert self.fired.keys() <= self.ever, "fired what never was"
        assert not (self.fired.keys() & self.baseline) - self.life.returned, "fired what lay there before"

    def complete(self) -> None:
        """After a complete pass without changes: everything there has fired or was there before."""
        assert not self.world.store.contents() - self.baseline - self.fired.keys(), "lost"
        hashes = {self.world.hash_of(content) for content in self.world.store.contents()}
        assert hashes <= set(self.world.hashes(live=True)), "the snapshot does not know all that is listed"


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("order", ORDERS)
def test_nothing_is_lost_and_nothing_fires_falsely(
    order: str, seed: int, make_world: Callable[..., Any], make_life: Callable[..., Any]
) -> None:
    dice = random.Random(f"{order}{seed}")
    world = make_world(tuning=SegmentTuning(target=5, spill=30, page=5))
    life = make_life(world.store, dice)
    store = world.store
    truth = Truth(world, life)
    original = store.put

    def put(*args: Any) -> Any:
        content = original(*args)
        truth.ever.add(content)
        return content

    store.put = put
    for _ in range(dice.randrange(200)):
        life.step()
    truth.baseline = store.contents()
    world.listing()
    truth.take()
    assert not truth.fired
    for _ in range(PASSES):
        store.order = dice.choice(ORDERS[order])
        world.tuning = SegmentTuning(
            dice.randrange(1, 20), dice.randrange(1, 60), dice.randrange(3, 11), dice.choice([1, 5, 20, 1_000])
        )
        world.crash_after = dice.randrange(6) if dice.random() < 0.1 else None
        for _ in range(dice.randrange(1, 16)):
            life.step()
        if dice.random() < 0.3:
            store.between = lambda: life.step() if dice.random() < 0.5 else None
        if dice.random() < 0.1:
            store.fail = lambda: dice.random() < 0.1
        store.empty = (lambda: dice.random() < 0.1) if dice.random() < 0.1 else (lambda: False)
        with suppress(ListingError, world.crash):
            world.listing()
        truth.take()
        store.between, store.fail, store.empty, world.crash_after = (
            (lambda: None),
            (lambda: False),
            (lambda: False),
            None,
        )
        world.listing()
        truth.take()
        truth.complete()
        if dice.random() < 0.2:
            assert world.listing() == []
            assert world.listing() == []
            expected = Counter(world.hash_of(content) for content in store.contents())
            # An empty listing is no evidence of absence: only then more is remembered than listed.
            remembered = Counter(world.hashes(live=not expected))
            assert remembered == expected, "the snapshot is not the listing after quiet passes"

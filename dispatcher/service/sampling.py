"""Looking at a part of a bucket that stands for all of it, where a snapshot tells how the whole is spread.

Pages are read behind keys that lie at random in equal parts of the last complete listing. That a store may skip or
repeat some entries there does not matter to an estimate; nothing else may begin behind a key.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from dispatcher.ledger import planning
from dispatcher.sources.objects import ObjectListing

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from dispatcher.core.events import ObjectEvent
    from dispatcher.ledger.planning import Remembered
    from dispatcher.sources.paging import Listed
    from dispatcher.sources.store import Answer

PAGE = 1_000
SAMPLED_PAGE = 100
"""Objects read at one place of a sample: neighbours are alike, so many small pages tell more than a few large ones."""


class Basis(StrEnum):
    """What figures rest on: every object; pages spread over a snapshot; or only where the listing begins."""

    WHOLE = "whole"
    SNAPSHOT = "snapshot"
    BEGINNING = "beginning"


class SeekableLister(Protocol):
    """Fetches one answer of a listing, also from the middle."""

    def list(
        self, root: str, token: str | None, page: int, stop: threading.Event, *, after: str | None = None
    ) -> Answer:
        """Return the answer behind `token`, or behind the key `after`. Raises DispatcherError."""
        ...


@dataclass(frozen=True, slots=True)
class _Behind:
    """A lister that begins behind a key."""

    lister: SeekableLister
    after: str | None

    def list(self, root: str, token: str | None, page: int, stop: threading.Event) -> Answer:
        return self.lister.list(root, token, page, stop, after=self.after if token is None else None)


@dataclass(frozen=True, slots=True)
class Look:
    """How one root is looked at: at `wanted` of its `objects`, as the snapshot has it (None: unknown)."""

    basis: Basis
    wanted: int = 0
    objects: int | None = None
    listed_at: datetime | None = None
    seams: tuple[str | None, ...] = (None,)


def choose(tx: Connection | None, bucket: str, root: str, wanted: int) -> Look:
    """Return how to look at about `wanted` objects of a root."""
    known = None if tx is None else planning.remembered(tx, bucket, root)
    if tx is None or known is None:
        return Look(Basis.BEGINNING, wanted)
    if known.entries <= wanted:
        return Look(Basis.WHOLE, wanted, known.entries, known.listed_at)
    seams = tuple(_seams(tx, known, root, max(1, wanted // SAMPLED_PAGE)))
    return Look(Basis.SNAPSHOT, wanted, known.entries, known.listed_at, seams)


def _seams(tx: Connection, known: Remembered, root: str, pages: int) -> Iterator[str | None]:
    """Yield the keys behind which to read a page, None for the beginning: one at random in each of `pages` equal parts.

    Evenly spaced ones would meet folders of one kind alone where kinds take turns. The same snapshot gives the same
    places.
    """
    chance = random.Random(known.root_id)  # noqa: S311 - picks a sample, no secret
    step = known.entries / pages
    places = iter([(part + chance.random()) * step for part in range(pages)])
    due = next(places, None)
    passed, before = 0, None
    for key, count in planning.fences(tx, known.root_id, root):
        passed += count
        chosen = False
        while due is not None and due < passed:
            chosen, due = True, next(places, None)
        if chosen:
            yield before
        before = key


def pages(
    bucket: Listed, lister: SeekableLister, root: str, look: Look, stop: threading.Event
) -> Iterator[Sequence[ObjectEvent]]:
    """Yield the pages to look at. Raises DispatcherError."""
    match look.basis:
        case Basis.WHOLE:
            yield from ObjectListing(bucket, [root], _Behind(lister, None), PAGE).pages(stop)
        case Basis.BEGINNING:
            some = ObjectListing(bucket, [root], _Behind(lister, None), min(PAGE, look.wanted)).pages(stop)
            yield from islice(some, -(-look.wanted // PAGE))
        case Basis.SNAPSHOT:
            for seam in look.seams:
                yield from islice(ObjectListing(bucket, [root], _Behind(lister, seam), SAMPLED_PAGE).pages(stop), 1)

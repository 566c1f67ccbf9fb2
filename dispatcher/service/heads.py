"""Looking at objects as they are now, a few at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dispatcher.errors import BucketMissingError, CredentialsError, DispatcherError

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Mapping

    from dispatcher.sources.store import ObjectHead

AT_ONCE = 4
"""Requests under way, for each bucket's connections are as many."""


class Store(Protocol):
    """What is needed of a bucket. Thread-safe."""

    def head(self, key: str, stop: threading.Event) -> ObjectHead | None:
        """Return what an object is now, None if there is none. Raises DispatcherError."""
        ...


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The store does not let us look, for a reason that a second try would meet again."""

    error: DispatcherError


Place = tuple[str, str]


def look_at(
    stores: Mapping[str, Store], places: Iterable[Place], stop: threading.Event
) -> dict[Place, ObjectHead | Unreadable | None]:
    """Return what each (bucket, key) is now; None: there is no such object.

    Raises DispatcherError where a store does not answer: what it would say is not known.
    """
    wanted = list(dict.fromkeys(places))
    if not wanted:
        return {}

    def look(place: Place) -> ObjectHead | Unreadable | None:
        bucket, key = place
        try:
            return stores[bucket].head(key, stop)
        except (CredentialsError, BucketMissingError) as error:
            return Unreadable(error)

    with ThreadPoolExecutor(min(AT_ONCE, len(wanted)), thread_name_prefix="head") as pool:
        return dict(zip(wanted, pool.map(look, wanted), strict=True))

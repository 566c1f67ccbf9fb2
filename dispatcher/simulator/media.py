"""The account's media assets: one for each URL."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dispatcher.simulator.tasks import split_object_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.simulator.journal import AcceptedCall
    from dispatcher.simulator.settings import SimulatorSettings

SEEDED_AT = datetime(2026, 1, 1, tzinfo=UTC)
"""When the media assets of the settings were registered: an answer must name some time."""


@dataclass(frozen=True, slots=True)
class MediaAsset:
    """A registered media asset; `parameters` are those of its RegisterMediaInfo call."""

    media_id: str
    input_url: str
    registered_at: datetime
    parameters: Mapping[str, str]


class MediaBook:
    """All media assets of the account. Thread-safe."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._lock = threading.Lock()
        self._by_id: dict[str, MediaAsset] = {}
        self._by_object: dict[tuple[str, str], MediaAsset] = {}
        for seed in settings.media:
            self._add(MediaAsset(seed.media_id, seed.input_url, SEEDED_AT, {"InputURL": seed.input_url}))

    def apply(self, call: AcceptedCall) -> None:
        """Register what an accepted RegisterMediaInfo call names, in place of the asset that has its URL."""
        parameters = call.parameters
        self._add(MediaAsset(call.answer["MediaId"], parameters["InputURL"], call.at, parameters))

    def get(self, media_id: str) -> MediaAsset | None:
        with self._lock:
            return self._by_id.get(media_id)

    def of_url(self, input_url: str) -> MediaAsset | None:
        """Return the asset of a URL. Two URLs of one object are one asset's. Raises ValueError for no object's URL."""
        identity = identity_of(input_url)
        with self._lock:
            return self._by_object.get(identity)

    def of_reference(self, reference_id: str) -> MediaAsset | None:
        """Return the asset with this custom id."""
        return next((each for each in self.all() if each.parameters.get("ReferenceId") == reference_id), None)

    def all(self) -> list[MediaAsset]:
        """Return every asset, in order of registration."""
        with self._lock:
            return list(self._by_id.values())

    def may_be_used(self, media_id: str) -> bool:
        """Return whether a workflow may name this asset: any, as long as the account is not told of one."""
        with self._lock:
            return not self._by_id or media_id in self._by_id

    def _add(self, asset: MediaAsset) -> None:
        identity = identity_of(asset.input_url)
        with self._lock:
            old = self._by_object.pop(identity, None)
            if old is not None:
                del self._by_id[old.media_id]
            self._by_id[asset.media_id] = asset
            self._by_object[identity] = asset


def identity_of(input_url: str) -> tuple[str, str]:
    """Return what makes two URLs the same asset: bucket and key, or the VOD id.

    Raises ValueError for a text that is neither an object's URL nor `vod://id`.
    """
    scheme, _, vod_id = input_url.partition("://")
    if scheme == "vod" and vod_id:
        return "vod://", vod_id
    bucket, key = split_object_url(input_url)
    if not key:
        raise ValueError("it names a bucket, not an object")
    return bucket, key

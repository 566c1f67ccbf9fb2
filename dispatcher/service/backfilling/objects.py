"""Where a backfill finds its objects: listings of the roots that it covers, or an inventory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dispatcher.core.location import is_bare, parse_object
from dispatcher.errors import ConfigError
from dispatcher.service.assembly import keys_of
from dispatcher.sources.inventory import BucketShelf, FolderShelf, Inventory
from dispatcher.sources.objects import ObjectListing
from dispatcher.sources.opening import open_bucket

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence

    from dispatcher.core.events import ObjectEvent
    from dispatcher.core.rules import RuleSet
    from dispatcher.core.scope import Scope
    from dispatcher.core.settings import Settings
    from dispatcher.sources.inventory import Shelf
    from dispatcher.sources.store import StoreBucket


class Objects(Protocol):
    """All objects that may be covered. Each iteration of `pages` looks anew."""

    @property
    def requests(self) -> int:
        """The requests that were answered so far: lists of a bucket, or files of an inventory."""
        ...

    @property
    def list_requests(self) -> Mapping[str, int]:
        """The LIST requests that were answered so far, by bucket."""
        ...

    def pages(self, stop: threading.Event) -> Iterator[Sequence[ObjectEvent]]:
        """Yield objects, some at a time. Raises DispatcherError when the store refuses or fails."""
        ...


@dataclass
class ListedObjects:
    """The objects under the roots of several buckets."""

    listings: Sequence[ObjectListing] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return sum(listing.requests for listing in self.listings)

    @property
    def list_requests(self) -> Mapping[str, int]:
        return {listing.bucket.name: listing.requests for listing in self.listings}

    def pages(self, stop: threading.Event) -> Iterator[Sequence[ObjectEvent]]:
        for listing in self.listings:
            yield from listing.pages(stop)


def open_objects(
    settings: Settings, scope: Scope, rules: RuleSet, stores: Mapping[str, StoreBucket], stop: threading.Event
) -> Objects:
    """Return where the objects of a scope are found; `rules` are those that it covers.

    Of an inventory the manifest is read. Raises ConfigError or InventoryError.
    """
    if scope.inventory is not None:
        inventory = Inventory.open(_shelf(settings, scope.inventory), stop)
        bucket = inventory.manifest.source_bucket
        if bucket not in rules.buckets():
            raise ConfigError(
                f"the inventory is one of bucket {bucket}, and no rule in question reads that bucket",
                hint=f"rules read {', '.join(rules.buckets()) or 'no bucket'}; name an inventory of one of these",
            )
        return inventory
    roots = {bucket: scope.roots(rules, bucket) for bucket in rules.buckets()}
    return ListedObjects(
        [
            ObjectListing(settings.buckets[name], of_bucket, stores[name])
            for name, of_bucket in roots.items()
            if of_bucket
        ]
    )


def _shelf(settings: Settings, text: str) -> Shelf:
    if is_bare(text):
        return FolderShelf(Path(text))
    bucket, key = parse_object(text, settings.names)
    found = settings.buckets.get(bucket)
    if found is None:
        raise ConfigError(
            f"the configuration does not know bucket {bucket}, where the inventory is",
            hint=f"list it under `buckets:` ({{name: {bucket}, region: …}}), or copy the inventory to a directory",
        )
    return BucketShelf(open_bucket(found, keys_of(settings, found)), key)

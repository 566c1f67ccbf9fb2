"""What lies in a bucket now: a plain listing, compared with nothing.

A backfill and a plan look at every object of some roots, in whatever order the store lists them. A look that
breaks off begins anew: no key is a place to go on from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dispatcher.core import listing
from dispatcher.core.events import LISTED, ObjectEvent, decode_key
from dispatcher.core.listing import MalformedListingError, UnusualSpellingError
from dispatcher.sources.membership import modified_at
from dispatcher.sources.paging import Continuation, unusable

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

    from dispatcher.core.listing import Entry, ListingPage
    from dispatcher.sources.paging import Listed, Lister

SOURCE = "backfill"
"""`source` of what a look brings."""
_PAGE = 1_000


@dataclass
class ObjectListing:
    """The objects under some roots of a bucket. Each iteration of `pages` lists anew. One thread at a time.

    `requests` counts the LIST requests that were answered.
    """

    bucket: Listed
    roots: Sequence[str]
    lister: Lister
    page: int = _PAGE
    requests: int = field(default=0, init=False)

    def pages(self, stop: threading.Event) -> Iterator[Sequence[ObjectEvent]]:
        """Yield the objects of one answer after the other; nothing more once `stop` is set.

        Raises DispatcherError when the store refuses or fails.
        """
        for root in self.roots:
            yield from self._pages_of(root, stop)

    def _pages_of(self, root: str, stop: threading.Event) -> Iterator[Sequence[ObjectEvent]]:
        going = Continuation(self.bucket, root)
        more = True
        while more and not stop.is_set():
            answer = self.lister.list(root, going.token, self.page, stop)
            self.requests += 1
            try:
                page, entries = _read(answer.body)
            except MalformedListingError as error:
                raise unusable(self.bucket, root, str(error)) from error
            going.check(page)
            yield [self._event(entry, url_encoded=page.url_encoded) for entry in entries]
            more = going.leave(page)

    def _event(self, entry: Entry, *, url_encoded: bool) -> ObjectEvent:
        return ObjectEvent(
            bucket=self.bucket.name,
            key=decode_key(listing.decode_raw_key(entry.raw_key, url_encoded=url_encoded)),
            etag=listing.decode_raw_etag(entry.raw_etag),
            size=entry.size,
            modified_at=modified_at(entry),
            event_name=LISTED,
            source=SOURCE,
            growing=entry.growing,
        )


def _read(body: bytes) -> tuple[ListingPage, list[Entry]]:
    """Return an answer and its entries, whatever their spelling. Raises MalformedListingError."""
    try:
        page = listing.scan(body)
        return page, list(listing.parse(page.entries, 0, len(page.entries)))
    except UnusualSpellingError:
        page = listing.respell(body)
        return page, list(listing.parse(page.entries, 0, len(page.entries)))

"""The bucket source: one pass over the listing of a root, compared with its snapshot.

A pass follows continuation tokens from the beginning to the end, in whatever order the server lists. It
commits what it finds on the way, so that a pass that breaks loses only time; absence counts only at the end.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

from dispatcher import crashpoints
from dispatcher.core import listing
from dispatcher.core.events import encode_key
from dispatcher.core.listing import ListingPage, MalformedListingError, UnusualSpellingError
from dispatcher.core.segments import PassEnd, SegmentTuning, SnapshotChange, Suspect, overlap, too_much_missing
from dispatcher.errors import BucketDeniedError, BucketMissingError
from dispatcher.ports import Batch
from dispatcher.sources.membership import Circumstances, Membership
from dispatcher.sources.paging import Continuation, unusable
from dispatcher.sources.walk import Walk

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from dispatcher.core.segments import RootState
    from dispatcher.ports import SnapshotMemory
    from dispatcher.sources.paging import Listed, Lister


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pass yields besides new objects.

    `existing`: the objects of a first listing too. `everything`: every listed object with the
    revision at which it was recorded (parses all; for a rule added later that takes existing ones).
    """

    existing: bool = False
    everything: bool = False


@dataclass(slots=True)
class PassReport:
    """What the last pass did; complete only if it came to the end of the listing.

    `empty`: nothing was listed where something was known.
    """

    requests: int = 0
    bytes: int = 0
    listed: int = 0
    new: int = 0
    existing: int = 0
    segments_skipped: int = 0
    segments_parsed: int = 0
    seconds: float = 0.0
    baseline: bool = False
    complete: bool = False
    suspect: Suspect | None = None
    empty: bool = False


@dataclass
class BucketSource:
    """Lists one root of a bucket: each iteration of `batches` is one pass.

    `root` is a key prefix, `roots` all those of the bucket in the present configuration;
    `revision` is that of the rule set. One thread at a time.
    """

    bucket: Listed
    root: str
    memory: SnapshotMemory
    lister: Lister
    revision: int
    roots: Sequence[str] = ()
    wanted: Wanted = field(default_factory=Wanted)
    tuning: SegmentTuning = field(default_factory=SegmentTuning)
    monotonic: Callable[[], float] = time.monotonic
    name: str = ""
    report: PassReport = field(default_factory=PassReport, init=False)
    _respell: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.name = self.name or f"poll:{self.bucket.name}/{self.root}"

    def batches(self, stop: threading.Event) -> Iterator[Batch]:
        """Make one pass and yield what it finds; the consumer commits a batch before it asks for the next.

        Ends early, without error, when `stop` is set. Raises DispatcherError when the store refuses
        or fails: what was committed stays, absence was not judged, and the next pass begins anew.
        """
        self.report = PassReport()
        begun = self.monotonic()
        try:
            yield from self._attempt(stop)
        except (BucketDeniedError, BucketMissingError) as error:
            yield from self._begin_refused(error.answered_at)
            raise
        except MalformedListingError as error:
            raise unusable(self.bucket, self.root, str(error)) from error
        finally:
            self.report.seconds = self.monotonic() - begun

    def _attempt(self, stop: threading.Event) -> Iterator[Batch]:
        if not self._respell:
            try:
                yield from self._pass(stop)
            except UnusualSpellingError:
                # Remembered: a server keeps its spelling. What was committed so far stays right.
                self._respell = True
            else:
                return
        yield from self._pass(stop)

    def _pass(self, stop: threading.Event) -> Iterator[Batch]:
        answers = self._answers(stop)
        first = next(answers, None)
        if first is None:
            return
        page, date = first
        state = self.memory.load(self.bucket.name, self.root)
        if state.id is None:
            yield self._begin(state, date)
            crashpoints.reach("pass_begun")
            state = self.memory.load(self.bucket.name, self.root)
        assert state.id is not None  # noqa: S101 - the consumer committed the batch before
        self.report.baseline = state.completed_at is None
        walk = Walk(self.memory, state.id, self.tuning, everything=self.wanted.everything)
        facts = self._circumstances(state, state.id, url_encoded=page.url_encoded)
        membership = Membership(self.memory, facts, state.version, self.tuning.events, self.monotonic)
        ended_at = date
        for page, ended_at in chain([first], answers):  # noqa: B007 - the last one's is used
            if page.entries and page.url_encoded != facts.url_encoded:
                raise MalformedListingError("the answers of one listing differ in their encoding")
            for piece in walk.feed(page.entries):
                membership.add(piece)
                if membership.due():
                    yield from self._flush(membership)
            if membership.due():
                yield from self._flush(membership)
        if page.token is not None:
            return  # stopped: absence is not judged
        for piece in walk.end():
            membership.add(piece)
        yield from self._flush(membership)
        self._count(walk, membership)
        crashpoints.reach("before_pass_end")
        yield self._end(state, state.id, membership, ended_at)
        self.report.complete = True

    def _flush(self, membership: Membership) -> Iterator[Batch]:
        for batch in membership.flush():
            yield batch
            crashpoints.reach("between_snapshot_batches")

    def _count(self, walk: Walk, membership: Membership) -> None:
        self.report.new, self.report.existing = membership.new, membership.existing
        self.report.segments_skipped, self.report.segments_parsed = walk.skipped, walk.parsed
        self.report.listed = walk.listed

    def _begin(self, state: RootState, date: datetime) -> Batch:
        """Return the batch that makes the baseline's start durable. A baseline that other roots began
        and did not end began with them: what came since is new.
        """
        begun = min([date, *(earlier.started_at for earlier in state.earlier if not earlier.complete)])
        return Batch((), SnapshotChange(self.bucket.name, self.root, state.version, begin=begun))

    def _begin_refused(self, answered_at: datetime | None) -> Iterator[Batch]:
        """Begin the baseline with the store's refusal, its first answer: what comes until it is mended is new."""
        state = self.memory.load(self.bucket.name, self.root)
        if state.id is None and answered_at is not None:
            yield self._begin(state, answered_at)

    def _end(self, state: RootState, root_id: int, membership: Membership, date: datetime) -> Batch:
        """Return the batch that ends a complete pass, after all it found was committed."""
        number = state.passes + 1
        live, limbo = self.memory.counts(root_id, number)
        if too_much_missing(limbo, live):
            # Limbo holds whole segments, also what is listed still: count exactly before suspecting.
            missing = self.memory.missing(root_id, number)
            self.report.suspect = Suspect(missing) if too_much_missing(missing, live) else None
        self.report.empty = self.report.listed == 0 and limbo > 0
        end = PassEnd(date, self.report.suspect, self._superseded(), self.report.empty)
        return Batch((), replace(membership.change(), end=end))

    def _superseded(self) -> tuple[str, ...]:
        """Return the roots of an earlier configuration that nothing needs any more: each root of the
        present one that overlaps with them has its own complete memory (this one has it now).
        """
        remembered = self.memory.roots(self.bucket.name)
        current = {*self.roots, self.root}
        complete = {root for root in current if remembered.get(root)} | {self.root}
        return tuple(
            old
            for old in remembered
            if old not in current and (heirs := {root for root in current if overlap(root, old)}) and heirs <= complete
        )

    def _answers(self, stop: threading.Event) -> Iterator[tuple[ListingPage, datetime]]:
        """Yield every answer of the listing, checked for what a server that cannot page does."""
        going = Continuation(self.bucket, self.root)
        while not stop.is_set():
            answer = self.lister.list(self.root, going.token, self.tuning.page, stop)
            self.report.requests += 1
            self.report.bytes += len(answer.body)
            page = listing.respell(answer.body) if self._respell else listing.scan(answer.body)
            going.check(page)
            yield page, answer.date
            if not going.leave(page):
                return

    def _circumstances(self, state: RootState, root_id: int, *, url_encoded: bool) -> Circumstances:
        return Circumstances(
            bucket=self.bucket.name,
            root=self.root,
            source=self.name,
            root_ids=(root_id, *(earlier.id for earlier in state.earlier)),
            hash_key=state.hash_key,
            url_encoded=url_encoded,
            revision=self.revision,
            baseline=state.started_at if state.completed_at is None else None,
            covered=tuple(encode_key(earlier.root) for earlier in state.earlier if earlier.complete),
            existing_wanted=self.wanted.existing,
            everything=self.wanted.everything,
        )

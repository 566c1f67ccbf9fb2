"""What decoding gives: the wire formats there are, what a source accepts of them, and what became of a body. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatcher.core.events import ObjectEvent


class Format(StrEnum):
    """A wire format of notifications: an envelope with its own names of events and its own encoding of keys."""

    OSS = "oss"
    OSS_EVENTBRIDGE = "oss_eventbridge"
    S3 = "s3"
    EVENTBRIDGE = "eventbridge"
    MINIO = "minio"
    CEPH = "ceph"
    SEAWEEDFS = "seaweedfs"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Which events beside those of a complete, new object a source takes.

    `replication`: an object that arrived by replication. `append`: an appended object, which may still grow.
    """

    replication: bool = False
    append: bool = False


COMPLETE_ONLY = Acceptance()


class DropReason(StrEnum):
    """Why something understood is not a sighting."""

    EVENT_TYPE = "EVENT_TYPE"
    """The event does not leave a new, complete object (a deletion, a part, a change of metadata)."""
    REPLICATION = "REPLICATION"
    """The object arrived by replication, and the source does not accept that."""
    APPEND = "APPEND"
    """The object was appended to and may grow, and the source does not accept that."""
    TEST_EVENT = "TEST_EVENT"
    """The sender only tried whether it gets through."""
    SUBSCRIPTION = "SUBSCRIPTION"
    """A topic tells of its subscription, not of an object."""
    FOLDER = "FOLDER"
    """A directory of a store that keeps them as entries."""
    NOT_AN_OBJECT = "NOT_AN_OBJECT"
    """The store's own file: a part of an upload, an old version, its bookkeeping."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something understood that is not a sighting. `event_name` is what the sender called it, or empty."""

    reason: DropReason
    event_name: str = ""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a body means. `undecodable` holds a reason for each part that means nothing to us, `formats` as
    which each event was read.
    """

    events: tuple[ObjectEvent, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    undecodable: tuple[str, ...] = ()
    formats: tuple[Format, ...] = field(default=(), compare=False)

    def __add__(self, other: Decoded) -> Decoded:
        return Decoded(
            self.events + other.events,
            self.dropped + other.dropped,
            self.undecodable + other.undecodable,
            self.formats + other.formats,
        )

"""A file of a folder waits for its object: it starts once the bucket has it, and not for an earlier one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.core.events import FILE_WRITTEN, ObjectEvent
from dispatcher.ledger import sightings
from dispatcher.ports import Batch
from dispatcher.service.deciding import Deciding
from dispatcher.sources.store import ObjectHead
from tests.service.conftest import lines
from tests.service.fakes import MODIFIED

if TYPE_CHECKING:
    import threading

    from tests.service.conftest import Log, Scene

KEY = "in/a.mp4"


@dataclass
class Bucket:
    """Answers HEAD."""

    objects: dict[str, ObjectHead] = field(default_factory=dict)

    def head(self, key: str, stop: threading.Event) -> ObjectHead | None:
        return self.objects.get(key)


@dataclass
class Mirror:
    """A folder's sightings, and the bucket that its files are carried to."""

    scene: Scene
    bucket: Bucket
    deciding: Any

    def write(self, size: int, event_name: str = FILE_WRITTEN) -> None:
        event = ObjectEvent("b", KEY, None, size, None, event_name, "folder:media")
        self.scene.intake().take(Batch([event]))

    def arrives(self, etag: str, size: int, *, growing: bool = False) -> None:
        self.bucket.objects[KEY] = ObjectHead(etag, size, MODIFIED, growing)

    def decide(self, later: timedelta = timedelta(0)) -> list[tuple[str, int]]:
        """Let time pass and decide what is due; return what is recorded."""
        self.scene.clock.now += later
        self.deciding.tick()
        return [(row.etag, row.size) for row in self.scene.rows()]

    def waiting(self) -> int:
        with self.scene.ledger.read() as tx:
            return sightings.waiting(tx)


@pytest.fixture
def mirror(scene: Scene) -> Mirror:
    bucket = Bucket()
    stores: Any = {"b": bucket}
    return Mirror(scene, bucket, Deciding(scene.ledger, stores, scene.intake(), scene.clock, scene.stop))


def test_a_file_is_recorded_once_its_object_is_in_the_bucket(mirror: Mirror) -> None:
    mirror.write(7)
    assert mirror.decide() == []
    mirror.arrives("e1", 7)
    assert mirror.decide(timedelta(minutes=5)) == [("e1", 7)]
    assert mirror.waiting() == 0


def test_an_earlier_object_of_the_same_key_is_no_answer(mirror: Mirror) -> None:
    mirror.arrives("old", 3)
    mirror.write(7)
    assert mirror.decide() == []
    mirror.arrives("new", 7)
    assert mirror.decide(timedelta(minutes=5)) == [("new", 7)]


def test_a_notification_is_answered_by_whatever_is_there(mirror: Mirror) -> None:
    mirror.arrives("e1", 3)
    mirror.write(7, event_name="ObjectCreated:PutObject")
    assert mirror.decide() == [("e1", 3)]


def test_a_file_waits_for_a_day_and_no_longer(mirror: Mirror, log: Log) -> None:
    mirror.write(7)
    mirror.decide()
    assert mirror.decide(timedelta(hours=23)) == []
    assert mirror.waiting() == 1
    mirror.decide(timedelta(hours=2))
    assert mirror.waiting() == 0
    assert [line["key"] for line in lines(log, "sighting.gone")] == [KEY]


def test_an_appendable_object_waits_until_it_is_still(mirror: Mirror) -> None:
    mirror.write(7)
    mirror.arrives("e1", 7, growing=True)
    mirror.decide()
    [row] = mirror.scene.rows()
    assert row.next_at is not None
    assert row.next_at > mirror.scene.clock()

"""What a folder brings, file by file, on a real file system with real inotify; time is moved by hand."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, InotifyFD, WatchDescriptor

from dispatcher import mounts
from dispatcher.core.events import FILE_WRITTEN, encode_key
from dispatcher.core.segments import SegmentTuning
from dispatcher.core.settings import FolderSettings
from dispatcher.errors import FolderError
from dispatcher.ledger import snapshots
from dispatcher.ledger.snapshots import LedgerSnapshots
from dispatcher.sources import folder, watch
from dispatcher.sources.folder import FolderSource
from dispatcher.sources.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dispatcher.core.events import ObjectEvent
    from dispatcher.ports import Batch

SETTLE = 10.0
LIMIT = 10.0


@dataclass
class Clock:
    """The real time, and how far it was moved."""

    moved: float = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.moved)

    def monotonic(self) -> float:
        return time.monotonic() + self.moved


@dataclass
class Desk:
    """A folder, its source, and a consumer that commits as intake does."""

    root: Path
    ledger: Any
    clock: Clock = field(default_factory=Clock)
    polling: bool | None = False
    prefix: str = "incoming/"
    tuning: SegmentTuning = field(default_factory=SegmentTuning)
    stop: threading.Event = field(default_factory=threading.Event)
    brought: list[ObjectEvent] = field(default_factory=list)
    source: FolderSource = field(init=False)

    def open(self, **kwargs: Any) -> FolderSource:
        """Begin as a new process would."""
        self.source = FolderSource(
            FolderSettings(
                "folder:media",
                self.root,
                "my-media",
                self.prefix,
                scan_every=timedelta(minutes=10),
                settle=timedelta(seconds=SETTLE),
                polling=self.polling,
            ),
            LedgerSnapshots(self.ledger),
            revision=7,
            tuning=self.tuning,
            clock=self.clock.now,
            monotonic=self.clock.monotonic,
            **kwargs,
        )
        return self.source

    def commit(self, batch: Batch) -> None:
        with self.ledger.write() as tx:
            if batch.progress is not None:
                snapshots.apply(tx, batch.progress)
        batch.ack()
        self.brought += batch.events

    def look(self) -> list[str]:
        """Look once; return the keys that came."""
        before = len(self.brought)
        for batch in self.source.look(self.stop):
            self.commit(batch)
        return [event.key for event in self.brought[before:]]

    def until(self, *keys: str) -> None:
        """Look until these keys came, and nothing else."""
        wanted, came = sorted(keys), list[str]()
        deadline = time.monotonic() + LIMIT
        while len(came) < len(wanted) and time.monotonic() < deadline:
            came += self.look()
            self.stop.wait(0.01)
        assert sorted(came) == wanted

    def pass_settle(self) -> None:
        """Let what was heard come in, then let the time of settling go by."""
        self.hear()
        self.clock.moved += SETTLE + 2

    def hear(self) -> None:
        """Wait until everything that happened so far has been heard, by a file that tells of itself."""
        if self.polling:
            self.brought_keys(self.look())
            return
        bell = self.root / f"bell-{time.monotonic_ns()}"
        bell.touch()
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            if f"{self.prefix}{bell.name}" in self.look():
                break
            self.stop.wait(0.01)
        else:
            pytest.fail("nothing was heard")
        bell.unlink()
        self.brought[:] = [event for event in self.brought if not event.key.startswith(f"{self.prefix}bell-")]

    def brought_keys(self, _: list[str]) -> list[str]:
        return sorted(event.key for event in self.brought)

    def scan(self) -> list[str]:
        """Make a scan, whenever it is due."""
        self.clock.moved += 3_600
        return self.look()


@pytest.fixture
def desk(tmp_path: Path, make_world: Callable[..., Any]) -> Iterator[Desk]:
    root = tmp_path / "media"
    root.mkdir()
    made = Desk(root, make_world().ledger)
    made.open()
    yield made
    made.source.close()


def write(path: Path, body: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)


# -- what comes, and when ---------------------------------------------------------------------------


def test_what_lay_there_before_does_not_come(desk: Desk) -> None:
    write(desk.root / "old.mp4")
    desk.clock.moved += 60
    assert desk.look() == []
    assert desk.scan() == []


def test_what_lay_there_comes_as_existing_where_a_rule_wants_it(desk: Desk) -> None:
    write(desk.root / "old.mp4")
    desk.clock.moved += 60
    desk.open(existing_wanted=True)
    assert desk.look() == ["incoming/old.mp4"]
    assert desk.brought[0].known_revision == 0
    assert desk.scan() == []


@pytest.mark.parametrize("polling", [False, True])
def test_a_new_file_is_the_sighting_of_an_object_whose_content_is_not_known(desk: Desk, polling: bool) -> None:
    desk.polling = polling
    desk.open()
    desk.look()
    (desk.root / "a").mkdir()
    desk.hear()  # a file that is written before its new folder is watched comes later, when it is still
    write(desk.root / "a" / "b.mp4", b"12345")
    if polling:
        desk.pass_settle()
    desk.until("incoming/a/b.mp4")
    [event] = desk.brought
    assert (event.bucket, event.etag, event.size, event.source) == ("my-media", None, 5, "folder:media")
    assert (event.event_name, event.known_revision) == (FILE_WRITTEN, None)
    assert not event.decided


@pytest.mark.parametrize("polling", [False, True])
def test_a_file_comes_once(desk: Desk, polling: bool) -> None:
    desk.polling = polling
    desk.open()
    desk.look()
    write(desk.root / "once.mp4")
    desk.pass_settle()
    assert {*desk.look(), *desk.brought_keys([])} == {"incoming/once.mp4"}
    for _ in range(3):
        assert desk.scan() == []
    assert len(desk.brought) == 1


def test_a_file_does_not_come_while_its_writer_has_it_open(desk: Desk) -> None:
    desk.look()
    with (desk.root / "slow.mp4").open("wb") as file:
        for _ in range(3):
            file.write(b"x" * 100)
            file.flush()
            desk.hear()
            assert desk.brought == []
    desk.until("incoming/slow.mp4")
    assert desk.brought[0].size == 300


@pytest.mark.parametrize("polling", [False, True])
def test_without_hearing_of_its_end_a_file_comes_once_it_is_still(desk: Desk, polling: bool) -> None:
    desk.polling = polling
    desk.open()
    desk.look()
    with (desk.root / "slow.mp4").open("wb") as file:
        for step in range(3):
            file.write(b"x" * 100)
            file.flush()
            # The file's times are the kernel's; the test's time is moved with them.
            stamp = desk.clock.now().timestamp()
            os.utime(desk.root / "slow.mp4", (stamp, stamp))
            desk.hear()
            desk.clock.moved += SETTLE * 0.8
            assert desk.look() == [], step
        for _ in range(3):
            desk.clock.moved += SETTLE
            desk.look()
        assert [event.size for event in desk.brought] == [300]


def test_an_atomic_rename_brings_the_last_name_alone(desk: Desk) -> None:
    desk.look()
    desk.hear()
    temporary = desk.root / ".upload.tmp"
    temporary.write_bytes(b"whole")
    temporary.rename(desk.root / "film.mp4")
    desk.until("incoming/film.mp4")


def test_a_rename_from_outside_and_one_inside_the_tree_come(desk: Desk, tmp_path: Path) -> None:
    desk.look()
    write(tmp_path / "outside.mp4")
    (tmp_path / "outside.mp4").rename(desk.root / "inside.mp4")
    desk.until("incoming/inside.mp4")
    (desk.root / "inside.mp4").rename(desk.root / "renamed.mp4")
    desk.until("incoming/renamed.mp4")


def test_a_file_moved_away_before_it_was_looked_at_does_not_come(desk: Desk, tmp_path: Path) -> None:
    desk.look()
    write(desk.root / "short.mp4")
    (desk.root / "short.mp4").unlink()
    desk.pass_settle()
    desk.look()
    assert desk.brought == []


def test_a_hard_link_comes_once_it_is_still(desk: Desk, tmp_path: Path) -> None:
    desk.look()
    write(tmp_path / "outside.mp4")
    (desk.root / "linked.mp4").hardlink_to(tmp_path / "outside.mp4")
    desk.hear()
    assert desk.brought == []
    desk.clock.moved += SETTLE + 1
    assert desk.look() == ["incoming/linked.mp4"]


@pytest.mark.parametrize("how", ["rename", "make"])
def test_a_directory_that_comes_with_its_files_brings_them_all(desk: Desk, tmp_path: Path, how: str) -> None:
    desk.look()
    target = desk.root / "day"
    place = tmp_path / "outside" if how == "rename" else target
    for number in range(20):
        write(place / f"{number % 3}" / f"{number}.mp4")
    if how == "rename":
        place.rename(target)
    desk.pass_settle()
    desk.look()
    assert {event.key for event in desk.brought} == {f"incoming/day/{n % 3}/{n}.mp4" for n in range(20)}


def test_an_overwritten_file_comes_again_and_new_permissions_do_not_bring_it(desk: Desk) -> None:
    desk.look()
    write(desk.root / "a.mp4", b"one")
    desk.until("incoming/a.mp4")
    assert desk.scan() == []
    (desk.root / "a.mp4").chmod(0o600)
    desk.hear()
    assert desk.scan() == []
    write(desk.root / "a.mp4", b"two")
    desk.until("incoming/a.mp4")


def test_a_file_that_was_written_just_before_the_start_comes_once_it_is_still(desk: Desk) -> None:
    write(desk.root / "young.mp4")
    assert desk.look() == []
    desk.clock.moved += SETTLE + 1
    assert desk.look() == ["incoming/young.mp4"]
    assert desk.scan() == []


# -- names and links --------------------------------------------------------------------------------


@pytest.mark.parametrize("polling", [False, True])
def test_every_name_becomes_the_key_of_its_bytes(desk: Desk, polling: bool) -> None:
    desk.polling = polling
    desk.open()
    desk.look()
    names = [
        b"plain.mp4", b"with space.mp4", b"plus+%41&<>\"'.mp4", "日本語-🎬.mp4".encode(), b"line\nfeed\t\x01.mp4",
        b"not-utf8-\xff\xfe.mp4", b"back\\slash.mp4", b"...", b" ", b"sub\xe9/..mp4",
    ]  # fmt: skip
    for name in names:
        path = os.fsencode(desk.root) + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - Path has no bytes
        with open(path, "wb") as file:  # noqa: PTH123 - as above
            file.write(b"x")
    desk.pass_settle()
    desk.look()
    expected = sorted(b"incoming/" + name for name in names)
    assert sorted(encode_key(event.key) for event in desk.brought) == expected
    assert desk.scan() == []


@pytest.mark.parametrize("polling", [False, True])
def test_symbolic_links_are_not_followed(desk: Desk, tmp_path: Path, polling: bool) -> None:
    desk.polling = polling
    desk.open()
    secret = tmp_path / "secret"
    write(secret / "key.mp4")
    (desk.root / "before").symlink_to(secret)
    desk.look()
    (desk.root / "directory").symlink_to(secret)
    (desk.root / "file.mp4").symlink_to(secret / "key.mp4")
    (desk.root / "up").symlink_to("..")
    os.mkfifo(desk.root / "pipe.mp4")
    write(secret / "later.mp4")
    write(desk.root / "real.mp4")
    desk.pass_settle()
    desk.look()
    desk.scan()
    assert {event.key for event in desk.brought} == {"incoming/real.mp4"}


@pytest.mark.parametrize(
    "path", [b"link/key.mp4", b"../secret/key.mp4", b"a/../../secret/key.mp4", b"/etc/passwd", b"", b".", b"a//b"]
)
def test_nothing_outside_the_tree_is_ever_looked_at(tmp_path: Path, path: bytes) -> None:
    root = tmp_path / "media"
    (root / "a").mkdir(parents=True)
    write(tmp_path / "secret" / "key.mp4")
    (root / "link").symlink_to(tmp_path / "secret")
    assert Tree(root).state(path) is None


def test_a_directory_that_is_swapped_for_a_link_during_a_scan_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "media"
    write(root / "a" / "inside.mp4")
    write(tmp_path / "secret" / "key.mp4")
    real = os.open

    def swap(path: Any, *args: Any, **kwargs: Any) -> int:
        if path == "a":
            (root / "a").rename(tmp_path / "away")
            (root / "a").symlink_to(tmp_path / "secret")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", swap)
    assert list(Tree(root).walk()) == []


def test_a_file_whose_key_would_be_too_long_is_passed_over(desk: Desk) -> None:
    desk.prefix = "p" * 900 + "/"
    desk.open()
    desk.look()
    write(desk.root / ("n" * 122))
    write(desk.root / ("m" * 123))
    desk.until(desk.prefix + "n" * 122)
    assert desk.scan() == []


# -- what may go wrong ------------------------------------------------------------------------------


def test_after_a_restart_only_what_was_written_meanwhile_comes(desk: Desk) -> None:
    write(desk.root / "old.mp4")
    desk.clock.moved += 60
    desk.look()
    write(desk.root / "seen.mp4")
    desk.until("incoming/seen.mp4")
    desk.scan()
    desk.source.close()
    write(desk.root / "meanwhile.mp4")
    desk.clock.moved += 60
    desk.open()
    assert desk.look() == ["incoming/meanwhile.mp4"]


@pytest.mark.parametrize("polling", [False, True])
def test_what_was_not_committed_comes_again(desk: Desk, polling: bool) -> None:
    desk.polling = polling
    desk.open()
    desk.look()
    write(desk.root / "a.mp4")
    deadline = time.monotonic() + LIMIT
    lost: list[str] = []
    while not lost and time.monotonic() < deadline:
        if polling:
            desk.clock.moved += SETTLE
        for batch in desk.source.look(desk.stop):
            lost += [event.key for event in batch.events]
            if batch.events:
                break  # the process ends before the commit
            desk.commit(batch)
    assert lost == ["incoming/a.mp4"]
    desk.source.close()
    desk.clock.moved += 60
    desk.open()
    assert desk.look() == ["incoming/a.mp4"]


def test_a_full_queue_of_the_kernel_makes_a_scan(desk: Desk) -> None:
    desk.look()
    write(desk.root / "unheard.mp4")
    desk.clock.moved += SETTLE + 2
    heard = desk.source._watch
    assert heard is not None
    deadline = time.monotonic() + LIMIT
    while not heard.take()[0] and time.monotonic() < deadline:
        desk.stop.wait(0.01)
    assert desk.look() == []
    heard._descriptor.handle_event(InotifyEvent(WatchDescriptor(-1), InotifyConstants.IN_Q_OVERFLOW, 0, b""))
    assert desk.look() == ["incoming/unheard.mp4"]
    write(desk.root / "heard.mp4")
    desk.until("incoming/heard.mp4")


def test_more_paths_than_are_kept_make_a_scan(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MOST_PATHS", 3)
    desk.look()
    for number in range(10):
        write(desk.root / f"{number}.mp4")
    desk.clock.moved += SETTLE + 2
    desk.until(*(f"incoming/{number}.mp4" for number in range(10)))


def test_where_a_directory_cannot_be_watched_scans_are_frequent(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.root / "sub").mkdir()
    real = InotifyFD.add_callback

    def full(self: Any, path: bytes, *args: Any) -> Any:
        if path.endswith(b"sub"):
            raise OSError(errno.ENOSPC, "inotify watch limit reached")
        return real(self, path, *args)

    monkeypatch.setattr(InotifyFD, "add_callback", full)
    desk.look()
    write(desk.root / "sub" / "a.mp4")
    desk.clock.moved += SETTLE + folder.LEAST_PAUSE
    assert desk.look() == ["incoming/sub/a.mp4"]


def test_a_folder_that_is_not_there_says_so_and_is_taken_up_when_it_comes(desk: Desk, tmp_path: Path) -> None:
    desk.look()
    desk.root.rename(tmp_path / "away")
    with pytest.raises(FolderError, match="cannot be read") as raised:
        desk.scan()
    assert "mounted" in raised.value.hint
    (tmp_path / "away").rename(desk.root)
    write(desk.root / "a.mp4")
    desk.clock.moved += 60
    assert desk.scan() == ["incoming/a.mp4"]
    write(desk.root / "b.mp4")
    desk.until("incoming/b.mp4")


def test_a_disk_that_was_not_mounted_for_a_while_brings_nothing_again(desk: Desk, tmp_path: Path) -> None:
    for number in range(20):
        write(desk.root / f"{number}.mp4")
    desk.clock.moved += 60
    desk.look()
    desk.root.rename(tmp_path / "away")
    desk.root.mkdir()
    for _ in range(4):
        assert desk.scan() == []
    desk.root.rmdir()
    (tmp_path / "away").rename(desk.root)
    assert desk.scan() == []
    write(desk.root / "new.mp4")
    desk.until("incoming/new.mp4")


def test_a_directory_that_may_not_be_read_is_passed_over(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.root / "lost+found").mkdir()
    real = os.open

    def deny(path: Any, *args: Any, **kwargs: Any) -> int:
        if path == "lost+found":
            raise PermissionError(errno.EACCES, "denied")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", deny)
    desk.look()
    write(desk.root / "a.mp4")
    desk.clock.moved += 60
    desk.until("incoming/a.mp4")
    assert desk.scan() == []
    assert desk.source._scans.report.complete


def test_a_disk_that_fails_to_read_forgets_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    write(desk.root / "sub" / "old.mp4")
    desk.clock.moved += 60
    desk.look()
    real = os.open

    def fail(path: Any, *args: Any, **kwargs: Any) -> int:
        if path == "sub":
            raise OSError(errno.EIO, "broken")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", fail)
    for _ in range(4):
        with pytest.raises(FolderError):
            desk.scan()
    monkeypatch.undo()
    assert desk.scan() == []


@pytest.mark.parametrize(("kind", "watched"), [("ext4", True), ("nfs4", False), ("fuse.ossfs", False), ("9p", False)])
def test_the_file_system_decides_whether_to_listen(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, watched: bool
) -> None:
    table = tmp_path / "mounts"
    table.write_text(f"1 0 0:1 / / rw - {kind} server:/x rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", table)
    desk.polling = None
    desk.open()
    desk.look()
    assert (desk.source._watch is not None) == watched
    assert desk.source._pause(0.1) == (600 if watched else folder.LEAST_PAUSE)
    assert desk.source._pause(7.0) == (600 if watched else 70)
    assert desk.source._pause(1e6) == 600


@pytest.mark.parametrize("polling", [False, True])
def test_a_stop_ends_it_promptly_and_closes_what_is_open(desk: Desk, polling: bool) -> None:
    desk.polling = polling
    source = desk.open()
    first = threading.Event()

    def consume() -> None:
        for batch in source.batches(desk.stop):
            desk.commit(batch)
            first.set()

    thread = threading.Thread(target=consume)
    thread.start()
    assert first.wait(LIMIT)
    desk.stop.set()
    thread.join(2.0)
    assert not thread.is_alive()
    assert source._watch is None


# -- a random life ----------------------------------------------------------------------------------


class Life:
    """Random operations on a tree, and what is true of it: the settled files and when each last changed."""

    def __init__(self, desk: Desk, dice: random.Random) -> None:
        self.desk, self.dice = desk, dice
        self.count = 0

    def files(self) -> list[Path]:
        return sorted(path for path in self.desk.root.rglob("*") if path.is_file() and not path.name.startswith("bell"))

    def path(self) -> Path:
        folder = self.dice.choice(["", "a", "a/b", "a-b", "z é"])
        return self.desk.root / folder / f"{self.dice.randrange(30):02}.mp4"

    def step(self) -> None:
        files = self.files()
        self.count += 1
        body = b"x" * self.count  # a size of its own for each content
        match self.dice.randrange(8):
            case 0 | 1 | 2:
                write(self.path(), body)
            case 3:
                temporary = self.desk.root / "tmp"
                write(temporary, body)
                target = self.path()
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary.rename(target)
            case 4 if files:
                write(self.dice.choice(files), body)
            case 5 if files:
                self.dice.choice(files).unlink()
            case 6 if files:
                target = self.path()
                target.parent.mkdir(parents=True, exist_ok=True)
                self.dice.choice(files).rename(target)
            case 7 if files and (self.desk.root / "a").is_dir():
                name = self.desk.root / f"moved{self.count}"
                (self.desk.root / "a").rename(name)
            case _:
                write(self.path(), body)

    def contents(self) -> set[tuple[str, int]]:
        return {(f"{self.desk.prefix}{path.relative_to(self.desk.root)}", path.stat().st_size) for path in self.files()}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("polling", [False, True])
def test_a_random_life_loses_nothing_and_brings_nothing_old(desk: Desk, polling: bool, seed: int) -> None:
    dice = random.Random(f"{polling}{seed}")
    desk.polling = polling
    desk.open()
    life = Life(desk, dice)
    for _ in range(30):
        life.step()
    desk.clock.moved += 60
    old = life.contents()
    desk.look()
    assert desk.brought == []
    for _ in range(15):
        desk.tuning = replace(desk.tuning, target=dice.randrange(1, 20), page=dice.randrange(3, 11))
        if dice.random() < 0.3:
            desk.source.close()
            desk.open()
        for _ in range(dice.randrange(12)):
            life.step()
            if dice.random() < 0.2:
                desk.look()
        if dice.random() < 0.5:
            desk.pass_settle()
        desk.look()
        desk.scan()
        desk.scan()
        came = {(event.key, event.size) for event in desk.brought}
        there = life.contents()
        assert not there - came - old, "lost"
        # A rename is no new writing, but it makes a new key.
        assert not {(key, size) for key, size in came if (key, size) in old}, "brought what lay there before"
    desk.source.close()

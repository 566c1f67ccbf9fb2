from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from dispatcher import mounts
from dispatcher.core.dispatch import content_identity, dispatch_id
from dispatcher.ledger import browse, recording, snapshot_tables, upgrading
from dispatcher.ledger.browse import Selector
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.failures import (
    LedgerDamagedError,
    LedgerFullError,
    LedgerLockedError,
    LedgerPlaceError,
    LedgerVersionError,
)
from dispatcher.ledger.metadata import metadata
from dispatcher.ledger.recording import NewDispatch

if TYPE_CHECKING:
    from datetime import datetime


def items(count: int, rule: str = "r") -> list[NewDispatch]:
    return [
        NewDispatch(
            dispatch_id(rule, "b", f"k{i}", content_identity("e", i)), rule, "b", f"k{i}", "e", i, "", "poll", None
        )
        for i in range(count)
    ]


def recorded(ledger: Ledger) -> int:
    with ledger.read() as tx:
        return browse.count(tx, Selector())


def test_the_migrated_schema_is_that_of_the_tables(ledger: Ledger) -> None:
    assert snapshot_tables.__name__  # its tables are part of the metadata
    with ledger.read() as tx:
        assert compare_metadata(MigrationContext.configure(tx), metadata) == []
        assert upgrading.revision_of(tx) == upgrading.HEAD
    assert ledger.current() == upgrading.HEAD


def test_a_new_file_is_durable_and_has_large_pages(ledger: Ledger) -> None:
    with ledger.write() as tx:
        assert tx.scalar(text("PRAGMA page_size")) == 16384
        assert tx.scalar(text("PRAGMA journal_mode")) == "wal"
        assert tx.scalar(text("PRAGMA synchronous")) == 2
        assert tx.scalar(text("PRAGMA foreign_keys")) == 1


def test_what_was_committed_is_there_after_opening_again(url: str, now: datetime) -> None:
    first = Ledger.open(url)
    with first.write() as tx:
        recording.record(tx, items(3), now)
    first.close()
    second = Ledger.open(url)
    assert recorded(second) == 3
    second.close()


def test_a_transaction_that_fails_leaves_nothing(ledger: Ledger, now: datetime) -> None:
    def fail() -> None:
        with ledger.write() as tx:
            recording.record(tx, items(3), now)
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert recorded(ledger) == 0


def test_a_reader_cannot_write(ledger: Ledger, url: str, now: datetime) -> None:
    reader = Ledger.open(url, readonly=True)
    with pytest.raises(LedgerPlaceError, match="cannot be opened for writing"), reader.read() as tx:
        recording.record(tx, items(1), now)
    reader.close()
    assert recorded(ledger) == 0


def test_reading_goes_on_while_another_connection_writes(ledger: Ledger, url: str, now: datetime) -> None:
    other = Ledger.open(url)
    with ledger.write() as tx:
        recording.record(tx, items(5), now)
        assert recorded(other) == 0
    assert recorded(other) == 5
    other.close()


def test_a_second_writer_is_told_that_the_ledger_is_locked(
    ledger: Ledger, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.ledger.engine.BUSY_TIMEOUT_MS", 1)
    other = Ledger.open(url)
    with ledger.write(), pytest.raises(LedgerLockedError) as caught, other.write():
        pass
    other.close()
    assert caught.value.passing
    assert "BEGIN" not in caught.value.message


def test_a_full_disk_says_so_and_loses_nothing(ledger: Ledger, now: datetime) -> None:
    with ledger.write() as tx:
        recording.record(tx, items(10), now)
        pages = tx.scalar(text("PRAGMA page_count"))
        tx.execute(text(f"PRAGMA max_page_count={pages}"))
    with pytest.raises(LedgerFullError) as caught, ledger.write() as tx:
        recording.record(tx, items(1000), now)
    assert caught.value.passing
    assert "INSERT" not in caught.value.message.upper()
    assert "room" in caught.value.hint
    assert recorded(ledger) == 10
    with ledger.write() as tx:
        tx.execute(text("PRAGMA max_page_count=1000000"))
    with ledger.write() as tx:
        assert len(recording.record(tx, items(1000), now).inserted) == 990


def test_a_file_size_limit_is_a_full_disk(tmp_path: Path) -> None:
    script = """
        import resource, signal, sys
        from datetime import UTC, datetime
        from dispatcher.ledger.engine import Ledger
        from dispatcher.ledger.failures import LedgerFullError
        from dispatcher.ledger import recording
        from dispatcher.ledger.recording import NewDispatch
        from dispatcher.core.dispatch import dispatch_id

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        ledger = Ledger.open(f"sqlite:///{sys.argv[1]}/ledger.db")
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
        now = datetime.now(UTC)
        for batch in range(100):
            rows = [
                NewDispatch(dispatch_id("r", "b", key, "c"), "r", "b", key, "e", 7, "", "poll", None)
                for key in (f"{batch}/{i}" for i in range(500))
            ]
            try:
                with ledger.write() as tx:
                    recording.record(tx, rows, now)
            except LedgerFullError:
                print("full", batch)
                break
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], capture_output=True, text=True, check=True
    )
    word, batches = done.stdout.split()
    assert word == "full"
    reopened = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    assert recorded(reopened) == int(batches) * 500
    reopened.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"not a database at all, but longer than a header " * 500)
    with pytest.raises(LedgerDamagedError) as caught:
        Ledger.open(f"sqlite:///{path}")
    assert str(path) in caught.value.message
    assert "backup" in caught.value.hint
    assert path.read_bytes().startswith(b"not a database")


def test_a_page_that_is_damaged_is_found_during_work(url: str, tmp_path: Path, now: datetime) -> None:
    ledger = Ledger.open(url)
    with ledger.write() as tx:
        recording.record(tx, items(1000), now)
        root = tx.scalar(text("SELECT rootpage FROM sqlite_master WHERE name = 'dispatches'"))
    ledger.close()
    with (tmp_path / "ledger.db").open("r+b") as file:
        file.seek((root - 1) * 16384)
        file.write(b"\xff" * 16384)
    damaged = Ledger.open(url)
    with pytest.raises(LedgerDamagedError), damaged.read() as tx:
        tx.execute(text("SELECT sum(size) FROM dispatches")).all()
    damaged.close()


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE songs (title TEXT)")
    other.close()
    with pytest.raises(LedgerDamagedError, match="not a ledger"):
        Ledger.open(f"sqlite:///{path}")


@pytest.mark.parametrize("options", [{}, {"upgrade": False}, {"readonly": True}])
def test_a_ledger_from_the_future_is_refused(ledger: Ledger, url: str, options: dict[str, bool]) -> None:
    with ledger.write() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerVersionError, match="9999"):
        Ledger.open(url, **options)


def test_an_older_ledger_is_copied_before_it_is_upgraded(
    ledger: Ledger, url: str, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ledger.write() as tx:
        recording.record(tx, items(7), now)
        tx.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    monkeypatch.setattr(upgrading, "UPGRADABLE", frozenset({"0000", upgrading.HEAD}))
    monkeypatch.setattr("alembic.command.upgrade", lambda *_: None)
    Ledger.open(url).close()
    with sqlite3.connect(tmp_path / "ledger.db.before-0000") as copy:
        assert copy.execute("SELECT count(*) FROM dispatches").fetchone() == (7,)
    copy.close()


def test_a_reader_of_an_older_ledger_is_told_to_upgrade(
    ledger: Ledger, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ledger.write() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    monkeypatch.setattr(upgrading, "UPGRADABLE", frozenset({"0000", upgrading.HEAD}))
    with pytest.raises(LedgerVersionError) as caught:
        Ledger.open(url, readonly=True)
    assert "db upgrade" in caught.value.hint
    other = Ledger.open(url, upgrade=False)
    assert other.current() == "0000"
    other.close()


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("sqlite://", "needs a file"),
        ("sqlite:////does/not/exist/ledger.db", "does not exist"),
        ("postgresql://user:secret@host/db", "not supported"),
        ("nonsense secret", "not a database URL"),
    ],
)
def test_a_place_that_cannot_hold_a_ledger_is_refused(bad: str, says: str) -> None:
    with pytest.raises(LedgerPlaceError, match=says) as caught:
        Ledger.open(bad)
    assert "secret" not in caught.value.message


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != tmp_path)
    with pytest.raises(LedgerPlaceError, match="cannot be written"):
        Ledger.open(f"sqlite:///{tmp_path}/ledger.db")


def test_a_missing_ledger_cannot_be_read(url: str) -> None:
    with pytest.raises(LedgerPlaceError, match="no ledger"):
        Ledger.open(url, readonly=True)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_file_system_is_refused(tmp_path: Path, url: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mounts"
    folder = str(tmp_path).replace(" ", "\\040")
    table.write_text(
        f"1 0 0:1 / / rw - ext4 /dev/sda rw\n2 1 0:2 / {folder} rw,relatime shared:1 - {kind} server:/x rw\n"
    )
    monkeypatch.setattr(mounts, "MOUNTS", table)
    with pytest.raises(LedgerPlaceError, match="network file system"):
        Ledger.open(url)
    table.write_text(f"2 1 0:2 / {folder} rw - {kind} server:/x rw\n3 2 0:3 / {folder} rw - ext4 /dev/sdb rw\n")
    Ledger.open(url).close()


def test_a_backup_taken_while_others_write_is_complete(ledger: Ledger, tmp_path: Path, now: datetime) -> None:
    with ledger.write() as tx:
        recording.record(tx, items(500), now)
    with ledger.write() as tx:
        recording.record(tx, items(500, "r2"), now)
        ledger.backup(tmp_path / "copy.db")
    copy = Ledger.open(f"sqlite:///{tmp_path}/copy.db")
    assert recorded(copy) == 500
    copy.close()
    with pytest.raises(LedgerPlaceError, match="exists already"):
        ledger.backup(tmp_path / "copy.db")


def test_a_backup_that_fails_leaves_no_half_file(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(LedgerPlaceError):
        ledger.backup(tmp_path / "missing" / "copy.db")
    assert not list(tmp_path.glob("**/*.part"))


def test_two_processes_create_one_ledger(tmp_path: Path) -> None:
    script = "import sys; from dispatcher.ledger.engine import Ledger; Ledger.open(sys.argv[1]).close()"
    url = f"sqlite:///{tmp_path}/ledger.db"
    running = [
        subprocess.Popen([sys.executable, "-c", script, url], stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for each in running:
        _, errors = each.communicate(timeout=60)
        assert (each.returncode, errors) == (0, "")


def test_a_kill_inside_a_transaction_leaves_all_or_nothing(tmp_path: Path, now: datetime) -> None:
    script = """
        import sys
        from datetime import UTC, datetime
        from dispatcher.ledger.engine import Ledger
        from dispatcher.ledger import recording
        from dispatcher.ledger.recording import NewDispatch
        from dispatcher.core.dispatch import dispatch_id

        ledger = Ledger.open(sys.argv[1])
        for batch in range(2):
            rows = [
                NewDispatch(dispatch_id("r", "b", key, "c"), "r", "b", key, "e", 7, "", "poll", None)
                for key in (f"{batch}/{i}" for i in range(500))
            ]
            with ledger.write() as tx:
                recording.record(tx, rows, datetime.now(UTC))
                if batch:
                    print("inside", flush=True)
                    sys.stdin.read()
    """
    url = f"sqlite:///{tmp_path}/ledger.db"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "inside\n"
        victim.send_signal(signal.SIGKILL)
        victim.wait(60)
    ledger = Ledger.open(url)
    assert recorded(ledger) == 500
    with ledger.write() as tx:
        assert len(recording.record(tx, items(3), now).inserted) == 3
    ledger.close()

"""Opening the configured ledger for a command, and closing it again."""

from __future__ import annotations

from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatcher.core.settings import Settings
    from dispatcher.ledger.engine import Ledger


def now() -> datetime:
    """Return the time of the machine: the one clock of the commands."""
    return datetime.now(UTC)


@contextmanager
def reading(settings: Settings) -> Iterator[Ledger]:
    """Open the ledger for reading only. Raises LedgerError, also when there is none yet."""
    from dispatcher.ledger.engine import Ledger  # noqa: PLC0415 - SQLAlchemy and Alembic

    with closing(Ledger.open(settings.ledger.url, readonly=True)) as ledger:
        yield ledger


@contextmanager
def writing(settings: Settings) -> Iterator[Ledger]:
    """Open an existing ledger for an operator's change; the daemon may run. Raises LedgerError."""
    with reading(settings):
        pass  # a ledger is made by `run` and `db upgrade`, not by a mistyped path of an operator
    from dispatcher.ledger.engine import Ledger  # noqa: PLC0415 - as above

    with closing(Ledger.open(settings.ledger.url)) as ledger:
        yield ledger

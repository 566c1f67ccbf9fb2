"""The schema's revision: which ledgers this version accepts, and how it brings them up to date."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from dispatcher.ledger.failures import LedgerDamagedError, LedgerVersionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

HEAD = "0002"
"""Revision of this version."""
UPGRADABLE = frozenset({"0001", HEAD})
"""Revisions that this version and the one before it wrote: these are accepted."""


def revision_of(tx: Connection) -> str | None:
    """Return the revision of the ledger's schema; None if there is no schema yet."""
    # Asked without Alembic: a command that only reads need not load it.
    if not inspect(tx).has_table("alembic_version"):
        return None
    revision: str | None = tx.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def check_known(tx: Connection, where: str) -> bool:
    """Tell whether the schema is that of this version. Raises LedgerError if it can never be."""
    revision = revision_of(tx)
    if revision is None:
        if inspect(tx).get_table_names():
            raise LedgerDamagedError(f"{where} is a database, but not a ledger", hint="name another file in ledger.url")
        return False
    if revision not in UPGRADABLE:
        raise LedgerVersionError(
            f"the ledger {where} has revision {revision}, which this version does not accept (it knows {HEAD})",
            hint="run the version that wrote it or a newer one; from a much older version upgrade step by step",
        )
    return revision == HEAD


def check_current(tx: Connection, where: str) -> None:
    """Raise LedgerVersionError unless the schema is that of this version."""
    if not check_known(tx, where):
        raise LedgerVersionError(
            f"the ledger {where} has not been brought to this version", hint="run `oss-dispatcher db upgrade`"
        )


def upgrade(tx: Connection, where: str, copy_before: Callable[[str], None]) -> bool:
    """Bring the schema to `HEAD` in the transaction given; tell whether anything was done.

    `copy_before` is called with the old revision before anything of an existing ledger is changed.
    """
    from alembic import command  # noqa: PLC0415 - heavy; only opening an old or new ledger needs it
    from alembic.config import Config  # noqa: PLC0415 - as above

    if check_known(tx, where):
        return False
    revision = revision_of(tx)
    if revision is not None:
        copy_before(revision)
    with as_file(files("dispatcher.ledger") / "migrations") as folder:
        config = Config()
        # ConfigParser reads a percent sign as the start of a reference.
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = tx
        command.upgrade(config, HEAD)
    return True

"""Proving that the ledger takes writes: by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection


def prove(tx: Connection) -> None:
    """Write something that changes nothing: the one row that every ledger has, as it is.

    That the transaction can then be committed is seen, not assumed: a full disk refuses it.
    """
    tx.execute(text("UPDATE alembic_version SET version_num = version_num"))

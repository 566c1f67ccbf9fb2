"""Actions beside StartWorkflow, backfills. Only additions: the version before can still use the file."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add columns and tables."""
    for column in (
        sa.Column("api", sa.Text(), nullable=True),
        sa.Column("input_media_id", sa.Text(), nullable=True),
        sa.Column("media_id", sa.Text(), nullable=True),
        sa.Column("vod_media_id", sa.Text(), nullable=True),
        sa.Column("project_id", sa.Text(), nullable=True),
        sa.Column("repeat_attempt", sa.Integer(), nullable=True),
        sa.Column("repeat_until", sa.BigInteger(), nullable=True),
        sa.Column("backfill", sa.Integer(), nullable=True),
    ):
        op.add_column("dispatches", column)
    op.add_column("attempts", sa.Column("api", sa.Text(), nullable=True))
    op.create_table(
        "notices",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_notices")),
    )

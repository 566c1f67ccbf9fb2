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
        sa.Column("repeat_at", sa.BigInteger(), nullable=True),
        sa.Column("repeat_until", sa.BigInteger(), nullable=True),
        sa.Column("backfill", sa.Integer(), nullable=True),
    ):
        op.add_column("dispatches", column)
    op.add_column("rules", sa.Column("first_target", sa.Text(), nullable=True))
    op.add_column("attempts", sa.Column("api", sa.Text(), nullable=True))
    op.create_table(
        "notices",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_notices")),
    )
    _backfills()
    _page()
    _account()


def _backfills() -> None:
    op.create_table(
        "backfills",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("until_at", sa.BigInteger(), nullable=True),
        sa.Column("window_seconds", sa.Integer(), nullable=True),
        sa.Column("max_rate", sa.Text(), nullable=True),
        sa.Column("max_running", sa.Integer(), nullable=True),
        sa.Column("most", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=True),
        sa.Column("listed", sa.BigInteger(), nullable=False),
        sa.Column("matched", sa.BigInteger(), nullable=False),
        sa.Column("known", sa.BigInteger(), nullable=False),
        sa.Column("gone", sa.BigInteger(), nullable=False),
        sa.Column("recorded", sa.BigInteger(), nullable=False),
        sa.Column("reached", sa.LargeBinary(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("served_at", sa.BigInteger(), nullable=True),
    )
    for name, columns, where in (
        ("ix_dispatches_repeating", ["rule_id", "repeat_until"], "repeat_until IS NOT NULL"),
        ("ix_dispatches_followed_task", ["task_id"], "follow_at IS NOT NULL"),
        (
            "ix_dispatches_backfill_pending",
            ["backfill", "rule_id", "next_at", "first_seen_at"],
            "state = 'pending' AND backfill IS NOT NULL",
        ),
        ("ix_dispatches_backfill_state", ["backfill", "state"], "backfill IS NOT NULL"),
        ("ix_dispatches_job", ["task_id"], "api = 'SubmitMediaProducingJob'"),
        ("ix_dispatches_backfill_running", ["backfill"], "follow_at IS NOT NULL AND backfill IS NOT NULL"),
    ):
        op.create_index(
            name,
            "dispatches",
            columns,
            unique=False,
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )


def _page() -> None:
    op.create_index("ix_dispatches_seen", "dispatches", ["first_seen_at"], unique=False)
    op.create_table(
        "rule_hits",
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("hits", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rule_id", name=op.f("pk_rule_hits")),
    )
    op.execute(
        "INSERT INTO rule_hits (rule_id, hits, last_at)"
        " SELECT rule_id, count(*), max(first_seen_at) FROM dispatches GROUP BY rule_id"
    )


def _account() -> None:
    op.create_table(
        "pruned_dispatches",
        *_group(),
        sa.Column("again", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("task_status", sa.Text(), nullable=False),
        sa.Column("objects", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "rule_id", "day", "extension", "again", "state", "task_status", name=op.f("pk_pruned_dispatches")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "pruned_calls",
        *_group(),
        sa.Column("api", sa.Text(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rule_id", "day", "extension", "api", name=op.f("pk_pruned_calls")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "list_requests",
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "day", name=op.f("pk_list_requests")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_dispatches_counted", "dispatches", ["rule_id", "state", "task_status"], unique=False)


def _group() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("extension", sa.Text(), nullable=False),
    )

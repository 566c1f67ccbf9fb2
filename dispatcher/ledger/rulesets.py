"""Rule sets over time: which rules there are since when, and what became of those that are gone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Table, delete, insert, select, update

from dispatcher.core.dispatch import DispatchState, StateReason
from dispatcher.errors import ConfigError
from dispatcher.ledger.claiming import rules_with_pending
from dispatcher.ledger.tables import budgets, dispatches, holds, in_state, rule_hits, rule_progress, rule_sets, rules
from dispatcher.ledger.writing import BATCH, insert_new

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """What the ledger must know of one rule.

    `input` and `action` are texts that say what the rule watches and what it starts: equal texts, equal
    rules. `budget` is live starts in a UTC day, None for no limit. `target` is the key of `rates` for
    the call that starts, `first_target` that of the call a dispatch begins with.
    """

    rule_id: str
    was: tuple[str, ...]
    input: str
    action: str
    existing_wanted: bool = False
    budget: int | None = None
    target: str | None = None
    first_target: str | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """The rule set as the ledger knows it now.

    `renamed` maps old ids to new ones. `existing_pending`: rules that want the objects that were there
    before them and have not got them all yet.
    """

    revision: int
    first_revision: Mapping[str, int]
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renamed: Mapping[str, str] | None = None
    existing_pending: tuple[str, ...] = ()


def register(tx: Connection, facts: Sequence[RuleFacts], now: datetime) -> Registered:
    """Make these rules the current ones. Idempotent: the same rules again keep their revision.

    A rule named by another one's `was` is renamed: the new one takes over its revision, holds, budgets and,
    by `move_renamed`, its rows. Raises ConfigError when an id disappears while another with the same input
    and action appears, and nothing says which is meant; nothing is changed then.
    """
    stored = {row.rule_id: row for row in tx.execute(select(rules))}
    active = {rule_id for rule_id, row in stored.items() if row.removed_revision is None}
    wanted = {each.rule_id: each for each in facts}
    renamed = _renames(facts, active, stored)
    gone = active - wanted.keys() - renamed.keys()
    added = [each for each in facts if each.rule_id not in active]
    _refuse_silent_rename(gone, [each for each in added if each.rule_id not in renamed.values()], stored)
    revision = _revision(tx, facts, now)
    for old, new in renamed.items():
        _rename(tx, stored[old], wanted[new], revision)
    for rule_id in gone:
        tx.execute(update(rules).where(rules.c.rule_id == rule_id).values(removed_revision=revision))
    for each in added:
        if each.rule_id not in renamed.values():
            _add(tx, each, revision, existing_done=False)
    for each in facts:
        _refresh(tx, each, stored.get(each.rule_id))
    current = {row.rule_id: row for row in tx.execute(select(rules).where(rules.c.removed_revision.is_(None)))}
    return Registered(
        revision=revision,
        first_revision={rule_id: row.first_revision for rule_id, row in current.items()},
        added=tuple(each.rule_id for each in added if each.rule_id not in renamed.values()),
        removed=tuple(sorted(gone)),
        renamed=renamed,
        existing_pending=tuple(
            rule_id for rule_id, row in sorted(current.items()) if row.existing_wanted and not row.existing_done
        ),
    )


def first_revisions(tx: Connection) -> dict[str, int]:
    """Return, for each current rule, the revision with which it appeared."""
    rows = tx.execute(select(rules.c.rule_id, rules.c.first_revision).where(rules.c.removed_revision.is_(None)))
    return {row.rule_id: row.first_revision for row in rows}


def since(tx: Connection) -> dict[str, datetime]:
    """Return since when each current rule is there, by our clock."""
    rows = tx.execute(
        select(rules.c.rule_id, rule_sets.c.created_at)
        .join(rule_sets, rule_sets.c.revision == rules.c.first_revision)
        .where(rules.c.removed_revision.is_(None))
    )
    return {row.rule_id: row.created_at for row in rows}


def mark_existing_done(tx: Connection, rule_id: str) -> None:
    """Remember that a rule got all objects that were there before it. Idempotent."""
    tx.execute(update(rules).where(rules.c.rule_id == rule_id).values(existing_done=True))


def move_renamed(tx: Connection, *, limit: int = BATCH) -> int:
    """Give rows of renamed rules their new rule; return how many, at most `limit`. Call until 0."""
    moved = 0
    for row in tx.execute(select(rules.c.rule_id, rules.c.renamed_to).where(rules.c.renamed_to.is_not(None))).all():
        some = select(dispatches.c.dispatch_id).where(dispatches.c.rule_id == row.rule_id).limit(limit - moved)
        moved += tx.execute(
            update(dispatches).where(dispatches.c.dispatch_id.in_(some)).values(rule_id=row.renamed_to)
        ).rowcount
        if moved >= limit:
            break
    return moved


def skip_removed(tx: Connection, now: datetime, *, limit: int = BATCH) -> list[str]:
    """Skip (RULE_REMOVED) waiting rows of rules that are gone; return their ids, at most `limit`."""
    gone = set(
        tx.scalars(select(rules.c.rule_id).where(rules.c.removed_revision.is_not(None), rules.c.renamed_to.is_(None)))
    )
    skipped: list[str] = []
    for rule_id in (each for each in rules_with_pending(tx) if each in gone):
        ids = list(
            tx.scalars(
                select(dispatches.c.dispatch_id)
                .where(in_state(DispatchState.PENDING), dispatches.c.rule_id == rule_id)
                .limit(limit - len(skipped))
            )
        )
        tx.execute(
            update(dispatches)
            .where(dispatches.c.dispatch_id.in_(ids))
            .values(state=DispatchState.SKIPPED, reason=StateReason.RULE_REMOVED, next_at=None, updated_at=now)
        )
        skipped += ids
        if len(skipped) >= limit:
            break
    return skipped


def _renames(
    facts: Sequence[RuleFacts], active: set[str], stored: Mapping[str, Row[tuple[object, ...]]]
) -> dict[str, str]:
    """Return old id -> new id for each `was` that names a rule this ledger still holds under the old id."""
    wanted = {each.rule_id for each in facts}
    renamed: dict[str, str] = {}
    for each in facts:
        for old in each.was:
            if old in wanted or old in renamed:
                raise ConfigError(
                    f"rule {each.rule_id}: was: [{old}] names a rule that another one is or was",
                    hint="each former id belongs to one rule, which replaces it",
                )
            taken_over = old in stored and stored[old].renamed_to is not None
            if old in stored and not taken_over and each.rule_id not in active:
                renamed[old] = each.rule_id
    return renamed


def _refuse_silent_rename(
    gone: set[str], added: Sequence[RuleFacts], stored: Mapping[str, Row[tuple[object, ...]]]
) -> None:
    for old in sorted(gone):
        for each in added:
            if (stored[old].input, stored[old].action) == (each.input, each.action):
                raise ConfigError(
                    f"rule {old} is gone, and rule {each.rule_id} has the same input and action",
                    hint=f"if it is the same rule, write `id: {old}` or `was: [{old}]` in rule {each.rule_id}; "
                    f"if not, start once without either of them, so that the ledger sees {old} end",
                )


def _revision(tx: Connection, facts: Sequence[RuleFacts], now: datetime) -> int:
    """Return the revision of these rules: the latest one if it is the same set, else a new one."""
    digest = hashlib.sha256()
    for each in sorted(facts, key=lambda each: each.rule_id):
        for text in (each.rule_id, each.input, each.action):
            digest.update(len(text.encode()).to_bytes(4, "big") + text.encode())
    fingerprint = digest.hexdigest()
    latest = tx.execute(select(rule_sets).order_by(rule_sets.c.revision.desc()).limit(1)).one_or_none()
    if latest is not None and latest.fingerprint == fingerprint:
        return int(latest.revision)
    revision = 1 if latest is None else latest.revision + 1
    tx.execute(insert(rule_sets).values(revision=revision, fingerprint=fingerprint, created_at=now))
    return int(revision)


def _add(tx: Connection, each: RuleFacts, first_revision: int, *, existing_done: bool) -> None:
    tx.execute(delete(rules).where(rules.c.rule_id == each.rule_id))
    tx.execute(
        insert(rules).values(
            rule_id=each.rule_id,
            input=each.input,
            action=each.action,
            first_revision=first_revision,
            removed_revision=None,
            renamed_to=None,
            existing_wanted=each.existing_wanted,
            existing_done=existing_done,
            budget=each.budget,
            target=each.target,
            first_target=each.first_target,
        )
    )


def _refresh(tx: Connection, each: RuleFacts, before: Row[tuple[object, ...]] | None) -> None:
    tx.execute(
        update(rules)
        .where(rules.c.rule_id == each.rule_id)
        .values(
            input=each.input,
            action=each.action,
            existing_wanted=each.existing_wanted,
            budget=each.budget,
            target=each.target,
            first_target=each.first_target,
        )
    )
    if before is not None and (before.input, before.action) != (each.input, each.action):
        # What is started, or watched, is another now: its first outputs are to be looked at again.
        tx.execute(
            update(rule_progress)
            .where(rule_progress.c.rule_id == each.rule_id)
            .values(output_task_id=None, output_dispatch_id=None, outputs_checked_at=None)
        )


def _rename(tx: Connection, old: Row[tuple[object, ...]], each: RuleFacts, revision: int) -> None:
    _add(tx, each, old.first_revision, existing_done=old.existing_done)
    tx.execute(
        update(rules).where(rules.c.rule_id == old.rule_id).values(removed_revision=revision, renamed_to=each.rule_id)
    )
    for table in (holds, budgets, rule_progress, rule_hits):
        _hand_over(tx, table, old.rule_id, each.rule_id)


def _hand_over(tx: Connection, table: Table, old: str, new: str) -> None:
    rows = [{**row, "rule_id": new} for row in tx.execute(select(table).where(table.c.rule_id == old)).mappings()]
    insert_new(tx, table, rows)
    tx.execute(delete(table).where(table.c.rule_id == old))

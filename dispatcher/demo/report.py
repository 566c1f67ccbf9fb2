"""The end of the demo: every object with its rules, calls, tasks and final states, and whether it adds up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.core.dispatch import TaskStatus, content_identity, dispatch_id
from dispatcher.core.rules import Reason
from dispatcher.core.tracing import media_of, token_of
from dispatcher.demo.story import EXISTING, MEDIA_URL, RULES, TABLE
from dispatcher.service.explaining import sentence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dispatcher.core.rules import RuleSet
    from dispatcher.demo.story import Upload
    from dispatcher.ledger.browse import DispatchView
    from dispatcher.simulator.journal import JournalEntry

_ELSEWHERE = (Reason.BUCKET, Reason.PREFIX)


@dataclass(frozen=True, slots=True)
class Written:
    """An upload that was made, with the etag the store gave it. `again`: the same content once more."""

    upload: Upload
    etag: str
    again: bool = False

    def expected(self) -> dict[str, str]:
        """Return what it must start: the dispatch id by rule."""
        identity = content_identity(self.etag, len(self.upload.content))
        return {rule: dispatch_id(rule, self.upload.bucket, self.upload.key, identity) for rule in self.upload.starts}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the closing table. `calls` counts accepted calls in the service's own journal."""

    bucket: str
    key: str
    rule: str | None
    reason: str
    calls: int
    task_id: str | None
    state: str | None
    task_status: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """The table and what does not add up; `wrong` is empty when everything does."""

    lines: tuple[Line, ...]
    calls: int
    wrong: tuple[str, ...]


def expected_ids(written: Sequence[Written]) -> frozenset[str]:
    """Return every dispatch id that must have started exactly once."""
    return frozenset(found for each in written for found in each.expected().values())


def report(
    written: Sequence[Written],
    rules: RuleSet,
    rows: Mapping[str, DispatchView],
    journal: Sequence[JournalEntry],
) -> Report:
    """Compare what was uploaded with the service's journal and the ledger's rows (by dispatch id)."""
    calls = Counter(_id_of(entry) for entry in journal)
    lines = tuple(line for each in written for line in _lines(each, rows, calls))
    lines += tuple(line for each in written for line in _unmatched(each, rules, written, journal))
    return Report(lines, len(journal), tuple(_wrong(written, rows, journal, calls)))


def _id_of(entry: JournalEntry) -> str:
    token = token_of(entry.user_data)
    return token[0] if token is not None else f"no id of ours: {entry.user_data}"


def _lines(each: Written, rows: Mapping[str, DispatchView], calls: Mapping[str, int]) -> Iterator[Line]:
    upload = each.upload
    for rule, found in each.expected().items():
        row = rows.get(found)
        yield Line(
            upload.bucket,
            upload.key,
            rule,
            f"MATCHED: {upload.why}",
            calls.get(found, 0),
            row.task_id if row else None,
            row.state if row else None,
            row.task_status if row else None,
        )


def _unmatched(
    each: Written, rules: RuleSet, written: Sequence[Written], journal: Sequence[JournalEntry]
) -> Iterator[Line]:
    """Yield what did not start: whole objects, and in the documentation's table each rule by itself."""
    upload = each.upload
    expected = expected_ids(written)
    media = MEDIA_URL.format(bucket=upload.bucket, key=upload.key)
    calls = sum(media_of(entry.task_input) == media and _id_of(entry) not in expected for entry in journal)
    if not upload.starts:
        why = f"{_why_not(each, rules)}: {upload.why}"
        yield Line(upload.bucket, upload.key, None, why, calls, None, None, None)
    elif upload.bucket == TABLE:
        for verdict in rules.verdicts(upload.bucket, upload.key, len(upload.content)):
            if not verdict.matched and verdict.reason is not Reason.BUCKET:
                why = f"{verdict.reason}: {sentence(verdict, upload.bucket, upload.key)}"
                yield Line(upload.bucket, upload.key, verdict.rule.id, why, calls, None, None, None)


def _why_not(each: Written, rules: RuleSet) -> str:
    upload = each.upload
    if upload in EXISTING.uploads:
        return "existing"
    if each.again:
        return "known content"
    verdicts = rules.verdicts(upload.bucket, upload.key, len(upload.content))
    reasons = dict.fromkeys(each.reason.value for each in verdicts if each.reason not in _ELSEWHERE)
    return " ".join(reasons) or Reason.PREFIX.value


def _wrong(
    written: Sequence[Written],
    rows: Mapping[str, DispatchView],
    journal: Sequence[JournalEntry],
    calls: Mapping[str, int],
) -> Iterator[str]:
    expected = {found: (rule, each) for each in written for rule, found in each.expected().items()}
    workflows = {rule.name: rule.workflow for rule in RULES}
    for found, (rule, each) in expected.items():
        name = f"{each.upload.bucket}/{each.upload.key} under rule {rule}"
        if calls.get(found, 0) != 1:
            yield f"{name}: {calls.get(found, 0)} accepted calls instead of 1"
        row = rows.get(found)
        if row is None:
            yield f"{name}: no row in the ledger"
        elif row.task_status != TaskStatus.SUCCEED:
            yield f"{name}: the task ended as {row.task_status or row.state}, not {TaskStatus.SUCCEED.value}"
    for entry in journal:
        found = _id_of(entry)
        if found not in expected:
            yield f"an unexpected call: workflow {entry.workflow_id}, input {entry.task_input}"
        elif entry.workflow_id != workflows[expected[found][0]]:
            yield f"rule {expected[found][0]} started workflow {entry.workflow_id}"

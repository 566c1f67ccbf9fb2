"""Rules: which objects start what, decided with a reason for each verdict. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from dispatcher.core.extensions import NOT_GUARANTEED, extension_of
from dispatcher.core.matching import PrefixTable, Shape, exclusion, minimal_prefixes, shapes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from dispatcher.core.extensions import ExtensionSet
    from dispatcher.core.location import Location


class Reason(StrEnum):
    """What one rule says of one object."""

    MATCHED = "MATCHED"
    BUCKET = "BUCKET"
    PREFIX = "PREFIX"
    EXTENSION = "EXTENSION"
    FOLDER_MARKER = "FOLDER_MARKER"
    EMPTY = "EMPTY"
    NEVER_TRIGGER = "NEVER_TRIGGER"
    EXCLUDED = "EXCLUDED"
    EVENT_TYPE = "EVENT_TYPE"


class MatchMode(StrEnum):
    """How the bound path is read: see `design`, Matching, and documentation example 5."""

    DOCUMENTED = "documented"
    PREFIX = "prefix"


class OnUncertain(StrEnum):
    """What happens once an unanswered call is proven not to have started a task."""

    RETRY = "retry"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Existing:
    """What a rule does with objects older than itself: nothing, all, or those since a time.

    `dispatch=False`: nothing. `dispatch=True` with `since=None`: all of them.
    """

    dispatch: bool = False
    since: datetime | None = None


class InputType(StrEnum):
    """How a workflow is given its object: by its URL, or as a registered media asset."""

    OSS = "oss"
    MEDIA = "media"


class OutputMediaTarget(StrEnum):
    """Where a producing job writes (OutputMediaTarget)."""

    OSS_OBJECT = "oss-object"
    VOD_MEDIA = "vod-media"
    S3 = "S3"


@dataclass(frozen=True, slots=True)
class WorkflowAction:
    """Start an IMS workflow with the object as its input.

    `media_url` is a template; the string values inside `user_data` may be templates too.
    """

    workflow_id: str
    media_url: str = "oss://{bucket}/{key}"
    skip_input_verification: bool = False
    user_data: Mapping[str, object] = field(default_factory=dict)
    input_type: InputType = InputType.OSS


@dataclass(frozen=True, slots=True)
class EditingAction:
    """Submit a media producing job (SubmitMediaProducingJob) for the object.

    Exactly one of `template_id`, `project_id` and `timeline` is set. Every text in the JSON values, at any
    depth, is a template with placeholders; ids, and the names of fields (the service's own), are not.
    """

    output_media_config: Mapping[str, object]
    template_id: str | None = None
    project_id: str | None = None
    timeline: Mapping[str, object] | None = None
    clips_param: Mapping[str, object] | None = None
    output_media_target: OutputMediaTarget = OutputMediaTarget.OSS_OBJECT
    editing_produce_config: Mapping[str, object] | None = None
    media_metadata: Mapping[str, object] | None = None
    project_metadata: Mapping[str, object] | None = None
    source: str | None = None
    user_data: Mapping[str, object] = field(default_factory=dict)


Action = WorkflowAction | EditingAction


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the configuration, resolved. `budget` is starts of live objects per UTC day."""

    id: str
    name: str
    input: Location
    extensions: ExtensionSet
    action: Action
    was: tuple[str, ...] = ()
    match: MatchMode = MatchMode.DOCUMENTED
    match_written: bool = False
    exclude: tuple[str, ...] = ()
    min_size: int = 1
    settle: timedelta | None = None
    existing: Existing = Existing()
    budget: int | None = 10_000
    on_uncertain: OnUncertain = OnUncertain.RETRY

    @property
    def workflow_id(self) -> str | None:
        """The workflow that the rule starts; None where it submits an editing job."""
        return self.action.workflow_id if isinstance(self.action, WorkflowAction) else None

    @property
    def action_name(self) -> str:
        """What the rule starts, in one word: what tells one action from another, and what tables show."""
        match self.action:
            case WorkflowAction(workflow_id=workflow_id):
                return workflow_id
            case EditingAction(template_id=str(template_id)):
                return f"template:{template_id}"
            case EditingAction(project_id=str(project_id)):
                return f"project:{project_id}"
            case EditingAction(timeline=timeline):
                text = json.dumps(timeline, sort_keys=True, default=dict)
                return f"timeline:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
            case _:
                assert_never(self.action)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The forms of the keys that the input stands for."""
        return shapes_of(self.input.prefix, documented=self.match is MatchMode.DOCUMENTED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says of one object. `note` is a caution for the operator, or empty."""

    rule: Rule
    reason: Reason
    note: str = ""

    @property
    def matched(self) -> bool:
        return self.reason is Reason.MATCHED


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A rule with what is prepared once: its place in the configuration, its shapes and its filter."""

    place: int
    rule: Rule
    shapes: tuple[Shape, ...]
    excluded: Callable[[str], bool]

    def refusal(self, key: str, size: int | None) -> Reason | None:
        """Return why the rule does not take a key that has one of its shapes; None: it does."""
        if self.excluded(key):
            return Reason.EXCLUDED
        if not self.rule.extensions.admits(key):
            return Reason.EXTENSION
        if size is not None and size < self.rule.min_size:
            return Reason.EMPTY
        return None


class RuleSet:
    """All rules and the locations that never trigger. Immutable; any thread may ask it.

    Raises ValueError for an `exclude` pattern that means nothing. Rule ids are expected to be
    unique: the configuration sees to it.
    """

    def __init__(self, rules: Sequence[Rule], never_trigger: Sequence[Location] = ()) -> None:
        self.rules: tuple[Rule, ...] = tuple(rules)
        self.never_trigger: tuple[Location, ...] = tuple(never_trigger)
        self.by_id: Mapping[str, Rule] = {rule.id: rule for rule in self.rules}
        self._compiled = tuple(
            _Compiled(place, rule, rule.shapes, exclusion(rule.exclude)) for place, rule in enumerate(self.rules)
        )
        self._by_id = {entry.rule.id: entry for entry in self._compiled}
        self._tables = {bucket: PrefixTable(self._entries(bucket)) for bucket in self.buckets()}
        self._never = {
            bucket: PrefixTable((place.prefix, place) for place in self.never_trigger if place.bucket == bucket)
            for bucket in {place.bucket for place in self.never_trigger}
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RuleSet):
            return NotImplemented
        return (self.rules, self.never_trigger) == (other.rules, other.never_trigger)

    def __hash__(self) -> int:
        return hash((tuple(self.by_id), self.never_trigger))

    def __repr__(self) -> str:
        return f"RuleSet({len(self.rules)} rules, never_trigger={self.never_trigger!r})"

    def _entries(self, bucket: str) -> list[tuple[str, tuple[_Compiled, Shape]]]:
        return [
            (shape.prefix, (entry, shape))
            for entry in self._compiled
            if entry.rule.input.bucket == bucket
            for shape in entry.shapes
        ]

    def buckets(self) -> tuple[str, ...]:
        """Return the buckets that rules read, in the order of the configuration."""
        return tuple(dict.fromkeys(rule.input.bucket for rule in self.rules))

    def roots(self, bucket: str) -> tuple[str, ...]:
        """Return the prefixes to list: the fewest under which every match of every rule lies."""
        return minimal_prefixes(
            shape.prefix for entry in self._compiled if entry.rule.input.bucket == bucket for shape in entry.shapes
        )

    def never_triggers(self, bucket: str, key: str) -> bool:
        """Tell whether the object lies under a `never_trigger` location."""
        table = self._never.get(bucket)
        return table is not None and table.covers(key)

    def matching(self, bucket: str, key: str, size: int | None) -> tuple[Rule, ...]:
        """Return the rules that match, in the order of the configuration.

        `size` None is unknown: then an object is not judged to be empty. The cost does not grow
        with the number of rules, only with that of the rules whose prefix the key has.
        """
        table = self._tables.get(bucket)
        if table is None or key.endswith("/"):
            return ()
        found = {
            entry.place: entry
            for entry, shape in table.under(key)
            if (shape.extension is None or shape.matches(key)) and entry.refusal(key, size) is None
        }
        if not found or self.never_triggers(bucket, key):
            return ()
        return tuple(found[place].rule for place in sorted(found))

    def verdicts(self, bucket: str, key: str, size: int | None) -> tuple[Verdict, ...]:
        """Return what each rule says of the object, in the order of the configuration.

        Where several reasons apply the first of BUCKET, PREFIX, FOLDER_MARKER, NEVER_TRIGGER,
        EXCLUDED, EXTENSION, EMPTY is given. `size` None: unknown, EMPTY is not judged.
        """
        never = self.never_triggers(bucket, key)
        return tuple(_verdict(entry, bucket, key, size, never=never) for entry in self._compiled)

    def near(self, bucket: str, key: str, size: int | None) -> tuple[Verdict, ...]:
        """Return the verdicts of the rules whose prefix the key has, at the cost of `matching`; see `verdicts`."""
        table = self._tables.get(bucket)
        if table is None:
            return ()
        found = {
            entry.place: entry for entry, shape in table.under(key) if shape.extension is None or shape.matches(key)
        }
        never = self.never_triggers(bucket, key) if found else False
        return tuple(_verdict(found[place], bucket, key, size, never=never) for place in sorted(found))

    def verdict(self, rule_id: str, bucket: str, key: str, size: int | None) -> Verdict:
        """Return what one rule says of the object. Raises KeyError for an unknown id."""
        never = self.never_triggers(bucket, key)
        return _verdict(self._by_id[rule_id], bucket, key, size, never=never)


def _verdict(entry: _Compiled, bucket: str, key: str, size: int | None, *, never: bool) -> Verdict:
    rule = entry.rule
    if bucket != rule.input.bucket:
        return Verdict(rule, Reason.BUCKET)
    if not any(shape.matches(key) for shape in entry.shapes):
        return Verdict(rule, Reason.PREFIX)
    if key.endswith("/"):
        return Verdict(rule, Reason.FOLDER_MARKER)
    if never:
        return Verdict(rule, Reason.NEVER_TRIGGER)
    refusal = entry.refusal(key, size)
    if refusal is not None:
        return Verdict(rule, refusal)
    extension = extension_of(key)
    note = (
        f".{extension} is documented, but the service does not promise to read it"
        if extension in NOT_GUARANTEED
        else ""
    )
    return Verdict(rule, Reason.MATCHED, note)

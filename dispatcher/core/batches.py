"""IMM batches: what CreateBatch is asked for, what the service tells, and where outputs may land. Pure.

A batch processes a prefix by the service's own means. It reads no ledger, so promises 1 and 2 of this
program do not hold for it; what can be told beforehand is whether its outputs would be inputs again.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import unquote

from dispatcher.core.dispatch import id_from_bytes
from dispatcher.core.location import Location
from dispatcher.core.problems import Problem, ProblemCode, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from dispatcher.core.calls import Endpoint
    from dispatcher.core.rules import Rule, RuleSet

TAG = "oss_dispatcher_id"
"""The tag that carries our id: CreateBatch has no client token, and ListBatches finds a batch by its tags."""
DEFAULT_ROLE = "AliyunIMMBatchTriggerRole"
"""What the documentation of CreateBatch names as the default of the (required) ServiceRole."""
_URI = re.compile(r"oss://([^/\s\"'\\]+)/([^\s\"'\\]*)")
_VARIABLE = re.compile(r"\{(\w+)\}")
_NAME_VARIABLES = frozenset({"basename", "barename", "extname", "autoext", "index"})
"""Variables of an output that hold no slash, by the documentation of OSS data processing."""


class ImmApi(StrEnum):
    """The calls of IMM that this program makes."""

    CREATE_BATCH = "CreateBatch"
    LIST_BATCHES = "ListBatches"
    GET_BATCH = "GetBatch"
    SUSPEND_BATCH = "SuspendBatch"
    RESUME_BATCH = "ResumeBatch"
    GET_PROJECT = "GetProject"
    GET_ATTACHMENT = "GetOSSBucketAttachment"


class FastFail(StrEnum):
    """What an action's failure does to the batch: it stops, or it goes on."""

    ABORT = "abort"
    IGNORE = "ignore"


class BatchState(StrEnum):
    """State of a batch, as ListBatches takes and tells it."""

    READY = "Ready"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    FAILED = "Failed"
    SUCCEEDED = "Succeeded"


class BatchSort(StrEnum):
    """Sort of ListBatches."""

    CREATED = "CreateTime"
    UPDATED = "UpdateTime"


class BatchOrder(StrEnum):
    """Order of ListBatches."""

    ASC = "ASC"
    DES = "DES"


@dataclass(frozen=True, slots=True)
class BatchAction:
    """One processing template with its parameters (`pages=3`), in the service's own notation."""

    name: str
    parameters: tuple[str, ...] = ()
    fast_fail: FastFail | None = None


@dataclass(frozen=True, slots=True)
class ImmSettings:
    """The configuration's `imm:`. `endpoint` is a full URL, None for the regional one. Tags are ours beside these."""

    project: str
    endpoint: str | None = None
    service_role: str = DEFAULT_ROLE
    actions: tuple[BatchAction, ...] = ()
    topic: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WrittenBatch:
    """A batch file: what is None is not written there. `match_expressions` go to the service as they are."""

    input: Location | None = None
    region: str | None = None
    match_expressions: tuple[str, ...] = ()
    project: str | None = None
    service_role: str | None = None
    actions: tuple[BatchAction, ...] | None = None
    topic: str | None = None
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """One CreateBatch call, complete. `topic` is an MNS topic; `tags` hold our id too."""

    endpoint: Endpoint
    project: str
    input: Location
    actions: tuple[BatchAction, ...]
    service_role: str
    match_expressions: tuple[str, ...] = ()
    topic: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BatchQuery:
    """What ListBatches is asked for. `tag` is (key, value); None: not asked."""

    endpoint: Endpoint
    project: str
    state: BatchState | None = None
    sort: BatchSort | None = None
    order: BatchOrder | None = None
    tag: tuple[str, str] | None = None
    page_size: int = 100


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as the service tells it. Counts are files, None where it does not count (yet)."""

    batch_id: str
    state: str
    phase: str | None = None
    marker: str | None = None
    error: str | None = None
    bucket: str | None = None
    prefix: str | None = None
    match_expressions: tuple[str, ...] = ()
    actions: tuple[BatchAction, ...] = ()
    service_role: str | None = None
    topic: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    submitted: int | None = None
    failed: int | None = None
    skipped: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """An IMM project, as far as a check needs it."""

    name: str
    service_role: str | None


def tag_id(random: bytes) -> str:
    """Return our id of a batch, of 16 random bytes: 26 characters that a tag selector takes as they are."""
    return id_from_bytes(random)


def selector_of(tag: tuple[str, str]) -> str:
    """Return a TagSelector, `key=value` as documented by its example."""
    return f"{tag[0]}={tag[1]}"


# -- where outputs may land -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OutputTemplate:
    """An `oss://` URI of an action's parameter: bucket and key, with variables of the service in braces."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"oss://{self.bucket}/{self.key}"

    def may_lie_under(self, place: Location, source: Location) -> bool:
        """Tell whether an output made from an object of `source` can lie under `place`.

        A variable whose meaning is not known may stand for any text.
        """
        if self.bucket.replace("{bucket}", source.bucket) != place.bucket and not _is_open(self.bucket):
            return False
        return _can_begin(_pieces(self.key, source), place.prefix)


def outputs_of(actions: Iterable[BatchAction]) -> tuple[OutputTemplate, ...]:
    """Return where the actions write, as far as their parameters tell; each place once.

    Outputs are `oss://` URIs, percent-encoded ones too, or, in the notation of OSS's image processing,
    a key `o_...` and a bucket `b_...` (by default the input's) in URL-safe base64.
    """
    found: dict[OutputTemplate, None] = {}
    for action in actions:
        for parameter in action.parameters:
            for text in (parameter, unquote(parameter)):
                found |= dict.fromkeys(OutputTemplate(bucket, key) for bucket, key in _URI.findall(text))
        found |= dict.fromkeys(_encoded_outputs(action))
    return tuple(found)


def _encoded_outputs(action: BatchAction) -> Iterator[OutputTemplate]:
    words = [word for text in (action.name, *action.parameters) for word in re.split(r"[,/|]", text)]
    buckets = [text for word in words if word.startswith("b_") and (text := _decoded(word[2:]))]
    for word in words:
        key = _decoded(word[2:]) if word.startswith("o_") else None
        if key:
            yield OutputTemplate(buckets[0] if buckets else "{bucket}", key)


def _decoded(text: str) -> str | None:
    """Return what URL-safe base64 without padding says, None if it says nothing that can be read."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        return None


def output_problems(request: BatchRequest, rules: RuleSet) -> Iterator[Problem]:
    """Yield what is wrong or doubtful about where a batch writes: an error if under its own input."""
    outputs = outputs_of(request.actions)
    for output in outputs:
        if output.may_lie_under(request.input, request.input):
            yield _output_under_input(output, request.input)
    yield from _started_again(outputs, request, rules)
    if not outputs:
        yield Problem(
            ProblemCode.LOOP,
            Severity.WARNING,
            (),
            None,
            "no parameter of an action names an oss:// URI, so nothing tells where this batch writes",
            f"See to it that its outputs do not land under {request.input} or under the input of a rule.",
        )


def _output_under_input(output: OutputTemplate, place: Location) -> Problem:
    return Problem(
        ProblemCode.LOOP,
        Severity.ERROR,
        (),
        None,
        f"the output {output} may lie under the batch's own input {place}, so that it would process its own outputs",
        "Write the outputs to a folder of their own, outside the input.",
    )


def _started_again(outputs: Iterable[OutputTemplate], request: BatchRequest, rules: RuleSet) -> Iterator[Problem]:
    for output in outputs:
        fixed = output.key.partition("{")[0]
        under = [
            rule for rule in rules.rules if any(output.may_lie_under(place, request.input) for place in _taken(rule))
        ]
        if not under or rules.never_triggers(under[0].input.bucket, fixed):
            continue
        names = ", ".join(repr(rule.name) for rule in under[:3])
        yield Problem(
            ProblemCode.LOOP,
            Severity.WARNING,
            tuple(rule.id for rule in under),
            None,
            f"the output {output} may lie under the input of rule {names}:"
            " the daemon would start what the batch writes",
            "Write the outputs elsewhere, or name their folder under never_trigger:",
        )


def _taken(rule: Rule) -> Iterator[Location]:
    """Yield the places under which a rule's objects lie."""
    return (Location(rule.input.bucket, shape.prefix) for shape in rule.shapes)


@dataclass(frozen=True, slots=True)
class _Wildcard:
    """Any text, without a slash if it stands for a part of a name."""

    slashes: bool


def _pieces(key: str, source: Location) -> tuple[str | _Wildcard, ...]:
    pieces: list[str | _Wildcard] = []
    at = 0
    for match in _VARIABLE.finditer(key):
        pieces += [key[at : match.start()], *_meaning(match[1], source)]
        at = match.end()
    return (*pieces, key[at:])


def _meaning(variable: str, source: Location) -> tuple[str | _Wildcard, ...]:
    """Return what a variable stands for, of an object under `source`."""
    match variable:
        case "bucket":
            return (source.bucket,)
        case "key":
            return (source.prefix, _Wildcard(slashes=True))
        case "dirname":
            return (source.prefix.rpartition("/")[0], _Wildcard(slashes=True))
        case name if name in _NAME_VARIABLES:
            return (_Wildcard(slashes=False),)
        case _:
            return (_Wildcard(slashes=True),)


def _can_begin(pieces: tuple[str | _Wildcard, ...], prefix: str) -> bool:
    """Tell whether a text of these pieces can begin with the prefix."""
    reached = {0}
    for piece in pieces:
        if len(prefix) in reached:
            return True
        after: set[int] = set()
        for at in reached:
            rest = prefix[at:]
            if isinstance(piece, _Wildcard):
                most = len(rest) if piece.slashes else len(rest.partition("/")[0])
                after.update(range(at, at + most + 1))
            elif piece.startswith(rest):
                return True
            elif rest.startswith(piece):
                after.add(at + len(piece))
        reached = after
    return len(prefix) in reached


def _is_open(bucket: str) -> bool:
    """Tell whether a bucket's name holds a variable of unknown meaning."""
    return bool(_VARIABLE.search(bucket.replace("{bucket}", "")))

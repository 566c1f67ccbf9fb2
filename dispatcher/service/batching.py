"""Batches of IMM: from a rule or a file to one CreateBatch call, made once as far as that can be known.

The service has no client token for this call. A tag of the batch carries our id, so a call whose answer is
unknown is looked for in the project's list; it is repeated only after several complete listings without it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dispatcher.core.batches import (
    DEFAULT_ROLE,
    TAG,
    BatchQuery,
    BatchRequest,
    BatchState,
    WrittenBatch,
    output_problems,
)
from dispatcher.core.calls import Endpoint
from dispatcher.core.outcomes import NotSent, Rejected, Started, Throttled, Unauthorized, Uncertain
from dispatcher.errors import (
    ConfigError,
    CredentialsError,
    DispatcherError,
    ExitCode,
    ServiceUnavailableError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dispatcher.core.batches import Batch
    from dispatcher.core.location import Location
    from dispatcher.core.outcomes import Outcome
    from dispatcher.core.problems import Problem
    from dispatcher.core.settings import Settings

CALLS = 3
"""Calls of one `create` that may be made, each after the proven absence of the one before."""
PAUSES = (5.0, 10.0, 20.0)
"""Seconds before each listing that must not show the batch: a new one may be listed late."""
_REGION = re.compile(r"[a-z0-9-]+")


class Creating(Protocol):
    """What makes the call: `targets.batches.BatchTarget`."""

    def create(self, request: BatchRequest) -> Outcome:
        """Make the call once. Raises ConfigError before anything is sent."""
        ...


class Listing(Protocol):
    """What lists batches: `targets.imm.AlibabaBatches`."""

    def list_batches(self, query: BatchQuery) -> Iterator[Batch]:
        """Yield every batch of the query. Raises DispatcherError if any page fails."""
        ...


class Changing(Protocol):
    """What stops batches for a while: `targets.imm.AlibabaBatches`."""

    def get_batch(self, endpoint: Endpoint, project: str, batch_id: str) -> Batch | None:
        """Return one batch."""
        ...

    def suspend(self, endpoint: Endpoint, project: str, batch_id: str) -> None:
        """Stop a batch from submitting more tasks."""
        ...

    def resume(self, endpoint: Endpoint, project: str, batch_id: str) -> None:
        """Let a suspended batch go on."""
        ...


class UnsettledBatchError(DispatcherError):
    """The call may have made a batch, and the list of batches could not settle it."""

    exit_code = ExitCode.STOPPED_EARLY


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """A batch before it is created: `problems` (an error forbids it) and `notes` are for the operator."""

    request: BatchRequest
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def tag(self) -> tuple[str, str]:
        """The tag by which this batch is found."""
        return TAG, self.request.tags[TAG]


@dataclass(frozen=True, slots=True)
class CreatedBatch:
    """A batch that exists. `listed`: its answer was lost, and the list showed it. `others` carry the same id."""

    batch_id: str
    request_id: str | None = None
    listed: bool = False
    others: tuple[str, ...] = ()


# -- before the call ------------------------------------------------------------------------------


def plan_batch(settings: Settings, rule_id: str | None, written: WrittenBatch | None, our_id: str) -> BatchPlan:
    """Return the batch of a rule's input, of a file, or of both: the file says how, the rule which objects.

    What neither says comes from `imm:`. Nothing is sent. Raises UsageError or ConfigError for what is missing.
    """
    file = WrittenBatch() if written is None else written
    place, region = _input(settings, rule_id, file)
    imm = settings.imm
    project = project_of(settings, file.project)
    actions = file.actions if file.actions is not None else (imm.actions if imm is not None else ())
    if not actions:
        raise ConfigError(
            "the batch has no action", hint="write actions: under imm: or in the batch file, each with its name"
        )
    tags = file.tags if file.tags is not None else (imm.tags if imm is not None else {})
    request = BatchRequest(
        endpoint=imm_endpoint(settings, region),
        project=project,
        input=place,
        actions=actions,
        service_role=file.service_role or (imm.service_role if imm is not None else DEFAULT_ROLE),
        match_expressions=file.match_expressions,
        topic=file.topic or (imm.topic if imm is not None else None),
        tags={**tags, TAG: our_id},
    )
    return BatchPlan(request, tuple(output_problems(request, settings.rules)), tuple(_notes(request, rule_id)))


def _input(settings: Settings, rule_id: str | None, file: WrittenBatch) -> tuple[Location, str]:
    """Return the input, and the region that its bucket is in."""
    if rule_id is not None and file.input is not None:
        raise UsageError(
            "--rule and the batch file both say which objects",
            hint="take input: out of the file, or call without --rule",
        )
    place = file.input if rule_id is None else _rule_input(settings, rule_id)
    if place is None:
        raise UsageError("which objects? no input is named", hint="write input: in the batch file, or name a --rule")
    bucket = settings.buckets.get(place.bucket)
    if bucket is not None and not bucket.on_oss:
        raise ConfigError(
            f"IMM reads OSS only, and bucket {bucket.name} lies on {bucket.endpoint}",
            hint="name a bucket on OSS as the input",
        )
    region = bucket.region if bucket is not None else file.region
    if region is None:
        raise ConfigError(
            f"the region of bucket {place.bucket} is not known",
            hint="write the input as the bucket's regional URL, or add the bucket to buckets:",
        )
    return place, region


def _rule_input(settings: Settings, rule_id: str) -> Location:
    rule = settings.rules.by_id.get(rule_id)
    if rule is None:
        raise UsageError(f"there is no rule {rule_id!r}", hint="see: oss-dispatcher rules list")
    return rule.input


def imm_endpoint(settings: Settings, region: str) -> Endpoint:
    """Return where calls of IMM go: the configured endpoint, by default that of the region."""
    written = settings.imm.endpoint if settings.imm is not None else None
    return Endpoint(region, written or f"https://imm.{region}.aliyuncs.com")


def endpoint_in(settings: Settings, region: str | None) -> Endpoint:
    """Return where calls go that name no bucket: in this region, by default in that of the rules' buckets on OSS.

    Raises UsageError where the region has to be named.
    """
    there = [settings.buckets[bucket] for bucket in settings.rules.buckets()]
    regions = sorted({bucket.region for bucket in there if bucket.on_oss})
    if region is None and len(regions) != 1:
        known = f"one of {', '.join(regions)}" if regions else "for example cn-hangzhou"
        raise UsageError("in which region? the rules do not tell", hint=f"name it with --region: {known}")
    if region is not None and not _REGION.fullmatch(region):
        raise UsageError(f"--region {region}: no region", hint="write for example cn-hangzhou")
    return imm_endpoint(settings, regions[0] if region is None else region)


def project_of(settings: Settings, written: str | None) -> str:
    """Return the project that was written, by default that of `imm:`. Raises ConfigError if there is none."""
    project = written or (settings.imm.project if settings.imm is not None else None)
    if not project:
        raise ConfigError(
            "no IMM project is named", hint="write imm: {project: NAME}, project: in the batch file, or --project NAME"
        )
    return project


def _notes(request: BatchRequest, rule_id: str | None) -> Iterator[str]:
    yield (
        f"IMM will process every object under {request.input} by its own means; neither ledger nor budget nor rate of"
        " this program apply: what was dispatched before is processed again, and by a second batch once more"
    )
    if rule_id is not None and not request.match_expressions:
        yield (
            f"of rule {rule_id} only the input is taken; its extensions, exclude and min_size mean nothing to IMM:"
            " which objects is said by match_expressions in a batch file"
        )


# -- the call -------------------------------------------------------------------------------------


def create_batch(plan: BatchPlan, target: Creating, batches: Listing, pause: Callable[[float], None]) -> CreatedBatch:
    """Create the batch once, and settle an unknown answer by the list of batches.

    `pause` waits so many seconds. Raises ConfigError, CredentialsError or ServiceUnavailableError if no batch
    was made, UnsettledBatchError (exit 75) if that is not known.
    """
    for made in range(1, CALLS + 1):
        outcome = target.create(plan.request)
        if isinstance(outcome, Started):
            others = _others(plan, batches, outcome.task_id) if made > 1 else ()
            return CreatedBatch(outcome.task_id, outcome.request_id, others=others)
        if not isinstance(outcome, Uncertain):
            raise _not_made(outcome, plan)
        found = _look_for(plan, batches, pause, outcome)
        if found:
            return CreatedBatch(found[0], listed=True, others=tuple(found[1:]))
    raise _unsettled(plan, f"{CALLS} calls had no answer, and the list of batches shows none of them")


def _look_for(plan: BatchPlan, batches: Listing, pause: Callable[[float], None], outcome: Uncertain) -> Sequence[str]:
    """Return the batches of a call without an answer; none only after every listing was without one."""
    for seconds in PAUSES:
        pause(seconds)
        try:
            found = _listed(plan, batches)
        except DispatcherError as error:
            said = f"{outcome.reason} {outcome.message}".strip()
            raise _unsettled(plan, f"{said}; and the batches could not be listed: {error.message}") from None
        if found:
            return found
    return ()


def _listed(plan: BatchPlan, batches: Listing) -> list[str]:
    """Return the batches with our id, whatever the service makes of the selector."""
    key, value = plan.tag
    query = BatchQuery(plan.request.endpoint, plan.request.project, tag=plan.tag)
    return [batch.batch_id for batch in batches.list_batches(query) if batch.tags.get(key) == value]


def _others(plan: BatchPlan, batches: Listing, batch_id: str) -> tuple[str, ...]:
    """Return further batches with our id, as far as they are listed: an earlier call may have arrived after all."""
    try:
        return tuple(each for each in _listed(plan, batches) if each != batch_id)
    except DispatcherError:
        return ()


def _not_made(outcome: Outcome, plan: BatchPlan) -> DispatcherError:
    where = f"CreateBatch at {plan.request.endpoint.url}"
    match outcome:
        case Throttled(code=code):
            return ServiceUnavailableError(
                f"{where} is throttled: {code}; no batch was made", hint="run it again in a minute"
            )
        case NotSent(reason=reason):
            return ServiceUnavailableError(
                f"{where} cannot be reached: {reason}; no batch was made",
                hint="check imm.endpoint, the network and the proxy settings, then run it again",
            )
        case Unauthorized(code=code, message=message):
            return CredentialsError(
                f"{where} is refused: {code} {message}".rstrip(),
                hint="grant imm:CreateBatch (`oss-dispatcher config policy` prints the whole policy),"
                " and see whether the account is in arrears",
            )
        case Rejected(code=code, message=message):
            return ConfigError(
                f"{where} is rejected: {code} {message}".rstrip(),
                hint="mend what it names; `oss-dispatcher check --online` proves project, role and bucket binding",
            )
        case _:
            return ServiceUnavailableError(f"{where} gave an answer to another call", hint="report this")


def _unsettled(plan: BatchPlan, said: str) -> UnsettledBatchError:
    key, value = plan.tag
    return UnsettledBatchError(
        f"whether IMM made the batch is not known: {said}",
        hint=f"look for it: oss-dispatcher batches list --project {plan.request.project} --tag {key}={value};"
        " create it again only if it stays away",
    )


# -- afterwards -----------------------------------------------------------------------------------


def suspend_batch(batches: Changing, endpoint: Endpoint, project: str, batch_id: str) -> Batch:
    """Let a running batch submit no more tasks, and return it. Idempotent. Raises as `_change`."""
    return _change(batches, batches.suspend, (endpoint, project, batch_id), BatchState.SUSPENDED)


def resume_batch(batches: Changing, endpoint: Endpoint, project: str, batch_id: str) -> Batch:
    """Let a suspended or failed batch go on, and return it. Idempotent. Raises as `_change`."""
    return _change(batches, batches.resume, (endpoint, project, batch_id), BatchState.RUNNING)


def _change(
    batches: Changing, call: Callable[[Endpoint, str, str], None], which: tuple[Endpoint, str, str], wanted: BatchState
) -> Batch:
    """Make the call. One that is refused or lost counts as done if the batch is in the wanted state.

    Raises UsageError for a batch that does not exist or whose state does not allow it, CredentialsError or
    ServiceUnavailableError if the service does not say.
    """
    refusal: ServiceUnavailableError | None = None
    try:
        call(*which)
    except ServiceUnavailableError as error:
        refusal = error
    batch = batches.get_batch(*which)
    if batch is None:
        raise UsageError(
            f"project {which[1]} has no batch {which[2]}", hint="see: oss-dispatcher batches list, and check --project"
        )
    if refusal is None or batch.state == wanted:
        return batch
    raise UsageError(
        f"batch {which[2]} stays {batch.state}: {refusal.message}",
        hint="only a running batch is suspended, and only a suspended or failed one resumed",
    )

"""`check --online`, the service: may we call it, and does somebody else start the same files?

Each missing permission is named with the action to grant. Only calls that the rules need are tried; what
would start something is asked for so that it must be refused (`targets/permissions.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from dispatcher.core.calls import Api, TaskQuery
from dispatcher.core.needs import apis_needed
from dispatcher.core.outcomes import NotSent, Registered, Rejected, Started, Throttled, Unauthorized, Uncertain
from dispatcher.core.tracing import started_by_rule, token_of
from dispatcher.errors import CredentialsError, DispatcherError, ExitCode
from dispatcher.service.findings import Finding, finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from dispatcher.core.calls import Endpoint, ServiceTask
    from dispatcher.core.outcomes import Outcome
    from dispatcher.core.rules import Rule
    from dispatcher.core.settings import Settings
    from dispatcher.ports import Tasks

LOOK_BACK = timedelta(hours=24)
"""How far back starts that are not ours are looked for."""
# -- the service ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServiceCheck:
    """Tries the calls that the rules need, and reads the service's tasks of the last day.

    `known` tells whether this ledger ever had a dispatch id.
    """

    settings: Settings
    probe: Callable[[Endpoint, Api], Outcome | None]
    tasks: Tasks
    known: Callable[[str], bool]
    now: datetime

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong, endpoint by endpoint."""
        by_endpoint: dict[Endpoint, list[Rule]] = {}
        for rule in self.settings.rules.rules:
            by_endpoint.setdefault(self.settings.buckets[rule.input.bucket].ims, []).append(rule)
        for endpoint, rules in by_endpoint.items():
            for api in apis_needed(rules):
                # Listing the tasks of each workflow, below, asks for its permission, too.
                if api is not Api.LIST_WORKFLOW_TASKS:
                    yield from self._ask(endpoint, api)
            yield from self._list(endpoint, rules)

    def _ask(self, endpoint: Endpoint, api: Api) -> Iterator[Finding]:
        outcome = self.probe(endpoint, api)
        match outcome:
            case None | Rejected() | Throttled() | Registered() | Uncertain(accepted=True):
                return
            case Unauthorized(code=code, message=message):
                yield _permission(f"ice:{api}", endpoint, f"{code} {message}")
            case NotSent(reason=reason):
                yield _unreachable(endpoint, reason)
            case Uncertain(reason=reason):
                yield _unreachable(endpoint, f"no usable answer to {api} ({reason})")
            case Started(task_id=task_id):
                yield finding(
                    "probe_started",
                    f"{endpoint.url} accepted a {api} that no service can take, as {task_id}",
                    hint="this endpoint does not behave like the service: see ims.endpoint",
                )
            case _:
                assert_never(outcome)

    def _list(self, endpoint: Endpoint, rules: Sequence[Rule]) -> Iterator[Finding]:
        for workflow_id in dict.fromkeys(rule.workflow_id for rule in rules if rule.workflow_id is not None):
            query = TaskQuery(endpoint, workflow_id, self.now - LOOK_BACK, self.now)
            foreign = _ForeignStarts()
            try:
                for task in self.tasks.list_tasks(query):
                    self._look_at(task, foreign)
            except DispatcherError as error:
                # One refusal tells of the endpoint; the other workflows would say the same.
                yield _refused("ice:ListWorkflowTasks", endpoint, error)
                return
            yield from foreign.findings()

    def _look_at(self, task: ServiceTask, foreign: _ForeignStarts) -> None:
        token = token_of(task.user_data)
        if token is not None and self.known(token[0]):
            return
        found = started_by_rule(task.task_input, task.workflow_id, self.settings.rules, self.settings.names)
        if found is None:
            return
        place, rules = found
        for rule in rules:
            foreign.add(rule, place, carries_an_id=token is not None)


@dataclass(slots=True)
class _Seen:
    """Foreign starts of one rule: how many, and the first object."""

    witness: tuple[str, str]
    count: int = 0
    with_id: int = 0


@dataclass(slots=True)
class _ForeignStarts:
    """Counts foreign starts by rule, so that a busy day gives one line and not thousands."""

    seen: dict[str, _Seen] = field(default_factory=dict)

    def add(self, rule: Rule, place: tuple[str, str], *, carries_an_id: bool) -> None:
        seen = self.seen.setdefault(rule.id, _Seen(place))
        seen.count += 1
        seen.with_id += carries_an_id

    def findings(self) -> Iterator[Finding]:
        for rule_id, seen in self.seen.items():
            plain = seen.count - seen.with_id
            if plain:
                yield _foreign(
                    rule_id,
                    seen,
                    f"{plain} tasks of the last 24 hours were not started by a dispatcher",
                    hint="set Trigger mode to Manual in the workflow's OSS binding: its built-in trigger, or"
                    " another program, starts the same files",
                )
            if seen.with_id:
                yield _foreign(
                    rule_id,
                    seen,
                    f"{seen.with_id} tasks of the last 24 hours carry ids that this ledger never sent",
                    hint="another dispatcher with a ledger of its own serves the same rule: stop one of them",
                )


# -- saying it ------------------------------------------------------------------------------------


def _refused(action: str, endpoint: Endpoint, error: DispatcherError) -> Finding:
    if isinstance(error, CredentialsError):
        return _permission(action, endpoint, error.message)
    return _unreachable(endpoint, error.message)


def _permission(action: str, endpoint: Endpoint, said: str) -> Finding:
    return finding(
        "permission",
        f"{action} is refused at {endpoint.url}: {said.strip()}",
        hint=f"grant {action} to the identity in use (`oss-dispatcher config policy` prints the whole policy),"
        " or check `credentials:`",
        exit_code=ExitCode.CREDENTIALS,
    )


def _unreachable(endpoint: Endpoint, said: str) -> Finding:
    return finding(
        "service_unreachable",
        f"{endpoint.url} does not serve: {said}",
        hint="check ims.endpoint, the network, and any proxy between",
        exit_code=ExitCode.UNAVAILABLE,
    )


def _foreign(rule_id: str, seen: _Seen, message: str, *, hint: str) -> Finding:
    return finding("foreign_start", message, hint=hint, rules=(rule_id,), witness=seen.witness)

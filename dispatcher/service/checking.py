"""`check` without the network: everything that the configuration alone tells. Reads nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

from dispatcher.core.destinations import destination_problems
from dispatcher.core.hazards import hazard_problems, rate_problems
from dispatcher.core.location import object_url
from dispatcher.core.overlaps import overlap_problems
from dispatcher.core.problems import Problem, Severity
from dispatcher.core.rules import InputType, WorkflowAction
from dispatcher.core.settings import OverlapPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.core.rules import Rule
    from dispatcher.core.settings import Settings


class ProblemJson(TypedDict):
    """A problem in the JSON of `check` (public contract). `witness` is a URL."""

    code: str
    severity: Literal["error", "warning"]
    rules: list[str]
    witness: str | None
    message: str
    hint: str


class CheckJson(TypedDict):
    """The JSON of `check` (public contract). `ok`: there is no error."""

    ok: bool
    problems: list[ProblemJson]


_OVERLAP_SEVERITY = {OverlapPolicy.WARN: Severity.WARNING, OverlapPolicy.DENY: Severity.ERROR}


def check(settings: Settings) -> list[Problem]:
    """Return what is doubtful, errors first, overlaps as the `overlap` policy says."""
    problems = [
        *hazard_problems(settings.rules, settings.buckets),
        *destination_problems(settings.rules, settings.names),
        *rate_problems(settings.rates),
    ]
    if settings.overlap is not OverlapPolicy.ALLOW:
        problems += overlap_problems(settings.rules, _OVERLAP_SEVERITY[settings.overlap])
    return sorted(problems, key=lambda problem: problem.severity is not Severity.ERROR)


def registers(rule: Rule) -> bool:
    """Tell whether a rule makes each object a media asset first: two calls, and an asset that stays."""
    return isinstance(rule.action, WorkflowAction) and rule.action.input_type is InputType.MEDIA


def is_ok(problems: Sequence[Problem], *, strict: bool = False) -> bool:
    """Tell whether the program may start; `strict` refuses warnings too."""
    return not any(strict or problem.severity is Severity.ERROR for problem in problems)


def check_json(problems: Sequence[Problem], *, strict: bool = False) -> CheckJson:
    """Return the JSON shape of the contract."""
    return CheckJson(ok=is_ok(problems, strict=strict), problems=[_problem_json(problem) for problem in problems])


def _problem_json(problem: Problem) -> ProblemJson:
    return ProblemJson(
        code=str(problem.code),
        severity="error" if problem.severity is Severity.ERROR else "warning",
        rules=list(problem.rules),
        witness=None if problem.witness is None else object_url(*problem.witness),
        message=problem.message,
        hint=problem.hint,
    )

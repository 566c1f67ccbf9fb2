"""What `check --online` finds: problems of the contract's shape, each with the exit code it alone would give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.core.problems import Problem, Severity
from dispatcher.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem and its exit code; DONE for a warning."""

    problem: Problem
    exit_code: ExitCode


def finding(  # noqa: PLR0913 - the fields of a problem
    code: str,
    message: str,
    *,
    hint: str,
    rules: tuple[str, ...] = (),
    witness: tuple[str, str] | None = None,
    exit_code: ExitCode = ExitCode.DONE,
) -> Finding:
    """Return a finding: an error if it has an exit code, else a warning."""
    severity = Severity.WARNING if exit_code is ExitCode.DONE else Severity.ERROR
    return Finding(Problem(code, severity, rules, witness, message, hint), exit_code)


def gravest(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the code that stands for all: a wrong configuration, then permissions, then what is away."""
    given = set(codes)
    order = (ExitCode.CONFIG, ExitCode.CREDENTIALS, ExitCode.UNAVAILABLE)
    return next((code for code in order if code in given), ExitCode.DONE)

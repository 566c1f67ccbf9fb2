"""Where the ledger would live: what is wrong with that place though the configuration is right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dispatcher import mounts
from dispatcher.core.problems import Problem, ProblemCode, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dispatcher.core.settings import Settings

_SQLITE = "sqlite:///"


def place_problems(
    settings: Settings,
    environment: Mapping[str, str],
    on_container_layer: Callable[[Path], bool] = mounts.on_container_layer,
) -> Iterator[Problem]:
    """Yield what this machine tells of the ledger's place. Reads the table of mounts, and nothing of the ledger."""
    if not settings.ledger.url.startswith(_SQLITE):
        return
    path = Path(settings.ledger.url.removeprefix(_SQLITE))
    if on_container_layer(path.parent):
        yield _warning(
            ProblemCode.LEDGER_ON_CONTAINER_LAYER,
            f"the ledger {path} lies on the container's own layer: a new container would know nothing of what was"
            " started, and the objects that came while there was none would count as existing",
            f"Mount a volume at {path.parent}, or name a file on one in ledger.url.",
        )
    if environment.get("KUBERNETES_SERVICE_HOST") and not _is_only_pod(environment.get("HOSTNAME", "")):
        yield _warning(
            ProblemCode.LEDGER_NOT_SHARED,
            "the ledger is a SQLite file, which serves one pod: each further replica with a ledger of its own starts"
            " every object again",
            "Run one replica as a StatefulSet with a volume, or put the ledger on PostgreSQL for several.",
        )


def _is_only_pod(name: str) -> bool:
    """Tell whether a pod's name is that of a set's first one: how many a Deployment has, a pod cannot see."""
    return name.endswith("-0")


def _warning(code: ProblemCode, message: str, hint: str) -> Problem:
    return Problem(code, Severity.WARNING, (), None, message, hint)

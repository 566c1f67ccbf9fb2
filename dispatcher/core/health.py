"""What a probe is told: whether all is well, why not, and what an operator should know besides. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is not as it should be. `code` is stable; neither text holds a secret."""

    code: str
    detail: str
    hint: str


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """The answer to a probe. `reasons` say why it fails, and are empty where it does not.

    `notes` never fail a probe: a supervisor that restarted for them would mend nothing.
    """

    reasons: tuple[Condition, ...] = ()
    notes: tuple[Condition, ...] = ()

    @property
    def ok(self) -> bool:
        """Tell whether the probe passes."""
        return not self.reasons

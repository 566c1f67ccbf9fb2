"""What is wrong with a configuration: collected, so that an operator sees everything at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from dispatcher.errors import ConfigError

Path = tuple[str | int, ...]
"""Where a value stands: `("rules", 2, "workflow", "id")`."""

SHOWN = 100
"""Problems printed in full; a generated file may hold one mistake ten thousand times."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One problem: where it was written (`config.yaml:12`), which key, and what to write instead."""

    line: int
    origin: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.path}: {self.message}" if self.path else f"{self.origin}: {self.message}"


@dataclass(slots=True)
class Faults:
    """The problems found so far."""

    found: list[Fault] = field(default_factory=list)

    def add(self, origin: Origin, path: Path, message: str) -> None:
        fault = Fault(origin.line, origin.text, path_text(path), message)
        if fault not in self.found[-SHOWN:]:
            self.found.append(fault)

    def raise_if_any(self) -> None:
        """Raise one ConfigError with every problem, in the order of the lines."""
        if not self.found:
            return
        lines = [str(fault) for fault in sorted(self.found)]
        if len(lines) > SHOWN:
            lines = [*lines[:SHOWN], f"... and {len(lines) - SHOWN} more"]
        count = "1 problem" if len(self.found) == 1 else f"{len(self.found)} problems"
        raise ConfigError(
            "\n".join(lines),
            hint=f"Mend the {count} above; `oss-dispatcher config schema` and `config init` show every key.",
        )


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written: a line of the file, or an environment variable (line 0)."""

    text: str
    line: int


def path_text(path: Path) -> str:
    """Return a path as people write it: `rules[2].workflow.id`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")

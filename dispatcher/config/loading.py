"""Read the configuration: one file, the environment, and every problem at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.config.document import read_document
from dispatcher.config.overrides import apply_overrides
from dispatcher.config.problems import Faults
from dispatcher.config.resolving import resolve
from dispatcher.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dispatcher.core.settings import Settings


def load(path: Path, env: Mapping[str, str]) -> Settings:
    """Return the settings of a file. Reads secret files too; writes nothing.

    Raises ConfigError: its message holds every problem, one on a line, as
    `file:line: path: what, and what to write instead`.
    """
    faults = Faults()
    root = read_document(_read(path), path.name, env, faults)
    if faults.found and not root.value:
        faults.raise_if_any()
    apply_overrides(root, env, faults)
    return resolve(root, path, env, faults)


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration {path}: {error.strerror}",
            hint="Name it with --config or OSS_DISPATCHER_CONFIG; `oss-dispatcher config init` writes a first one.",
        ) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path.name}:{line}: this is not UTF-8", hint="Save the file as UTF-8.") from None

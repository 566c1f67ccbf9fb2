"""What every command shares: which configuration, which format, how much to say."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dispatcher.cli.output import Format, say
from dispatcher.errors import ConfigError

if TYPE_CHECKING:
    import typer

    from dispatcher.core.settings import Settings

CONFIG_VARIABLE = "OSS_DISPATCHER_CONFIG"
CONFIG_PLACES = (Path("oss-dispatcher.yaml"), Path("/etc/oss-dispatcher/oss-dispatcher.yaml"))
"""Where a configuration is looked for when none is named, in this order."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """The options that stand before or after any command."""

    config: Path | None = None
    output: Format = Format.TABLE
    quiet: bool = False
    verbose: bool = False

    def config_path(self) -> Path:
        """Return the configuration to read.

        Raises ConfigError when it does not exist, or none is named and none is found.
        """
        if self.config is not None:
            if not self.config.exists():
                raise ConfigError(
                    f"the configuration {self.config} does not exist",
                    hint=f"name an existing file with --config or {CONFIG_VARIABLE}",
                )
            return self.config
        for place in CONFIG_PLACES:
            if place.exists():
                return place
        raise ConfigError(
            f"no configuration: there is neither {CONFIG_PLACES[0]} here nor {CONFIG_PLACES[1]}",
            hint="name one with --config, or write a first one: oss-dispatcher config init > oss-dispatcher.yaml",
        )

    def settings(self) -> Settings:
        """Read and return the configuration. Raises ConfigError with all its problems."""
        from dispatcher.config import load  # noqa: PLC0415 - pydantic and the YAML reader: not for --help

        return load(self.config_path(), os.environ)

    def say(self, text: str) -> None:
        """Tell the operator something that is not data, unless --quiet."""
        if not self.quiet:
            say(text)


def invocation(ctx: typer.Context) -> Invocation:
    """Return the invocation of a running command."""
    found = ctx.obj
    return found if isinstance(found, Invocation) else Invocation()

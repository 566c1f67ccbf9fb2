"""The shared options, accepted anywhere on the line.

People write `oss-dispatcher check -o json` as often as `oss-dispatcher -o json check`; click knows
only the second form. The arguments are put in order before it looks at them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_TAKE_A_VALUE = {"-c": "--config", "--config": "--config", "-o": "--output", "--output": "--output"}
_FLAGS = frozenset({"-q", "--quiet", "-v", "--verbose"})


def to_the_front(args: Sequence[str]) -> list[str]:
    """Return the arguments with the shared options first; what follows `--` is left alone."""
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(args)
    for arg in waiting:
        if arg == "--":
            rest += [arg, *waiting]
        elif arg in _FLAGS:
            front.append(arg)
        elif arg in _TAKE_A_VALUE:
            value = next(waiting, None)
            if value is None:
                # Alone, so that click says which option has no value.
                return [arg]
            front += [arg, value]
        elif _has_its_value(arg):
            front.append(arg)
        else:
            rest.append(arg)
    return front + rest


def _has_its_value(arg: str) -> bool:
    """Tell whether the argument is `--output=json` or `-ojson`."""
    if arg.startswith("--"):
        return arg.partition("=")[0] in _TAKE_A_VALUE and "=" in arg
    return arg[:2] in _TAKE_A_VALUE

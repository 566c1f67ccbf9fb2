"""The selectors: one set of options, the same for every command that reads or changes dispatches."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_type_hints

import typer

from dispatcher.core.dispatch import DispatchState


def _many(flag: str, text: str) -> Any:  # noqa: ANN401 - typer's own return type
    return typer.Option(flag, help=text, metavar=flag.removeprefix("--").upper().replace("-", "_"))


@dataclass(frozen=True, slots=True)
class Selection:
    """What the operator wrote to select dispatches. The fields are the options, in their order."""

    which: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID|URL]...", help="Dispatch ids, or URLs of objects.", show_default=False),
    ] = None
    rule: Annotated[list[str] | None, _many("--rule", "Of this rule; may be repeated.")] = None
    state: Annotated[list[DispatchState] | None, typer.Option("--state", help="In this state.")] = None
    task_status: Annotated[
        list[str] | None, _many("--task-status", "Whose task has this status, e.g. Failed or Processing.")
    ] = None
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="Of this key, or of keys beginning so: incoming/*")
    ] = None
    code: Annotated[list[str] | None, _many("--code", "Whose last error has this code.")] = None
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="First seen since: 24h, 2026-01-31, or RFC 3339.")
    ] = None
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="First seen before: as --since.")] = None
    source: Annotated[list[str] | None, _many("--source", "Brought by this source.")] = None
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="At most so many.")] = None

    @property
    def empty(self) -> bool:
        """True when nothing narrows the selection; a limit alone does not say which."""
        return not any(getattr(self, each.name) for each in fields(self) if each.name != "limit")


def takes_selection(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the selector options and hand them over as its parameter `selection`.

    The command's own parameters follow them. typer reads a signature, so one is built: the
    fields of `Selection`, written once, are the options of every command.
    """
    own = inspect.signature(command, eval_str=True).parameters
    hints = get_type_hints(Selection, include_extras=True)
    offered = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name])
        for each in fields(Selection)
    ]
    kept = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own.values() if each.name != "selection"]

    def with_selection(**given: Any) -> None:  # noqa: ANN401 - whatever the two signatures say
        chosen = Selection(**{each.name: given.pop(each.name) for each in fields(Selection)})
        command(selection=chosen, **given)

    parameters = sorted([*kept, *offered], key=lambda each: each.name != "ctx")
    with_selection.__name__ = command.__name__
    with_selection.__doc__ = command.__doc__
    with_selection.__annotations__ = {each.name: each.annotation for each in parameters}
    with_selection.__dict__["__signature__"] = inspect.Signature(parameters)
    return with_selection

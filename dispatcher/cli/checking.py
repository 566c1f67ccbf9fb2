"""`check`: what is wrong or surprising in a configuration, before it costs money."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.invocation import invocation
from dispatcher.cli.ledgers import now
from dispatcher.cli.output import Format, print_document, print_line
from dispatcher.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.core.problems import Problem

_NAMED = 5
"""Rules that are named in a line; the others are only told to exist."""


def check(
    ctx: typer.Context,
    *,
    online: Annotated[
        bool,
        typer.Option("--online", help="Also try buckets, ledger and permissions, and look for starts not ours."),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="A warning fails the check, too.")] = False,
) -> None:
    """Check the configuration.

    Exits with 78 when it is wrong, 77 for credentials or permissions, 69 if something is away.
    """
    from dispatcher.service.checking import check as check_offline  # noqa: PLC0415
    from dispatcher.service.checking import check_json, is_ok, registers  # noqa: PLC0415
    from dispatcher.service.placing import place_problems  # noqa: PLC0415

    asked = invocation(ctx)
    settings = asked.settings()
    registering = [rule.id for rule in settings.rules.rules if registers(rule)]
    if registering:
        shown = ", ".join(registering[:_NAMED]) + (" and others" if len(registering) > _NAMED else "")
        asked.say(f"each object is registered as a media asset before its workflow starts: {shown}")
    problems = [*check_offline(settings), *place_problems(settings, os.environ)]
    code = ExitCode.DONE if is_ok(problems) else ExitCode.CONFIG
    if online:
        from dispatcher.service.online import check_online  # noqa: PLC0415 - the store, the ledger and the service

        asked.say("looking at buckets, ledger and service ...")
        found = check_online(settings, now())
        problems += found.problems
        code = code or found.exit_code
    if asked.output is Format.TABLE:
        _print(problems, len(settings.rules.rules))
    else:
        print_document(check_json(problems, strict=strict), asked.output)
    if code is ExitCode.DONE and not is_ok(problems, strict=strict):
        code = ExitCode.CONFIG
    raise typer.Exit(int(code))


def _print(problems: "Sequence[Problem]", rules: int) -> None:
    from dispatcher.core.location import object_url  # noqa: PLC0415

    if not problems:
        print_line(f"ok: {rules} rules, nothing to warn of")
        return
    for each in problems:
        print_line(f"{each.severity} {each.code}: {', '.join(each.rules) or 'the configuration'}")
        print_line(f"  what:  {each.message}")
        if each.witness is not None:
            print_line(f"  see:   {object_url(*each.witness)}")
        print_line(f"  to do: {each.hint}")
    errors = sum(each.severity == "error" for each in problems)
    print_line(f"{errors} errors, {len(problems) - errors} warnings")

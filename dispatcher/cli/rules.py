"""`rules`: the rules with what the ledger knows of each; pause, resume, release."""

from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.invocation import Invocation, invocation
from dispatcher.cli.ledgers import now, reading, writing
from dispatcher.cli.output import Format, Json, print_document, print_line, print_records, print_table
from dispatcher.errors import UsageError

if TYPE_CHECKING:
    from dispatcher.core.settings import Settings

app = typer.Typer(help="The rules with their counts, holds and budgets.", no_args_is_help=True)
RuleId = Annotated[str, typer.Argument(metavar="RULE", help="The rule's id (its name, unless id: is written).")]


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the configured rules, and removed ones that still have rows."""
    from dispatcher.service.documents.rules import rule_records  # noqa: PLC0415 - SQLAlchemy

    asked = invocation(ctx)
    settings = asked.settings()
    with reading(settings) as ledger, ledger.read() as tx:
        records = rule_records(tx, settings, now())
    if asked.output is not Format.TABLE:
        print_records(records, asked.output)
        return
    columns = ("rule", "input", "starts", "pending", "sending", "started", "uncertain", "dead", "skipped")
    print_table((*columns, "held", "budget today"), map(_row, records))


def _row(record: dict[str, Json]) -> list[object]:
    states, hold, budget = record["states"], record["hold"], record["budget"]
    assert isinstance(states, dict)  # noqa: S101 - built above
    counts = [states.get(each, 0) for each in ("pending", "sending", "started", "uncertain", "dead", "skipped")]
    held = f"{hold['reason']}: {hold['detail']}" if isinstance(hold, dict) else None
    used = None
    if isinstance(budget, dict):
        released = f" + {budget['released']} released" if budget["released"] else ""
        used = f"{budget['used']} of {budget['limit']}{released}"
    place = record["input"] if record["configured"] else "(removed from the configuration)"
    return [record["rule"], place, record["action"], *counts, held, used]


@app.command()
def pause(
    ctx: typer.Context,
    rule: RuleId,
    *,
    detail: Annotated[str, typer.Option("--detail", help="Why, for whoever reads it later.")] = "",
) -> None:
    """Hold a rule: its objects are still recorded, and nothing of it is sent until `rules resume`."""
    from dispatcher.ledger import holds  # noqa: PLC0415 - SQLAlchemy

    asked = invocation(ctx)
    settings = asked.settings()
    _demand_rule(settings, rule)
    with writing(settings) as ledger, ledger.write() as tx:
        news = holds.hold(tx, rule, holds.HoldReason.OPERATOR, detail or "paused by an operator", now())
        hold = holds.held_rule(tx, rule)
    reason = hold.reason.value if hold is not None else None
    text = f"{rule}: held" if news else f"{rule}: was held already ({reason})"
    _tell(asked, {"rule": rule, "changed": news, "hold": reason}, text)


@app.command()
def resume(ctx: typer.Context, rule: RuleId) -> None:
    """End any hold of a rule: an operator's, and those for a loop or for refusals."""
    from dispatcher.ledger import holds  # noqa: PLC0415 - SQLAlchemy

    asked = invocation(ctx)
    settings = asked.settings()
    with writing(settings) as ledger, ledger.write() as tx:
        _demand_rule(settings, rule, known=rule in holds.held(tx))
        ended = holds.resume(tx, rule)
    _tell(asked, {"rule": rule, "changed": ended}, f"{rule}: {'resumed' if ended else 'was not held'}")


@app.command()
def release(
    ctx: typer.Context,
    rule: RuleId,
    *,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="So many more starts today; default: all that wait now.")
    ] = None,
) -> None:
    """Let rows that wait for the rule's daily budget go today."""
    from dispatcher.ledger import budgeting  # noqa: PLC0415 - SQLAlchemy

    asked = invocation(ctx)
    settings = asked.settings()
    _demand_rule(settings, rule)
    with writing(settings) as ledger, ledger.write() as tx:
        released = budgeting.release_budget(tx, rule, now(), count)
    _tell(asked, {"rule": rule, "released": released}, f"{rule}: {released} more starts are allowed today")


def _demand_rule(settings: "Settings", rule: str, *, known: bool = False) -> None:
    if known or rule in settings.rules.by_id:
        return
    from difflib import get_close_matches  # noqa: PLC0415

    near = get_close_matches(rule, settings.rules.by_id, n=1)
    raise UsageError(
        f"there is no rule {rule}",
        hint=f"did you mean {near[0]}?" if near else "`oss-dispatcher rules list` shows their ids",
    )


def _tell(asked: Invocation, record: dict[str, Json], text: str) -> None:
    if asked.output is Format.TABLE:
        print_line(text)
    else:
        print_document(record, asked.output)

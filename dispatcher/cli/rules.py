"""`rules`: the rules with what the ledger knows of each; pause, resume, release."""

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.invocation import Invocation, invocation
from dispatcher.cli.ledgers import now, reading, writing
from dispatcher.cli.output import Format, Json, print_document, print_line, print_records, print_table, rfc3339
from dispatcher.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dispatcher.core.rules import Rule
    from dispatcher.core.settings import Settings

app = typer.Typer(help="The rules with their counts, holds and budgets.", no_args_is_help=True)
RuleId = Annotated[str, typer.Argument(metavar="RULE", help="The rule's id (its name, unless id: is written).")]


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the configured rules, and removed ones that still have rows."""
    asked = invocation(ctx)
    settings = asked.settings()
    with reading(settings) as ledger, ledger.read() as tx:
        records = _records(tx, settings, now())
    if asked.output is not Format.TABLE:
        print_records(records, asked.output)
        return
    columns = ("rule", "input", "starts", "pending", "sending", "started", "uncertain", "dead", "skipped")
    print_table((*columns, "held", "budget today"), map(_row, records))


def _records(tx: "Connection", settings: "Settings", at: datetime) -> list[dict[str, Json]]:
    from dispatcher.ledger import budgeting, counting, holds  # noqa: PLC0415 - SQLAlchemy

    counts: dict[str, Counter[str]] = {}
    for each in counting.state_counts(tx, at):
        counts.setdefault(each.rule_id, Counter())[each.state.value] += each.count
    held = holds.held(tx)
    budgets = budgeting.budgets_today(tx, at)
    records = []
    for rule_id in dict.fromkeys([*settings.rules.by_id, *counts]):
        hold = held.get(rule_id)
        budget = budgets.get(rule_id)
        records.append(
            {
                **_configured(rule_id, settings.rules.by_id.get(rule_id)),
                "states": dict(counts.get(rule_id, Counter())),
                "hold": None
                if hold is None
                else {"reason": hold.reason.value, "since_at": rfc3339(hold.since), "detail": hold.detail},
                "budget": None
                if budget is None
                else {"limit": budget.limit, "used": budget.used, "released": budget.released, "left": budget.left},
            }
        )
    return records


def _configured(rule_id: str, rule: "Rule | None") -> dict[str, Json]:
    return {
        "rule": rule_id,
        "name": rule.name if rule is not None else None,
        "configured": rule is not None,
        "input": str(rule.input) if rule is not None else None,
        "workflow": rule.workflow_id if rule is not None else None,
        "action": rule.action_name if rule is not None else None,
    }


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

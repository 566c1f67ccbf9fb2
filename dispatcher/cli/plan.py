"""`plan`: what a changed configuration would match, gain and lose in the live bucket, before it is used."""

import os
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.invocation import Invocation, invocation
from dispatcher.cli.output import Format, Json, brief_time, print_document, print_line, print_table, rfc3339
from dispatcher.cli.tallies import size_text
from dispatcher.core.pricing import money_text
from dispatcher.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.core.planning import Amount, RuleFigures, RulePair
    from dispatcher.core.problems import Problem
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.service.planning import Part, Plan

SAMPLE = 10_000
TELL_EVERY_SECONDS = 5.0


def plan(
    ctx: typer.Context,
    *,
    against: Annotated[Path, typer.Option("--against", metavar="FILE", help="The changed configuration.")],
    sample: Annotated[
        bool, typer.Option("--sample", help="A quick estimate from a part of each bucket, for huge ones.")
    ] = False,
    objects: Annotated[
        int, typer.Option("--objects", min=1, metavar="N", help="With --sample: about so many objects of each root.")
    ] = SAMPLE,
) -> None:
    """Compare two configurations over the live bucket.

    What each rule would gain and lose, what was dispatched already, and what a backfill would call. Calls nothing.
    """
    from dispatcher.config import load  # noqa: PLC0415 - pydantic and the YAML reader

    asked = invocation(ctx)
    before = asked.settings()
    if not against.exists():
        raise ConfigError(f"the configuration {against} does not exist", hint="name the changed file with --against")
    after = load(against, os.environ)
    made = _look(asked, before, after, objects if sample else None)
    command = _command(against, made)
    if asked.output is Format.TABLE:
        _print(made, command)
    else:
        print_document(_json(made, command), asked.output)


def _look(asked: Invocation, before: "Settings", after: "Settings", sample: int | None) -> "Plan":
    from dispatcher.service.assembly import keys_of  # noqa: PLC0415 - the store and the ledger
    from dispatcher.service.planning import Planner  # noqa: PLC0415 - as above
    from dispatcher.sources.opening import open_bucket  # noqa: PLC0415 - as above

    with ExitStack() as stack:
        stores = {
            name: stack.enter_context(
                closing(open_bucket(settings.buckets[name], keys_of(settings, settings.buckets[name])))
            )
            for settings in (before, after)
            for name in settings.rules.buckets()
        }
        ledger = _ledger(before, stack)
        return Planner(before, after, ledger, stores, threading.Event(), _teller(asked)).plan(sample)


def _ledger(settings: "Settings", stack: ExitStack) -> "Ledger | None":
    """Open the present configuration's ledger for reading, None if there is none yet. Raises LedgerError."""
    from dispatcher.ledger.engine import Ledger  # noqa: PLC0415 - SQLAlchemy
    from dispatcher.ledger.place import path_of  # noqa: PLC0415 - as above

    if not path_of(settings.ledger.url).exists():
        return None
    return stack.enter_context(closing(Ledger.open(settings.ledger.url, readonly=True)))


def _teller(asked: Invocation) -> Callable[[int], None]:
    last = [time.monotonic()]

    def tell(objects: int) -> None:
        if time.monotonic() - last[0] >= TELL_EVERY_SECONDS:
            last[0] = time.monotonic()
            asked.say(f"{objects} objects looked at")

    return tell


def _command(against: Path, made: "Plan") -> str | None:
    """Return the command that would start what the changed rules match and nothing has started, None for nothing."""
    rules = [word for pair in made.to_backfill for word in ("--rule", pair.id)]
    return shlex.join(["oss-dispatcher", "-c", str(against), "backfill", *rules]) if rules else None


# -- JSON -------------------------------------------------------------------------------------------


def _json(made: "Plan", command: str | None) -> dict[str, object]:
    from dispatcher.service.checking import check_json  # noqa: PLC0415
    from dispatcher.service.planning import total  # noqa: PLC0415

    return {
        "estimated": made.estimated,
        "ledger": made.known_from,
        "listed": [_part_json(part) for part in made.parts],
        "rules": [_rule_json(pair, made.figures[pair.id]) for pair in made.pairs],
        "total": {name: _amount_json(total(made.figures, name)) for name in _FIGURES},
        "problems_gained": check_json(made.gained)["problems"],
        "problems_lost": check_json(made.lost)["problems"],
        "backfill": None
        if command is None
        else {
            "command": command,
            "calls": {api.value: count for api, count in made.calls().items()},
            "currency": None if made.prices is None else made.prices.currency,
            "cost": None if (cost := made.cost()) is None else money_text(cost),
        },
    }


_FIGURES = ("gained", "lost", "unchanged", "dispatched", "startable", "gained_startable", "on_restart")


def _amount_json(amount: "Amount") -> Json:
    return {"objects": amount.objects, "bytes": amount.bytes}


def _part_json(part: "Part") -> Json:
    return {
        "bucket": part.bucket,
        "root": part.root,
        "basis": part.basis.value,
        "objects": part.objects,
        "of": part.of,
        "snapshot_at": rfc3339(part.listed_at),
    }


def _rule_json(pair: "RulePair", figures: "RuleFigures") -> Json:
    from dispatcher.core.location import object_url  # noqa: PLC0415

    return {
        "rule": pair.id,
        "was": pair.before.id if pair.before is not None else None,
        "change": pair.change.value,
        "changed": list(pair.changed),
        **{name: _amount_json(getattr(figures, name)) for name in _FIGURES},
        "gained_examples": [object_url(*place) for place in figures.gained_examples],
        "lost_examples": [object_url(*place) for place in figures.lost_examples],
    }


# -- tables -----------------------------------------------------------------------------------------

_COLUMNS = ("rule", "change", "newly matched", "no longer", "unchanged", "dispatched already", "never started")


def _print(made: "Plan", command: str | None) -> None:
    about = "~" if made.estimated else ""
    print_table(_COLUMNS, (_row(pair, made.figures[pair.id], about) for pair in made.pairs))
    for line in (
        *_examples(made),
        *_basis(made),
        *_problems("gained", made.gained),
        *_problems("gone", made.lost),
        *_reload(made, about),
        *_actions(made),
        *_backfill(made, command, about),
    ):
        print_line(line)


def _row(pair: "RulePair", figures: "RuleFigures", about: str) -> tuple[object, ...]:
    change = pair.change.value
    if pair.before is not None and pair.before.id != pair.id:
        change += f" from {pair.before.id}"
    if pair.changed:
        change += f" ({', '.join(pair.changed)})"
    amounts = (figures.gained, figures.lost, figures.unchanged, figures.dispatched, figures.startable)
    return (pair.id, change, *(_amount(each, about) for each in amounts))


def _amount(amount: "Amount", about: str) -> str:
    return f"{about}{amount.objects} ({about}{size_text(amount.bytes)})" if amount.objects else "0"


def _examples(made: "Plan") -> Iterator[str]:
    from dispatcher.core.location import object_url  # noqa: PLC0415

    for pair in made.pairs:
        figures = made.figures[pair.id]
        for word, places in (("newly", figures.gained_examples), ("no longer", figures.lost_examples)):
            for place in places:
                yield f"  {pair.id} {word}: {object_url(*place)}"


def _basis(made: "Plan") -> Iterator[str]:
    from dispatcher.service.sampling import Basis  # noqa: PLC0415

    for part in made.parts:
        where = f"{part.bucket}/{part.root}"
        match part.basis:
            case Basis.WHOLE:
                yield f"{where}: all {part.objects} objects"
            case Basis.SNAPSHOT:
                yield (
                    f"{where}: an estimate from {part.objects} objects, spread over the {part.of} that the listing"
                    f" of {brief_time(part.listed_at)} had"
                )
            case Basis.BEGINNING:
                yield (
                    f"{where}: only the first {part.objects} objects of the listing, not scaled up: this is a beginning"
                    " and no sample, since the ledger has no complete listing of it"
                )
    if made.known_from is None:
        yield "there is no ledger yet: nothing counts as dispatched"


def _problems(word: str, problems: "Sequence[Problem]") -> Iterator[str]:
    for each in problems:
        yield f"{word}: {each.severity} {each.code}: {each.message}"
        if word == "gained":
            yield f"  to do: {each.hint}"


def _reload(made: "Plan", about: str) -> Iterator[str]:
    wishing = [(pair.id, made.figures[pair.id].on_restart) for pair in made.pairs]
    for rule, amount in wishing:
        if amount.objects:
            yield f"on restart: rule {rule} wishes for existing objects: {_amount(amount, about)} start by themselves"
    if not any(amount.objects for _, amount in wishing):
        yield "on restart: only objects that come after it start; what lies there stays as it is"


def _actions(made: "Plan") -> Iterator[str]:
    for pair in made.pairs:
        known = made.figures[pair.id].dispatched.objects
        if "action" in pair.changed and known:
            yield (
                f"rule {pair.id} starts something else now: the {known} objects dispatched already do not start"
                f" again; backfill --rule {pair.id} --again NAME would start them"
            )


def _backfill(made: "Plan", command: str | None, about: str) -> Iterator[str]:
    if command is None:
        yield "a backfill of what is newly matched would start nothing"
        return
    calls = ", ".join(f"{about}{count} {api.value}" for api, count in made.calls().items())
    yield f"a backfill would make {calls}:"
    if made.prices is not None:
        cost = made.cost()
        shown = "no price for all of it" if cost is None else f"{about}{money_text(cost)} {made.prices.currency}"
        yield f"  it would cost {shown}"
    yield f"  {command}"

"""`db`: the ledger's file."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.adopting import adopt
from dispatcher.cli.invocation import invocation
from dispatcher.cli.output import Format, print_document, print_line

if TYPE_CHECKING:
    from dispatcher.ledger.engine import Ledger

app = typer.Typer(help="The ledger's file: upgrade, copies, and what IMS knows that it does not.", no_args_is_help=True)
app.command()(adopt)


@app.command()
def current(ctx: typer.Context) -> None:
    """Print the revision of the ledger, and the one this version writes."""
    from dispatcher.ledger.place import path_of  # noqa: PLC0415 - SQLAlchemy and Alembic
    from dispatcher.ledger.upgrading import HEAD  # noqa: PLC0415 - as above

    asked = invocation(ctx)
    url = asked.settings().ledger.url
    path = path_of(url)
    revision = None
    if path.exists():
        with closing(_existing(url)) as ledger:
            revision = ledger.current()
    if asked.output is Format.TABLE:
        state = "no ledger yet" if revision is None else f"revision {revision}"
        print_line(f"{path}: {state}; this version writes {HEAD}")
    else:
        print_document({"path": str(path), "revision": revision, "head": HEAD}, asked.output)


@app.command()
def upgrade(ctx: typer.Context) -> None:
    """Bring the ledger to this version; an existing file is copied first. `run` does this by itself."""
    from dispatcher.ledger.engine import Ledger  # noqa: PLC0415 - SQLAlchemy and Alembic

    asked = invocation(ctx)
    with closing(Ledger.open(asked.settings().ledger.url, upgrade=False)) as ledger:
        done = ledger.upgrade()
        revision = ledger.current()
    if asked.output is Format.TABLE:
        print_line(f"{ledger.path}: {'upgraded to' if done else 'already at'} revision {revision}")
    else:
        print_document({"path": str(ledger.path), "revision": revision, "upgraded": done}, asked.output)


@app.command()
def backup(
    ctx: typer.Context,
    to: Annotated[Path, typer.Argument(metavar="FILE", help="The copy to write; it must not exist yet.")],
) -> None:
    """Copy the ledger to a new file. Consistent also while the daemon runs."""
    asked = invocation(ctx)
    with closing(_existing(asked.settings().ledger.url)) as ledger:
        ledger.backup(to)
    size = to.stat().st_size
    if asked.output is Format.TABLE:
        print_line(f"{to}: {size} bytes")
    else:
        print_document({"path": str(to), "bytes": size}, asked.output)


def _existing(url: str) -> "Ledger":
    """Open a ledger of any accepted revision as it is. Raises LedgerError, also when there is none."""
    from dispatcher.ledger.engine import Ledger  # noqa: PLC0415 - SQLAlchemy and Alembic
    from dispatcher.ledger.place import check_place, path_of  # noqa: PLC0415 - as above

    check_place(path_of(url), readonly=True)
    return Ledger.open(url, upgrade=False)

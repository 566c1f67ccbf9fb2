"""`config`: the configuration as it is understood, its schema, a first one, and the RAM policy it needs."""

import sys

import typer

from dispatcher.cli.invocation import invocation
from dispatcher.cli.output import Format, print_document

app = typer.Typer(help="Show, begin and document a configuration.", no_args_is_help=True)


@app.command()
def show(ctx: typer.Context) -> None:
    """Print the effective configuration: environment applied, defaults filled in, secrets masked."""
    from dispatcher.config import dump_effective, effective  # noqa: PLC0415 - pydantic and the YAML reader

    asked = invocation(ctx)
    settings = asked.settings()
    if asked.output is Format.TABLE:
        sys.stdout.write(dump_effective(settings))
    else:
        print_document(effective(settings), asked.output)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors and CI."""
    from dispatcher.config import dump_schema  # noqa: PLC0415 - as above

    sys.stdout.write(dump_schema())


@app.command()
def init() -> None:
    """Print a commented first configuration: oss-dispatcher config init > oss-dispatcher.yaml."""
    from dispatcher.config import starter  # noqa: PLC0415 - as above

    sys.stdout.write(starter())


@app.command()
def policy(ctx: typer.Context) -> None:
    """Print the least RAM policy under which this configuration works."""
    from dispatcher.config import dump_policy  # noqa: PLC0415 - as above

    sys.stdout.write(dump_policy(invocation(ctx).settings()))

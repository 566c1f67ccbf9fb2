"""What the commands print: tables for people, JSON for programs, and everything else on stderr."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING

from dispatcher.core.documents import Json, Record, brief_time, rfc3339
from dispatcher.core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "Format",
    "Json",
    "Record",
    "brief_time",
    "print_document",
    "print_line",
    "print_records",
    "print_table",
    "rfc3339",
    "say",
]

_PIPE_WIDTH = 100_000
"""Columns of a table that no person sees: nothing is cut or folded."""


class Format(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


def print_document(document: Json | Mapping[str, object], output: Format) -> None:
    """Print one JSON value: indented, or on one line for `jsonl`. ASCII only, whatever is inside.

    Raises TypeError for a mapping that holds something JSON does not know.
    """
    indent = None if output is Format.JSONL else 2
    sys.stdout.write(json.dumps(document, indent=indent, ensure_ascii=True) + "\n")


def print_records(records: Iterable[Record], output: Format) -> None:
    """Print records as they come: one array, or one line each for `jsonl`. ASCII only."""
    if output is Format.JSONL:
        for record in records:
            sys.stdout.write(json.dumps(record, ensure_ascii=True) + "\n")
        return
    separator = "[\n"
    for record in records:
        sys.stdout.write(separator + json.dumps(record, ensure_ascii=True))
        separator = ",\n"
    sys.stdout.write("[]\n" if separator == "[\n" else "\n]\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table on stdout. Every cell is made printable: keys are data of strangers.

    On a terminal long cells fold; into a pipe each row is one line.
    """
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - rich is loaded only when a table is printed
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, title_justify="left", title_style="bold")
    if title is not None:
        table.title = Text(printable(title))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text("-" if cell is None else printable(str(cell))) for cell in row))
    console.print(table)


def print_line(text: str = "") -> None:
    """Print one line of data on stdout, made printable."""
    sys.stdout.write(printable(text) + "\n")


def say(text: str) -> None:
    """Print one line about what happens on stderr, made printable."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()

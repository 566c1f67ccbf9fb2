"""`demo`: the main job on an embedded store and a simulated service."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.invocation import invocation
from dispatcher.cli.output import Format, Record, print_line, print_records, print_table
from dispatcher.errors import ExitCode

if TYPE_CHECKING:
    from dispatcher.demo.report import Line, Report


def demo(
    ctx: typer.Context,
    *,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running until Ctrl-C, and its directory afterwards.")
    ] = False,
) -> None:
    """Show the main job on this machine.

    With a real S3 server, the real daemon, and a local service that verifies signatures.
    """
    from dispatcher.demo.play import leaving_in_order, playing, staging  # noqa: PLC0415 - boto3, the ledger and the simulator

    asked = invocation(ctx)
    with leaving_in_order(), staging(asked.say, keep=keep) as directory, playing(directory, asked.say) as play:
        report = play.perform()
        _print(report, asked.output)
        sys.stdout.flush()
        play.say_what_next(keep=keep)
        if keep:
            play.wait_for_ctrl_c()
    raise typer.Exit(int(ExitCode.OBJECTS_FAILED if report.wrong else ExitCode.DONE))


def _print(report: "Report", output: Format) -> None:
    if output is not Format.TABLE:
        print_records(map(_record, report.lines), output)
        return
    columns = ("object", "rule", "verdict", "calls", "task", "final state")
    print_table(columns, map(_row, report.lines))
    print_line()
    if report.wrong:
        print_line(f"NOT as it should be: {len(report.wrong)} differences")
        for each in report.wrong:
            print_line(f"  {each}")
        return
    starts = sum(line.task_id is not None for line in report.lines)
    print_line(
        f"The service's journal holds {report.calls} accepted calls:"
        f" exactly one for each of the {starts} pairs of object content and matching rule."
    )


def _row(line: "Line") -> tuple[object, ...]:
    return (
        f"{line.bucket}/{line.key}",
        line.rule,
        line.reason,
        line.calls,
        line.task_id,
        " ".join(each for each in (line.state, line.task_status) if each) or None,
    )


def _record(line: "Line") -> Record:
    return {
        "bucket": line.bucket,
        "key": line.key,
        "rule": line.rule,
        "verdict": line.reason,
        "calls": line.calls,
        "task_id": line.task_id,
        "state": line.state,
        "task_status": line.task_status,
    }

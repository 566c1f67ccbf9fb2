"""`simulator`: a local service endpoint that verifies signatures and fails on purpose."""

import os
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.invocation import invocation
from dispatcher.cli.output import print_line
from dispatcher.core.quantities import parse_duration
from dispatcher.core.settings import Secret
from dispatcher.errors import UsageError

if TYPE_CHECKING:
    from dispatcher.simulator.faults import FaultRate

SECRET_VARIABLE = "SIMULATOR_ACCESS_KEY_SECRET"  # noqa: S105 - a variable's name
_DEFAULT_SECRET = "simulator-secret"  # noqa: S105 - opens nothing but a simulator on loopback


def simulator(  # noqa: PLR0913 - one parameter for each option
    ctx: typer.Context,
    *,
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8800,
    access_key_id: Annotated[str, typer.Option("--access-key-id", help="The key that may call.")] = "simulator",
    region: Annotated[str, typer.Option("--region", help="The region it plays.")] = "cn-hangzhou",
    workflow: Annotated[
        list[str] | None,
        typer.Option("--workflow", metavar="ID", help="A workflow that exists; may be repeated. Default: every id."),
    ] = None,
    qps: Annotated[int | None, typer.Option("--qps", min=1, help="StartWorkflow calls in a second.")] = None,
    listing_delay: Annotated[
        str, typer.Option("--listing-delay", metavar="TIME", help="Until a task is listed.")
    ] = "0s",
    task_duration: Annotated[
        str, typer.Option("--task-duration", metavar="TIME", help="How long a task takes.")
    ] = "5s",
    latency: Annotated[str, typer.Option("--latency", metavar="TIME", help="How late every answer is.")] = "0s",
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            metavar="[ACTION:]FAULT=CHANCE",
            help="A call goes wrong with this chance, e.g. accept-drop=0.1 or ListWorkflowTasks:5xx-before=0.2.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Makes the faults repeatable.")] = 0,
    journal: Annotated[
        Path | None, typer.Option("--journal", help="A file that keeps every accepted call, and tasks over restarts.")
    ] = None,
) -> None:
    """Play the service on this machine.

    Until Ctrl-C. The secret is taken from SIMULATOR_ACCESS_KEY_SECRET.
    """
    from dispatcher.simulator.faults import FaultPlan  # noqa: PLC0415
    from dispatcher.simulator.server import Simulator  # noqa: PLC0415
    from dispatcher.simulator.settings import SimulatedWorkflow, SimulatorSettings  # noqa: PLC0415

    asked = invocation(ctx)
    settings = SimulatorSettings(
        host=host,
        port=port,
        access_key_id=access_key_id,
        access_key_secret=Secret(os.environ.get(SECRET_VARIABLE, _DEFAULT_SECRET)),
        region=region,
        workflows=tuple(map(SimulatedWorkflow, workflow)) if workflow else None,
        qps=qps,
        listing_delay=_duration("--listing-delay", listing_delay),
        task_duration=_duration("--task-duration", task_duration),
        faults=FaultPlan(
            rates=tuple(_fault_rate(text) for text in fault or ()), latency=_duration("--latency", latency), seed=seed
        ),
    )
    stop = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: stop.set())
    with Simulator(settings, journal_path=journal) as running:
        for line in config_lines(running.url, access_key_id):
            print_line(line)
        sys.stdout.flush()
        asked.say(f"serving on {running.url} until Ctrl-C; faults and journal: {running.url}/simulator/...")
        stop.wait()
        asked.say(f"stopped; {len(running.journal())} tasks were started")


def config_lines(url: str, access_key_id: str) -> list[str]:
    """Return the lines of a configuration that make the dispatcher use this simulator."""
    secret = f"${{{SECRET_VARIABLE}}}" if SECRET_VARIABLE in os.environ else _DEFAULT_SECRET
    keys = f'access_key_id: "{access_key_id}", access_key_secret: "{secret}"'
    return [f'ims: {{endpoint: "{url}"}}', f"credentials: {{type: access_key, {keys}}}"]


def _duration(option: str, text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}", hint=f"for example {option} 5s") from error


def _fault_rate(text: str) -> "FaultRate":
    from dispatcher.simulator.faults import START, Fault, FaultRate  # noqa: PLC0415

    name, _, chance = text.rpartition("=")
    action, _, kind = name.rpartition(":")
    try:
        rate = FaultRate(Fault(kind), float(chance), action or START)
    except ValueError as error:
        raise UsageError(
            f"--fault {text}: not a fault and its chance",
            hint=f"write for example accept-drop=0.1; there are {', '.join(Fault)}",
        ) from error
    if not 0 <= rate.probability <= 1:
        raise UsageError(f"--fault {text}: a chance lies between 0 and 1", hint="write for example accept-drop=0.1")
    return rate

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
    from dispatcher.simulator.settings import CallbackSettings, QuickJob, SimulatedMedia, SimulatedProject

SECRET_VARIABLE = "SIMULATOR_ACCESS_KEY_SECRET"  # noqa: S105 - a variable's name
CALLBACK_KEY_VARIABLE = "SIMULATOR_CALLBACK_KEY"
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
    template: Annotated[
        list[str] | None,
        typer.Option("--template", metavar="ID", help="An editing template that exists; may be repeated."),
    ] = None,
    media: Annotated[
        list[str] | None,
        typer.Option("--media", metavar="ID=URL", help="A media asset that is registered already; may be repeated."),
    ] = None,
    project: Annotated[
        list[str] | None,
        typer.Option(
            "--project", metavar="NAME=BUCKET,…", help="An IMM project and its bound buckets; may be repeated."
        ),
    ] = None,
    quick_jobs: Annotated[
        Path | None,
        typer.Option("--quick-jobs", metavar="FILE", help="Quick-production jobs to list, a JSON object a line."),
    ] = None,
    qps: Annotated[int | None, typer.Option("--qps", min=1, help="StartWorkflow calls in a second.")] = None,
    quota: Annotated[
        list[str] | None,
        typer.Option("--quota", metavar="ACTION=N", help="Calls of another action in a second; 0: no bound."),
    ] = None,
    listing_delay: Annotated[
        str, typer.Option("--listing-delay", metavar="TIME", help="Until a task is listed.")
    ] = "0s",
    task_duration: Annotated[
        str, typer.Option("--task-duration", metavar="TIME", help="How long a task takes.")
    ] = "5s",
    token_lifetime: Annotated[
        str, typer.Option("--token-lifetime", metavar="TIME", help="How long a client token is remembered.")
    ] = "10m",  # noqa: S107 - a time, not a secret
    failing: Annotated[
        list[str] | None,
        typer.Option("--failing", metavar="PATTERN", help="Editing jobs with such an output URL, and batches, fail."),
    ] = None,
    callback_url: Annotated[
        str | None, typer.Option("--callback-url", metavar="URL", help="Where completion events are posted.")
    ] = None,
    allow_remote_callbacks: Annotated[
        bool, typer.Option("--allow-remote-callbacks", help="Post events beyond this machine too.")
    ] = False,
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
    """Play the service on this machine: Intelligent Media Services, and the batches of Intelligent Media Management.

    Until Ctrl-C. The secret is taken from SIMULATOR_ACCESS_KEY_SECRET, the key that signs callbacks
    from SIMULATOR_CALLBACK_KEY.
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
        templates=tuple(template) if template else None,
        media=tuple(_media(text) for text in media or ()),
        projects=tuple(_project(text) for text in project) if project else None,
        quick_jobs=_quick_jobs(quick_jobs) if quick_jobs else (),
        qps=qps,
        quotas=dict(_quota(text) for text in quota or ()),
        listing_delay=_duration("--listing-delay", listing_delay),
        task_duration=_duration("--task-duration", task_duration),
        token_lifetime=_duration("--token-lifetime", token_lifetime),
        failing=tuple(failing or ()),
        callbacks=_callbacks(callback_url, allow_remote=allow_remote_callbacks),
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
        asked.say(
            f"stopped; {len(running.journal())} tasks were started, {len(running.accepted())} other calls accepted"
        )


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


def _pair(option: str, text: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise UsageError(f"{option} {text}: two parts joined by = are needed", hint=f"for example {option} {example}")
    return name, value


def _media(text: str) -> "SimulatedMedia":
    from dispatcher.simulator.media import identity_of  # noqa: PLC0415
    from dispatcher.simulator.settings import SimulatedMedia  # noqa: PLC0415

    example = "m1=oss://my-media/incoming/a.mp4"
    media_id, url = _pair("--media", text, example)
    try:
        identity_of(url)
    except ValueError as error:
        raise UsageError(f"--media {text}: {error}", hint=f"for example --media {example}") from error
    return SimulatedMedia(media_id, url)


def _project(text: str) -> "SimulatedProject":
    from dispatcher.simulator.settings import SimulatedProject  # noqa: PLC0415

    name, buckets = _pair("--project", text, "my-project=my-media,my-archive")
    return SimulatedProject(name, tuple(buckets.split(",")))


def _quota(text: str) -> tuple[str, int | None]:
    from dispatcher.simulator.actions.registry import ACTIONS  # noqa: PLC0415

    example = "SubmitMediaProducingJob=30"
    action, number = _pair("--quota", text, example)
    if not (number.isascii() and number.isdigit()):
        raise UsageError(f"--quota {text}: {number} is no number", hint=f"for example --quota {example}")
    known = sorted({name for _, name in ACTIONS})
    if action not in known:
        raise UsageError(f"--quota {text}: there is no action {action}", hint=f"there are {', '.join(known)}")
    return action, int(number) or None


def _quick_jobs(path: Path) -> "tuple[QuickJob, ...]":
    from dispatcher.simulator.plans import quick_job_from_json  # noqa: PLC0415

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--quick-jobs {path}: {error}", hint="give a file with a JSON object on each line") from error
    jobs = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            jobs.append(quick_job_from_json(line))
        except ValueError as error:
            hint = 'write for example {"job_id": "j1", "job_type": "Script", "status": "Finished"}'
            raise UsageError(f"--quick-jobs {path}, line {number}: {error}", hint=hint) from error
    return tuple(jobs)


def _callbacks(url: str | None, *, allow_remote: bool) -> "CallbackSettings":
    from dispatcher.simulator.events import on_loopback  # noqa: PLC0415
    from dispatcher.simulator.settings import CallbackSettings  # noqa: PLC0415

    if url is not None and not url.startswith(("http://", "https://")):
        raise UsageError(f"--callback-url {url}: not an http or https URL", hint="for example http://127.0.0.1:8081/")
    if url is not None and not (allow_remote or on_loopback(url)):
        raise UsageError(
            f"--callback-url {url}: this may be another machine", hint="add --allow-remote-callbacks to post there"
        )
    key = os.environ.get(CALLBACK_KEY_VARIABLE)
    return CallbackSettings(url, Secret(key) if key else None, allow_remote)


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

"""`explain`: each rule's verdict on an object, why, and the request that would be sent."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.invocation import invocation
from dispatcher.cli.ledgers import now
from dispatcher.cli.output import Format, brief_time, print_document, print_line, print_table
from dispatcher.core.calls import api_of
from dispatcher.core.rules import Reason
from dispatcher.service.documents.explaining import explanation_json
from dispatcher.service.documents.timeline import state_text

if TYPE_CHECKING:
    from dispatcher.core.calls import Call
    from dispatcher.core.unsendable import Unsendable
    from dispatcher.service.explaining import Explanation, Judgement
    from dispatcher.service.live import LiveExplanation

_MANY_RULES = 40
"""With more rules than this, a table leaves out those that do not bind the object's path."""
_ELSEWHERE = (Reason.BUCKET, Reason.PREFIX)


def explain(
    ctx: typer.Context,
    urls: Annotated[list[str], typer.Argument(metavar="URL...", help="Objects, in any URL form, or bare keys.")],
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Also look at the object, the ledger and the tasks, and say why it waits.")
    ] = False,
) -> None:
    """Say what each rule thinks of an object.

    Verdict and reason of every rule, and the request that would be sent.
    """
    from dispatcher.core.location import parse_object  # noqa: PLC0415
    from dispatcher.service.explaining import explain as explain_object  # noqa: PLC0415

    asked = invocation(ctx)
    settings = asked.settings()
    names = settings.names
    places = [(url, *parse_object(url, names)) for url in urls]
    if not live:
        offline = [explain_object(settings, url, bucket, key) for url, bucket, key in places]
        _print(asked.output, [(each, None) for each in offline])
        return
    from dispatcher.service.live import explain_live  # noqa: PLC0415 - the store, the ledger and the service

    seen = explain_live(settings, places, now())
    _print(asked.output, [(each.explanation, each) for each in seen])


def _print(output: Format, explained: "list[tuple[Explanation, LiveExplanation | None]]") -> None:
    if output is Format.TABLE:
        for explanation, live in explained:
            _print_explanation(explanation)
            if live is not None:
                _print_live(live)
            print_line()
        return
    records = [explanation_json(explanation, live) for explanation, live in explained]
    if output is Format.JSON:
        print_document(records, output)
        return
    for record in records:
        print_document(record, output)


# -- tables ---------------------------------------------------------------------------------------


def _print_explanation(explanation: "Explanation") -> None:
    shown = explanation.judgements
    hidden = 0
    if len(shown) > _MANY_RULES:
        shown = tuple(each for each in shown if each.verdict.reason not in _ELSEWHERE)
        hidden = len(explanation.judgements) - len(shown)
    rows = [
        (each.verdict.rule.id, "yes" if each.verdict.matched else "no", each.verdict.reason, each.sentence)
        for each in shown
    ]
    print_table(["rule", "starts", "reason", "why"], rows, title=f"bucket {explanation.bucket}, key {explanation.key}")
    if hidden:
        print_line(f"({hidden} more rules bind another bucket or path)")
    for judgement in explanation.matches:
        for line in _request_lines(judgement):
            print_line(line)


def _request_lines(judgement: "Judgement") -> Iterator[str]:
    steps = [call for call in (judgement.call, judgement.then) if call is not None]
    for number, call in enumerate(steps, 1):
        step = f"step {number} of {len(steps)}, " if len(steps) > 1 else ""
        yield from _call_lines(call, judgement, step)


def _call_lines(call: "Call | Unsendable", judgement: "Judgement", step: str) -> Iterator[str]:
    from dispatcher.core.parameters import parameters_of  # noqa: PLC0415
    from dispatcher.core.unsendable import (  # noqa: PLC0415
        LimitBroken,
        UserDataTooLong,
        advice_for,
        sentence_of,
        user_data_limit,
    )

    rule = judgement.verdict.rule
    if isinstance(call, UserDataTooLong | LimitBroken):
        yield f"{rule.id}: {step}cannot be sent: {sentence_of(call)}: {advice_for(call, rule)}"
        return
    sent = parameters_of(call)
    yield f"{rule.id}: {step}{api_of(call)} at {call.endpoint.url}"
    example = "" if judgement.dispatch_id else "; the id in it is an example, it is made of the content"
    size = f"  ({len(call.user_data.encode())} of {user_data_limit(call)} bytes{example})"
    width = max(map(len, sent))
    for name, text in sent.items():
        yield f"  {name.ljust(width)}  {text}{size if name == 'UserData' else ''}"


def _print_live(live: "LiveExplanation") -> None:
    print_line()
    head = live.head
    if head is not None:
        print_line(f"now: etag {head.etag}, {head.size} bytes, modified {brief_time(head.modified_at)}")
    for note in live.notes:
        print_line(f"note: {note}")
    for each in live.why_not:
        print_line(f"{each.rule}: {each.why}")
    if live.dispatches:
        rows = [
            (each.dispatch_id, each.rule, each.etag, state_text(each), each.task_id, brief_time(each.first_seen_at))
            for each in live.dispatches
        ]
        print_table(["dispatch", "rule", "content", "state", "task", "seen"], rows, title="all dispatches of this key")
    for start in live.foreign:
        print_line(
            f"foreign start: task {start.task_id} of workflow {start.workflow_id} was not started by this ledger;"
            " set Trigger mode to Manual"
        )

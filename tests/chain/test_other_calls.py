"""Editing jobs and media assets on the whole chain: lost answers, a kill at the worst place, and one job for each."""

from __future__ import annotations

import json
import signal
import socket
from collections import Counter
from typing import TYPE_CHECKING

from dispatcher.simulator.faults import Fault, FaultPlan, ScriptedFault

if TYPE_CHECKING:
    from tests.chain.harness import Chain

KEYS = [f"in/{number}.mp4" for number in range(6)]
SUBMIT, REGISTER, START = "SubmitMediaProducingJob", "RegisterMediaInfo", "StartWorkflow"
TIMELINE = '{VideoTracks: [{VideoTrackClips: [{MediaURL: "oss://mirror/{key}"}]}]}'
OUTPUT = '{MediaURL: "https://cut.oss-cn-hangzhou.aliyuncs.com/made/{stem}.mp4"}'
EDIT = f"{{timeline: {TIMELINE}, output_media_config: {OUTPUT}%s}}"
MEDIA = "  - {name: media, input: in/, existing: dispatch, workflow: {id: wf, input_type: media, media_url: 'oss://mirror/{key}'}}"
RATES = {"ListWorkflowTasks: 200/s": "ListWorkflowTasks: 200/s, ListMediaProducingJobs: 200/s, GetMediaInfo: 100/s"}


def editing_rule(**more: object) -> str:
    extra = "".join(f", {key}: {json.dumps(value)}" for key, value in more.items())
    return f"  - {{name: cut, input: in/, existing: dispatch, editing: {EDIT % extra}}}"


def lose(chain: Chain, **faults: tuple[Fault | None, ...]) -> None:
    """Let the first calls of each API meet these ends."""
    chain.simulator.set_faults(
        FaultPlan(script=tuple(ScriptedFault(fault, api) for api, ends in faults.items() for fault in ends))
    )


def finished(chain: Chain, status: str) -> bool:
    rows = chain.rows()
    return len(rows) == len(KEYS) and {row.task_status for row in rows} == {status}


def test_lost_answers_and_a_kill_make_one_editing_job_for_each_object(chain: Chain) -> None:
    for key in KEYS:
        chain.put(key)
    chain.configure(editing_rule(), replaced=RATES)
    lose(chain, **{SUBMIT: (Fault.DROP, Fault.ERROR_BEFORE, None, Fault.GARBLED, Fault.HANG, None, Fault.DROP)})
    assert chain.start(crash_at="after_call:2").wait(timeout=60) == -signal.SIGKILL
    daemon = chain.start()
    chain.wait_until(lambda: finished(chain, "Success"), "jobs", within=90)
    assert chain.kill(daemon, signal.SIGTERM) == 0
    made = {call.client_token: call.answer["JobId"] for call in chain.simulator.accepted(SUBMIT) if not call.repeat}
    assert {row.dispatch_id: row.task_id for row in chain.rows()} == made
    assert sum(not call.repeat for call in chain.simulator.accepted(SUBMIT)) == len(KEYS)
    assert all(row.media_id for row in chain.rows())
    shown = chain.command("dispatches", "show", chain.rows()[0].dispatch_id, "-o", "json")
    events = [moment["event"] for moment in json.loads(shown.stdout)[0]["timeline"]]
    assert (events[:4], events[-1]) == (["seen", "matched", "recorded", "sent"], "task_finished")


def test_an_object_is_registered_once_and_started_once_through_lost_answers_and_a_kill_between(chain: Chain) -> None:
    for key in KEYS:
        chain.put(key)
    chain.configure(MEDIA, replaced=RATES)
    lose(
        chain,
        **{REGISTER: (None, Fault.DROP, Fault.HANG, None, Fault.ERROR_BEFORE), START: (None, Fault.DROP, None)},
    )
    # The first registration is written; its start is not.
    assert chain.start(crash_at="after_settle").wait(timeout=60) == -signal.SIGKILL
    assert chain.simulator.calls() == []
    daemon = chain.start()
    chain.wait_until(lambda: finished(chain, "Succeed"), "tasks", within=90)
    assert chain.kill(daemon, signal.SIGTERM) == 0
    registered = [call for call in chain.simulator.accepted(REGISTER) if not call.repeat]
    assets = {call.answer["MediaId"]: call.parameters["InputURL"] for call in registered}
    assert Counter(assets.values()) == Counter(f"oss://mirror/{key}" for key in KEYS)
    inputs = [json.loads(call.task_input) for call in chain.simulator.calls()]
    assert sorted(each["Media"] for each in inputs) == sorted(assets)
    assert {each["Type"] for each in inputs} == {"Media"}
    assert {row.input_media_id for row in chain.rows()} == set(assets)


def test_a_callback_brings_the_end_of_a_job_long_before_the_next_sweep(chain: Chain) -> None:
    chain.put(KEYS[0])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/callbacks/ims"
    chain.configure(
        editing_rule(user_data={"NotifyAddress": url}),
        replaced=RATES
        | {
            "every: 300ms": "every: 10m",
            "rules:": f"callbacks: {{url: '{url}'}}\nhttp: {{listen: '127.0.0.1:{port}'}}\nrules:",
        },
    )
    daemon = chain.start()
    chain.wait_until(lambda: bool(chain.log_lines("task.finished")), "the end of the job")
    assert [row.task_status for row in chain.rows()] == ["Success"]
    (delivery,) = chain.simulator.deliveries()
    assert delivery.outcome == "delivered"
    assert chain.kill(daemon, signal.SIGTERM) == 0

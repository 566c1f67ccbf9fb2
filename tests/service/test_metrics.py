"""The metrics: what is counted, what is read, and that dashboard and alerts ask for nothing else."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import promql_parser as promql
import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from dispatcher.core.backfilling import BackfillKind
from dispatcher.core.calls import Api
from dispatcher.core.dispatch import DispatchState, StateReason
from dispatcher.core.events import ObjectEvent
from dispatcher.core.observations import (
    Became,
    Called,
    CallEnd,
    Granted,
    Judged,
    LetGo,
    Observation,
    PassEnded,
    Quarantined,
    Recorded,
    Sighted,
    SourceAnswered,
    SourceFailed,
)
from dispatcher.core.outcomes import Throttled
from dispatcher.ledger import backfills, holds, notices, quarantine, rates, settling
from dispatcher.ledger.backfills import NewBackfill
from dispatcher.ledger.failures import LedgerDamagedError
from dispatcher.ledger.holds import HoldReason
from dispatcher.ledger.notices import NoticeCode
from dispatcher.ports import Batch, Undecodable
from dispatcher.service.assembly import register
from dispatcher.service.intake import Intake
from dispatcher.service.metrics import CODES, LEAST_BETWEEN_READINGS, Metrics
from tests.service.fakes import TARGET, seen
from tests.service.test_auditing import passes
from tests.sources.conftest import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.conftest import Scene

CONFIG = Path(__file__).parents[2] / "config"
SECOND = timedelta(seconds=1)
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]

EVERYTHING: tuple[Observation, ...] = (
    Sighted("poll:b/in/", "listing", 3),
    LetGo("queue", "EVENT_TYPE", 1),
    Judged("r", "MATCHED", 2),
    Quarantined("queue", 1),
    Recorded("r", "poll:b/in/", SECOND),
    Granted("cn-hangzhou", Api.START_WORKFLOW, 2),
    Called(Api.START_WORKFLOW, CallEnd.STARTED, None, SECOND),
    Called(Api.START_WORKFLOW, CallEnd.REJECTED, "InvalidParameter", SECOND),
    Became("r", DispatchState.STARTED, SECOND),
    PassEnded("poll:b/in/", 2, 1000, 30, 4, 5, SECOND, complete=True),
    SourceAnswered("queue"),
    SourceFailed("queue"),
)


def series(metrics: Metrics) -> Series:
    body, kind = metrics.render()
    assert kind.startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(found: Series, name: str, **labels: str) -> float:
    return found[f"oss_dispatcher_{name}", frozenset(labels.items())]


class Seconds:
    """A monotonic clock that only a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def metrics(scene: Scene, seconds: Seconds) -> Metrics:
    return Metrics(scene.settings, scene.ledger, scene.clock, seconds)


def test_what_parts_tell_is_counted(metrics: Metrics) -> None:
    for _ in range(2):
        for each in EVERYTHING:
            metrics(each)
    found = series(metrics)
    assert value(found, "events_total", source="poll:b/in/", format="listing") == 6
    assert value(found, "verdicts_total", rule="r", reason="MATCHED") == 4
    assert value(found, "calls_total", api="StartWorkflow", outcome="started") == 2
    assert value(found, "calls_total", api="StartWorkflow", outcome="uncertain") == 0
    assert value(found, "call_seconds_count", api="StartWorkflow") == 4
    assert value(found, "detection_lag_seconds_sum", source="poll:b/in/") == 2
    assert value(found, "end_to_end_seconds_bucket", rule="r", le="1.0") == 2
    assert value(found, "segments_total", source="poll:b/in/", how="skipped") == 8
    assert value(found, "permits_total", region="cn-hangzhou", api="StartWorkflow") == 4
    assert not any(name.endswith("_created") for name, _ in found)


def test_codes_of_strangers_do_not_grow_the_metrics(metrics: Metrics) -> None:
    for number in range(CODES + 7):
        metrics(Called(Api.START_WORKFLOW, CallEnd.REJECTED, f"Code{number}", SECOND))
    found = series(metrics)
    errors = {labels: count for (name, labels), count in found.items() if name == "oss_dispatcher_call_errors_total"}
    assert len(errors) == CODES + 1
    assert value(found, "call_errors_total", api="StartWorkflow", code="other") == 7


def test_intake_and_worker_tell_what_they_do(scene: Scene, metrics: Metrics) -> None:
    first = register(scene.settings, scene.ledger, scene.clock()).first_revision
    intake = Intake(scene.ledger, scene.settings.rules, first, scene.clock, lambda: None, meter=metrics)
    notified = ObjectEvent("b", "in/n.mp4", "e", 3, scene.clock() - SECOND, "ObjectCreated:Put", "queue")
    intake.take(Batch([notified], undecodable=[Undecodable("queue", b"?", "why", None)], formats=["oss"]))
    intake.take(Batch([seen("in/a.mp4"), seen("in/a.txt"), seen("elsewhere/a.mp4")]))
    found = series(metrics)
    assert value(found, "events_total", source="queue", format="oss") == 1
    assert value(found, "events_total", source="poll:b/in/", format="listing") == 3
    assert value(found, "verdicts_total", rule="r", reason="MATCHED") == 2
    assert value(found, "verdicts_total", rule="r", reason="EXTENSION") == 1
    assert value(found, "verdicts_total", rule="", reason="PREFIX") == 1
    assert value(found, "quarantined_total", source="queue") == 1
    assert value(found, "detection_lag_seconds_count", source="queue") == 1
    assert value(found, "dispatches", rule="r", state="pending") == 2
    assert value(found, "quarantine", source="queue") == 1


def test_the_ledger_is_read_as_seldom_as_its_size_demands(scene: Scene, metrics: Metrics, seconds: Seconds) -> None:
    scene.record("in/a.mp4")
    assert value(series(metrics), "dispatches", rule="r", state="pending") == 1
    scene.record("in/b.mp4")
    seconds.now = LEAST_BETWEEN_READINGS - 0.1
    assert value(series(metrics), "dispatches", rule="r", state="pending") == 1
    seconds.now = LEAST_BETWEEN_READINGS
    assert value(series(metrics), "dispatches", rule="r", state="pending") == 2


def test_a_ledger_that_cannot_be_read_leaves_the_last_reading(
    scene: Scene, metrics: Metrics, seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.record("in/a.mp4")
    assert value(series(metrics), "ledger_readable") == 1

    def damaged() -> Any:
        raise LedgerDamagedError("damaged", hint="restore it")

    monkeypatch.setattr(scene.ledger, "read", damaged)
    seconds.now = 10 * LEAST_BETWEEN_READINGS
    found = series(metrics)
    assert value(found, "ledger_readable") == 0
    assert value(found, "dispatches", rule="r", state="pending") == 1


# -- dashboard and alerts -----------------------------------------------------------------------------


@pytest.fixture
def exported(scene: Scene, metrics: Metrics) -> Series:
    """Every metric, with at least one sample of each."""
    for each in EVERYTHING:
        metrics(each)
    passes(scene, Store(), *scene.settings.rules.rules)
    [dead] = scene.record("in/a.mp4")
    now = scene.clock()
    with scene.ledger.write() as tx:
        assert settling.bury_unsent(tx, dead, StateReason.USER_DATA, "too long", now)
        holds.hold(tx, "r", HoldReason.LOOP, "seen", now)
        notices.post(tx, NoticeCode.LEDGER_BEHIND, "seen", now)
        quarantine.record(tx, [Undecodable("queue", b"?", "why", None)], now)
        rates.after_outcome(tx, TARGET, Throttled("Throttling.User"), now)
        backfills.create(tx, NewBackfill(BackfillKind.BACKFILL, "f", "{}"), now)
    return series(metrics)


def dashboard() -> Iterator[str]:
    document = json.loads((CONFIG / "grafana-dashboard.json").read_text(encoding="utf-8"))
    for panel in document["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def alerts() -> dict[str, dict[str, Any]]:
    document = YAML(typ="safe").load(CONFIG / "alerts.yaml")
    return {rule["alert"]: rule for group in document["groups"] for rule in group["rules"]}


def test_dashboard_and_alerts_ask_for_what_is_exported(exported: Series) -> None:
    names = {name for name, _ in exported}
    labels = {name: {label for other, some in exported if other == name for label, _ in some} for name in names}
    values = {(name, pair) for name, some in exported for pair in some}
    expressions = [*dashboard(), *(rule["expr"] for rule in alerts().values())]
    assert len(expressions) > 40
    wrong = []
    for text in expressions:
        for selector, grouping in selectors(promql.parse(text.replace("$__rate_interval", "5m"))):
            if selector.name not in names:
                wrong.append(f"no metric {selector.name}: {text}")
                continue
            asked = {matcher.name for matcher in selector.matchers.matchers} | grouping
            unknown = asked - labels[selector.name] - {"instance", "job"}
            wrong += [f"{selector.name} has no label {label}: {text}" for label in unknown]
            for matcher in selector.matchers.matchers:
                exact = str(matcher.op).endswith("Equal") and "Not" not in str(matcher.op)
                if exact and (selector.name, (matcher.name, matcher.value)) not in values:
                    wrong.append(f"{selector.name} never has {matcher.name}={matcher.value}: {text}")
    assert wrong == []


def selectors(expression: Any, grouping: frozenset[str] = frozenset()) -> Iterator[tuple[Any, frozenset[str]]]:
    """Yield each selector of an expression, with the labels by which it is grouped somewhere above."""
    match expression:
        case promql.VectorSelector():
            yield expression, grouping
        case promql.MatrixSelector():
            yield expression.vector_selector, grouping
        case promql.AggregateExpr():
            by = frozenset(expression.modifier.labels) if expression.modifier else frozenset()
            yield from selectors(expression.expr, by)
        case promql.BinaryExpr():
            yield from selectors(expression.lhs, grouping)
            yield from selectors(expression.rhs, grouping)
        case promql.Call():
            for argument in expression.args:
                yield from selectors(argument, grouping)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from selectors(expression.expr, grouping)
        case promql.NumberLiteral() | promql.StringLiteral():
            return
        case _:
            pytest.fail(f"not looked into: {expression!r}")


def test_a_misspelt_metric_would_be_seen() -> None:
    parsed = promql.parse('sum by (rule) (rate(oss_dispatcher_typo_total{state="x"}[5m])) > 0')
    [(selector, grouping)] = selectors(parsed)
    assert selector.name == "oss_dispatcher_typo_total"
    assert grouping == {"rule"}
    assert [matcher.name for matcher in selector.matchers.matchers] == ["state"]


def test_every_alert_has_its_entry_in_the_guide_and_says_what_it_is() -> None:
    guide = (CONFIG.parent / "docs" / "operators-guide.md").read_text(encoding="utf-8")
    entries = set(re.findall(r"^#+ .*`(OssDispatcher\w+)`", guide, re.MULTILINE))
    assert entries == set(alerts())
    for rule in alerts().values():
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_the_documentation_names_every_metric_and_no_other(exported: Series) -> None:
    text = (CONFIG.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(oss_dispatcher_\w+)`", text, re.MULTILINE))
    plain = {re.sub(r"_(bucket|count|sum)$", "", name) if "_seconds_" in name else name for name, _ in exported}
    assert documented == {name for name in plain if name.startswith("oss_dispatcher_")}

"""`report` and `audit` as commands: documented columns, money, exit codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.desk import Shell

PRICES = "prices: {currency: CNY, start: 0.1, rules: {transcode: 0.3}, calls: {StartWorkflow: 0.01}, list: 1}\n"


def add(shell: Shell, text: str) -> None:
    shell.config.write_text(shell.config.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_the_report_adds_up_without_prices(filled: Shell) -> None:
    found = filled("report", "-o", "json").data
    [line] = found["lines"]
    assert (line["rule"], line["objects"], line["bytes"], line["starts"]) == ("transcode", 5, 5 * 4096, 1)
    assert line["states"] == {"pending": 1, "sending": 0, "started": 1, "uncertain": 1, "dead": 1, "skipped": 1}
    assert line["task_statuses"] == {"Succeed": 1}
    assert line["calls"] == {"StartWorkflow": 3}
    assert (found["currency"], found["cost"], line["cost"]) == (None, None, None)
    assert "cost" not in filled("report").out


def test_money_is_exact_text(filled: Shell) -> None:
    add(filled, PRICES)
    found = filled("report", "-o", "json").data
    assert found["lines"][0]["cost"] == "0.33"
    assert (found["cost"], found["currency"]) == ("0.33", "CNY")
    out = filled("report", "--by", "extension").out
    assert "0.33 CNY" in out
    assert "mp4" in out


def test_what_has_no_price_is_said(filled: Shell) -> None:
    add(filled, "prices: {currency: CNY, rules: {clips: 1}}\n")
    assert filled("report", "-o", "json").data["cost"] is None
    assert "something has no price" in filled("report").out


def test_a_time_narrows_it(filled: Shell) -> None:
    assert filled("report", "--since", "5m", "-o", "json").data["lines"] == []
    assert filled("report", "--since", "1h", "-o", "json").data["total"]["objects"] == 5


@pytest.mark.parametrize("price", ["-1", "NaN", "1e40", "0.0000000000001", "yes"])
def test_a_price_that_is_none_is_refused_by_line(filled: Shell, price: str) -> None:
    add(filled, f"prices: {{currency: CNY, start: {price}}}\n")
    ran = filled("report")
    assert ran.code == 78
    assert "oss-dispatcher.yaml:14: prices.start" in ran.err

"""The selectors: the same options everywhere, and arguments that are ids or URLs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer
from typer.testing import CliRunner

from dispatcher.cli.selecting import Selection, takes_selection
from dispatcher.core.dispatch import DispatchState, attempt_token, dispatch_id
from dispatcher.core.location import Names
from dispatcher.core.selecting import parse_time, pick
from dispatcher.errors import LocationError, UsageError

NOW = datetime(2026, 11, 22, 6, tzinfo=UTC)
ID = dispatch_id("transcode", "media", "a.mp4", "c:1:1")
NAMES = Names(buckets=frozenset({"media"}), only_bucket="media")


def test_arguments_are_told_apart() -> None:
    picked = pick([ID, attempt_token(ID, 3), "oss://media/in/a.mp4", "in/b.mp4"], NAMES)
    assert picked.ids == (ID, ID)
    assert picked.objects == (("media", "in/a.mp4"), ("media", "in/b.mp4"))


def test_an_argument_that_is_neither_says_what_to_write() -> None:
    with pytest.raises(LocationError, match="does not say which bucket"):
        pick(["in/b.mp4"], Names())


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("24h", NOW - timedelta(hours=24)),
        ("1h30m", NOW - timedelta(minutes=90)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T08:00:00+08:00", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T08:00:00Z", datetime(2026, 1, 31, 8, tzinfo=UTC)),
    ],
)
def test_times_are_durations_dates_or_rfc_3339(text: str, at: datetime) -> None:
    assert parse_time(text, "--since", NOW) == at


@pytest.mark.parametrize("text", ["yesterday", "", "-1h", "99999999d", "2026-13-01"])
def test_a_time_that_is_none_names_the_option(text: str) -> None:
    with pytest.raises(UsageError, match="--since"):
        parse_time(text, "--since", NOW)


@pytest.mark.parametrize(
    ("selection", "empty"),
    [(Selection(), True), (Selection(limit=5), True), (Selection(rule=["r"]), False), (Selection(which=[ID]), False)],
)
def test_a_limit_alone_selects_nothing(selection: Selection, *, empty: bool) -> None:
    assert selection.empty is empty


def test_a_command_takes_every_selector_and_its_own_options() -> None:
    app = typer.Typer()
    seen: list[tuple[Selection, bool]] = []

    @app.command()
    @takes_selection
    def show(ctx: typer.Context, selection: Selection, *, yes: bool = False) -> None:
        """Show them."""
        assert ctx.info_name
        seen.append((selection, yes))

    result = CliRunner().invoke(
        app, [ID, "x.mp4", "--rule", "a", "--rule", "b", "--state", "dead", "--code", "C", "--limit", "3", "--yes"]
    )
    assert result.exit_code == 0, result.output
    chosen = Selection(which=[ID, "x.mp4"], rule=["a", "b"], state=[DispatchState.DEAD], code=["C"], limit=3)
    assert seen == [(chosen, True)]
    assert CliRunner().invoke(app, ["--state", "lost"]).exit_code == 2
    assert "Show them." in CliRunner().invoke(app, ["--help"]).output

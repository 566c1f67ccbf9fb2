"""What the page shows and changes, without a browser."""

from __future__ import annotations

import hashlib
import re
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from dispatcher.core.events import encode_key
from dispatcher.core.printable import printable
from dispatcher.core.settings import Address
from dispatcher.service.desk import changing
from dispatcher.service.rerunning import Rerunning
from dispatcher.sources.store import ObjectHead
from dispatcher.web.page.rendering import HERE
from tests.cli.desk import ETAG, SIZE, id_of
from tests.page.conftest import ORIGIN
from tests.page.stage import DEAD, HOSTILE, LONG, NO_TEXT, SCRIPT, TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatcher.core.settings import Settings
    from dispatcher.ledger.engine import Ledger
    from tests.page.stage import Stage

HTMX = "60231ae6ba9db3825eb15a261122d5f55921c4d53b66bf637dc18b4ee27c79f9"
"""Of htmx.min.js in the package htmx.org 2.0.7, which is under the Zero-Clause BSD licence."""
VIEWS = (
    "/",
    "/sources",
    "/rules",
    "/dispatches",
    "/failures",
    "/explain",
    "/quarantine",
    "/backfills",
    "/config",
    "/login",
    "/quarantine/1",
    f"/dispatches/{id_of(DEAD[0])}",
)


@pytest.mark.parametrize("path", [*VIEWS, "/nothing/here", "/dispatches?state=nonsense"])
def test_every_answer_keeps_the_browser_from_doing_anything_else(client: TestClient, path: str) -> None:
    answer = client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert not re.search(r"<script(?! src=\"/static/)|\sstyle=|<style|\son\w+=", answer.text)
    assert not re.search(r"(src|href|action)=\"(https?:)?//", answer.text)


@pytest.mark.parametrize("path", VIEWS)
def test_a_reader_sees_every_view_and_no_button_that_changes(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert "secret-not-shown" not in answer.text
    assert "LTAI" not in answer.text
    assert not re.search(r"<button[^>]*>(Retry|Skip|Drop|Pause|Resume|Cancel)", answer.text)


def test_the_vendored_htmx_is_the_published_file() -> None:
    found = (HERE / "static" / "htmx.min.js").read_bytes()
    assert hashlib.sha256(found).hexdigest() == HTMX
    assert "Zero-Clause BSD" in (HERE / "static" / "htmx.LICENSE.txt").read_text()


def test_the_overview_says_how_it_is_going(client: TestClient) -> None:
    text = client.get("/").text
    assert "Works, with notes" in text
    assert "watching my-media; 3 rules" in text
    assert "the queue oss-events refuses these credentials" in text
    assert text.count("<rect") > 20
    assert "2.5/s" in text


def test_a_rule_that_never_matched_is_told_and_overlaps_are_shown(client: TestClient) -> None:
    rules = {each["rule"]: each for each in client.get("/api/v1/rules").json()}
    assert rules["clips"]["hits"] == 0
    assert rules["clips"]["last_match_at"] is None
    assert rules["transcode"]["hits"] > 100
    assert [each["rule"] for each in rules["clips"]["overlaps"]] == ["transcode"]
    text = client.get("/rules").text
    assert "never matched" in text
    assert "overlaps transcode" in text


def test_selectors_are_the_parameters(client: TestClient) -> None:
    for query, keys in (
        ("state=dead&key=incoming/broken-3*", {DEAD[3]}),
        ("code=InvalidParameter.Input&key=incoming/broken-1*", {DEAD[1]}),
        ("rule=transcode&key=incoming/lost-answer.mp4", {"incoming/lost-answer.mp4"}),
        (f"id={id_of(DEAD[2])}", {DEAD[2]}),
        (f"url=oss://my-media/{DEAD[3]}", {DEAD[3]}),
        ("task-status=Failed", {"incoming/day/13-0.mp4", "incoming/day/31-0.mp4"}),
        ("task_status=Failed&since=13h", {"incoming/day/31-0.mp4"}),
        ("source=backfill&limit=1&state=dead", set()),
        (f"key={quote(encode_key(NO_TEXT))}", {NO_TEXT}),
    ):
        found = client.get(f"/api/v1/dispatches?{query}").json()
        assert {each["key"] for each in found} == keys, query


def test_pages_follow_each_other_and_meet_every_row_once(client: TestClient) -> None:
    ids: list[str] = []
    path: str | None = "/api/v1/dispatches?rule=transcode&limit=17"
    while path is not None:
        answer = client.get(path)
        ids += [each["dispatch_id"] for each in answer.json()]
        link = answer.headers.get("link")
        path = None if link is None else link.split(">")[0].removeprefix("<")
    assert len(ids) == len(set(ids))
    assert len(ids) == next(r for r in client.get("/api/v1/rules").json() if r["rule"] == "transcode")["hits"]
    first = client.get("/dispatches?rule=transcode&limit=17").text
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older is not None
    assert ids[17] in client.get(older[1].replace("&amp;", "&")).text


@pytest.mark.parametrize("key", HOSTILE)
def test_keys_of_strangers_are_shown_harmless(client: TestClient, key: str) -> None:
    for path in (
        "/dispatches",
        f"/dispatches/{id_of(key)}",
        f"/explain?url={quote(encode_key('oss://my-media/' + key))}",
    ):
        text = client.get(path).text
        assert "<script>document" not in text
        assert "\u202e" not in text
        if key not in {SCRIPT, LONG}:
            assert printable(key) in text
    assert client.get(f"/api/v1/dispatches/{id_of(key)}").json()["key"] == key


def test_errors_say_what_to_do(client: TestClient) -> None:
    for path, status, word in (
        ("/api/v1/dispatches?state=gone", 400, "there are pending"),
        ("/api/v1/dispatches?since=soon", 400, "write a duration"),
        ("/api/v1/dispatches?after=x", 400, "next page"),
        ("/api/v1/dispatches/" + "a" * 26, 404, "26 letters"),
        ("/api/v1/quarantine/77", 404, "dropped"),
        ("/api/v1/explain", 400, "?url="),
        ("/api/v1/explain?url=ftp://x/y", 400, ""),
        ("/api/v1/nothing", 404, "docs/api.md"),
    ):
        answer = client.get(path)
        assert answer.status_code == status, path
        assert set(answer.json()) == {"message", "hint"}
        assert word in answer.json()["hint"]


# -- who may change ----------------------------------------------------------------------------------------


def test_without_a_token_in_the_configuration_nothing_can_be_changed(stage: Stage) -> None:
    client = TestClient(stage.app(token=None), base_url=ORIGIN)
    for path in ("/api/v1/rules/pause?rule=clips", "/rules/act"):
        answer = client.post(path, headers={"Authorization": f"Bearer {TOKEN}", "Origin": ORIGIN})
        assert answer.status_code == 403
        assert "token_file" in answer.text
    assert client.post("/login", data={"token": ""}, headers={"Origin": ORIGIN}).status_code == 401


def test_the_api_takes_the_token_and_nothing_else(client: TestClient) -> None:
    path = f"/api/v1/dispatches/retry?id={id_of(DEAD[5])}&dry-run=true"
    refused = client.post(path)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert client.post(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
    allowed = client.post(path, headers={"Authorization": f"Bearer {TOKEN}"})
    assert allowed.json() == {"verb": "retry", "selected": 1, "changed": 0}
    assert client.get(path.replace("/retry", "/skip")).status_code == 404  # a change is never a GET


def test_a_session_is_a_cookie_that_no_script_and_no_other_site_sees(client: TestClient) -> None:
    plain = client.post("/login", data={"token": TOKEN}, headers={"Origin": ORIGIN}).headers["set-cookie"]
    assert "HttpOnly" in plain
    assert "samesite=strict" in plain.lower()
    assert "secure" not in plain.lower()
    behind = {"Origin": "https://localhost"}
    assert "secure" in client.post("/login", data={"token": TOKEN}, headers=behind).headers["set-cookie"].lower()
    assert client.get("/login").status_code == 200
    client.post("/logout")
    assert "Log in to change things" in client.get("/").text


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", None])
def test_a_change_must_come_from_the_page_itself(operator: TestClient, origin: str | None) -> None:
    headers = {} if origin is None else {"Origin": origin}
    form = {"verb": "pause", "rule": "clips"}
    assert operator.post("/rules/act", data=form, headers=headers).status_code == 403
    assert operator.post("/api/v1/rules/pause?rule=clips", headers=headers).status_code == 403
    rules = {each["rule"]: each for each in operator.get("/api/v1/rules").json()}
    assert rules["clips"]["hold"] is None


def test_a_loopback_page_is_served_under_its_own_names_only(stage: Stage) -> None:
    client = TestClient(stage.app(hosts=("ops.example.com",)), base_url=ORIGIN)
    for host in ("localhost:9000", "127.0.0.1:8080", "[::1]:8080", "ops.example.com"):
        assert client.get("/api/v1/rules", headers={"Host": host}).status_code == 200, host
    for host in ("evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", ""):
        assert client.get("/api/v1/rules", headers={"Host": host}).status_code == 421, host
        assert client.get("/", headers={"Host": host}).status_code == 421, host
    anywhere = TestClient(stage.app(listen=Address("0.0.0.0", 8080)), base_url=ORIGIN)
    assert anywhere.get("/", headers={"Host": "dispatcher.default.svc"}).status_code == 200


def test_guessing_is_slowed_down(stage: Stage) -> None:
    client = TestClient(stage.app(), base_url=ORIGIN)
    codes = [
        client.post("/login", data={"token": f"guess-{n}"}, headers={"Origin": ORIGIN}).status_code for n in range(11)
    ]
    assert codes == [401] * 10 + [429]
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert client.post("/api/v1/rules/resume?all=true", headers=right).status_code == 429


# -- changes -----------------------------------------------------------------------------------------------


def test_one_is_retried_after_it_was_confirmed(operator: TestClient, stage: Stage) -> None:
    which = id_of(DEAD[0])
    asked = operator.get(f"/dispatches/act?verb=retry&id={which}").text
    assert "Retry 1 dispatch?" in asked
    assert operator.get(f"/api/v1/dispatches/{which}").json()["state"] == "dead"
    before = stage.woken
    done = operator.post("/dispatches/act", data={"verb": "retry", "id": which}, headers={"Origin": ORIGIN})
    assert done.status_code == 200
    assert operator.get(f"/api/v1/dispatches/{which}").json()["state"] == "pending"
    assert stage.woken == before + 1


def test_many_are_skipped_by_their_selection(operator: TestClient) -> None:
    query = "key=incoming/broken-4*&state=dead"
    assert "Skip 1 dispatch?" in operator.get(f"/dispatches/act?verb=skip&{query}").text
    done = operator.post(f"/api/v1/dispatches/skip?{query}", headers={"Origin": ORIGIN}).json()
    assert done == {"verb": "skip", "selected": 1, "changed": 1}
    again = operator.post(f"/api/v1/dispatches/skip?{query}", headers={"Origin": ORIGIN}).json()
    assert again == {"verb": "skip", "selected": 0, "changed": 0}


def test_an_uncertain_one_is_looked_for_now(operator: TestClient) -> None:
    done = operator.post("/api/v1/dispatches/probe?state=uncertain", headers={"Origin": ORIGIN}).json()
    assert done == {"verb": "probe", "selected": 1, "changed": 1}


@pytest.mark.parametrize("verb", ["retry", "skip", "probe", "rerun"])
def test_nothing_selected_changes_nothing(operator: TestClient, verb: str) -> None:
    answer = operator.post(f"/api/v1/dispatches/{verb}?limit=5&again=x", headers={"Origin": ORIGIN})
    assert answer.status_code == 400
    assert "nothing is selected" in answer.json()["message"]


def test_a_rerun_needs_a_name(operator: TestClient) -> None:
    answer = operator.post("/api/v1/dispatches/rerun?task-status=Failed&again=a b", headers={"Origin": ORIGIN})
    assert answer.status_code == 400
    assert "not a name" in answer.json()["message"]
    assert "Name of the run" in operator.get("/dispatches/act?verb=rerun&task-status=Failed").text


def test_a_rule_is_paused_and_resumed_and_so_are_all(operator: TestClient) -> None:
    origin = {"Origin": ORIGIN}
    form = {"verb": "pause", "rule": "clips", "detail": "template changes"}
    assert operator.post("/rules/act", data=form, headers=origin).status_code == 200
    assert "template changes" in operator.get("/rules").text
    done = operator.post("/api/v1/rules/pause?all=true", headers=origin).json()
    assert set(done["changed"]) == {"transcode", "archive"}
    assert set(operator.post("/api/v1/rules/resume?all=true", headers=origin).json()["changed"]) == {
        "transcode",
        "clips",
        "archive",
    }
    assert operator.post("/api/v1/rules/pause?rule=nobody", headers=origin).status_code == 404
    assert operator.post("/api/v1/rules/pause", headers=origin).status_code == 400


def test_a_budget_is_released(operator: TestClient) -> None:
    done = operator.post("/api/v1/rules/release?rule=transcode&count=7", headers={"Origin": ORIGIN}).json()
    assert done == {"rule": "transcode", "released": 7}


def test_quarantine_is_shown_tried_again_and_dropped(operator: TestClient) -> None:
    origin = {"Origin": ORIGIN}
    assert "&lt;b&gt;holds&lt;/b&gt;" in operator.get("/quarantine/1").text
    tried = operator.post("/api/v1/quarantine/retry?number=1", headers=origin).json()
    assert tried == {"verb": "retry", "selected": 1, "changed": 0, "left": 1}
    assert operator.post("/api/v1/quarantine/drop", headers=origin).status_code == 400
    done = operator.post("/quarantine/act", data={"verb": "drop", "number": "2"}, headers=origin)
    assert done.status_code == 200
    assert [each["number"] for each in operator.get("/api/v1/quarantine").json()] == [1]


def test_a_backfill_is_paused_resumed_and_cancelled(operator: TestClient) -> None:
    origin = {"Origin": ORIGIN}

    def spring() -> dict[str, Any]:
        found: list[dict[str, Any]] = operator.get("/api/v1/backfills").json()
        return next(each for each in found if each["backfill"] == 1)

    for verb, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        done = operator.post(f"/api/v1/backfills/1/{verb}", headers=origin)
        assert done.json() == {"backfill": 1, "name": "spring", "changed": True}
        assert spring()["state"] == state
    assert spring()["states"]["skipped"] == 12
    assert operator.post("/api/v1/backfills/9/pause", headers=origin).status_code == 404


def test_looking_at_the_store_is_not_for_everybody(client: TestClient) -> None:
    assert client.get("/api/v1/explain?url=incoming/a.mp4&live=true").status_code == 401
    (plain,) = client.get("/api/v1/explain?url=incoming/clips/a.mp4").json()
    assert [each["matched"] for each in plain["verdicts"]] == [True, True, False]


def test_the_api_serves_what_the_commands_print(client: TestClient) -> None:
    status = client.get("/api/v1/status").json()
    assert {"at", "states", "dead_codes", "holds", "budgets", "sources"} <= set(status)
    overview = client.get("/api/v1/overview").json()
    assert len(overview["slots"]) == 48
    assert overview["hour"]["states"]["dead"] >= 1
    failures = client.get("/api/v1/failures").json()
    assert failures["dead"][0]["code"] == "InvalidParameter.Input"
    assert {each["task_error"] for each in failures["failed_tasks"]} == {"the video track is damaged"}
    config = client.get("/api/v1/config").json()
    assert config["config"]["credentials"]["access_key_secret"] == "***"


class Heads:
    """A store in which every object is as it was."""

    def head(self, key: str, stop: threading.Event) -> ObjectHead:
        return ObjectHead(ETAG, SIZE, datetime(2026, 1, 1, tzinfo=UTC))


def test_a_failed_task_runs_again_as_a_named_run(
    operator: TestClient, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def opened(settings: Settings, ledger: Ledger) -> Iterator[Rerunning]:
        yield Rerunning(settings, ledger, {"my-media": Heads()}, lambda: stage.at, threading.Event())

    monkeypatch.setattr(changing, "open_rerunning", opened)
    path = "/api/v1/dispatches/rerun?task-status=Failed&key=incoming/day/31-*&again=fix-1"
    done = operator.post(path, headers={"Origin": ORIGIN}).json()
    assert (done["run"], done["selected"], done["recorded"]) == ("fix-1", 1, 1)
    again = operator.post(path, headers={"Origin": ORIGIN}).json()
    assert (again["recorded"], again["known"]) == (0, 1)

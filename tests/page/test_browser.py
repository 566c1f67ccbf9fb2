"""The page in a real browser: what only a browser can show. One browser and one ledger for all of it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from dispatcher.core.settings import Address
from dispatcher.web.server import WebServer
from tests.cli.desk import id_of
from tests.page.stage import DEAD, LONG, RIGHT_TO_LEFT, SCRIPT, TOKEN, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHOTS = os.environ.get("PAGE_SCREENSHOTS")
"""A folder for the pictures of docs/page.md; without it none are taken."""
PICTURES = {"overview", "overview-dark", "dispatches", "dispatch", "rules", "failures", "explain"}
IN_THE_DARK = {"overview", "dispatches", "dispatch", "rules", "failures", "ask"}
"""These show every colour that there is."""
VIEWS = {
    "overview": "/",
    "sources": "/sources",
    "rules": "/rules",
    "dispatches": "/dispatches",
    "dispatch": f"/dispatches/{id_of(DEAD[0])}",
    "failures": "/failures",
    "explain": "/explain?url=incoming/clips/holiday.mp4",
    "quarantine": "/quarantine",
    "body": "/quarantine/1",
    "backfills": "/backfills",
    "config": "/config",
    "login": "/login",
    "ask": f"/dispatches/act?verb=retry&id={id_of(DEAD[1])}",
    "nothing": "/nothing",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing: .ci/run installs it (apt-get install chromium)")
        pytest.skip("chromium is missing: apt-get install chromium")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not needed where it is skipped

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield made
        made.close()


@pytest.fixture(scope="module")
def origin(stage: Stage) -> Iterator[str]:
    with WebServer(stage.app(), Address("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.address.port}"


@dataclass
class Visitor:
    """A browser window that notes what must not happen: console messages, errors, requests to other hosts."""

    origin: str
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    @classmethod
    def of(cls, browser: Browser, origin: str, **options: Any) -> Visitor:
        context = browser.new_context(base_url=origin, viewport={"width": 1360, "height": 860}, **options)
        made = cls(origin, context, context.new_page())
        made.page.on("console", lambda said: made._hear(said.type, said.text))
        made.page.on("pageerror", lambda error: made.complaints.append(f"error: {error}"))
        made.page.on("request", lambda asked: made._note(asked.url))
        made.page.set_default_timeout(10_000)
        return made

    def _hear(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.complaints.append(f"console: {kind}: {text}")

    def _note(self, url: str) -> None:
        if urlsplit(url).netloc != urlsplit(self.origin).netloc:
            self.complaints.append(f"request: {url}")

    def open(self, path: str) -> Page:
        self.page.goto(path)
        return self.page

    def log_in(self) -> Page:
        self.open("/login")
        self.page.get_by_label("Token").fill(TOKEN)
        self.page.get_by_role("button", name="Log in").click()
        self.page.get_by_role("button", name="Log out").wait_for()
        return self.page

    def close(self) -> None:
        self.context.close()
        assert [each for each in self.complaints if not each.endswith(self.expected or "\0")] == []


@pytest.fixture
def visitor(browser: Browser, origin: str) -> Iterator[Visitor]:
    made = Visitor.of(browser, origin)
    yield made
    made.close()


def test_every_view_is_accessible_in_light_and_dark_and_asks_nobody_else(browser: Browser, origin: str) -> None:
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - only with a browser

    axe = Axe()
    for scheme in ("light", "dark"):
        visitor = Visitor.of(browser, origin, color_scheme=scheme)
        visitor.expected = ("404 (Not Found)",)
        visitor.log_in()
        back = visitor.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (sum(int(each) for each in back[4:-1].split(",")) < 200) == (scheme == "dark")
        for name, path in VIEWS.items():
            if scheme == "dark" and name not in IN_THE_DARK:
                continue
            page = visitor.open(path)
            # In the dark only colours are others.
            rules: dict[str, object] = {} if scheme == "light" else {"runOnly": ["color-contrast"]}
            found = axe.run(page, options={"resultTypes": ["violations"], **rules})
            told = [
                (each["id"], [node["html"][:160] for node in each["nodes"]]) for each in found.response["violations"]
            ]
            assert told == [], f"{name} in {scheme}"
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            _shoot(page, f"{name}-{scheme}" if scheme == "dark" else name)
        visitor.close()


def _shoot(page: Page, name: str) -> None:
    if SHOTS is not None and name in {
        "overview",
        "overview-dark",
        "dispatches",
        "dispatch",
        "rules",
        "failures",
        "explain",
    }:
        page.screenshot(path=f"{SHOTS}/{name}.png")


def test_a_filter_is_applied_without_a_new_page_and_stands_in_the_address(visitor: Visitor) -> None:
    page = visitor.open("/dispatches")
    page.evaluate("window.same = true")
    page.locator("select[name=state]").select_option("started")
    page.wait_for_url("**state=started**")
    page.get_by_label("key").fill("incoming/day/13-*")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**key=incoming**")
    page.locator("#found tbody tr").nth(4).wait_for()
    assert page.locator("#found tbody tr").count() == 5
    assert page.evaluate("window.same") is True
    page.reload()
    assert page.locator("#found tbody tr").count() == 5
    assert page.locator("select[name=state]").input_value() == "started"


def test_chosen_ones_are_retried_after_a_confirmation(visitor: Visitor) -> None:
    visitor.log_in()
    page = visitor.open("/dispatches?key=incoming/broken-2*")
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("heading", name="Retry 1 dispatch?").wait_for()
    page.get_by_role("button", name="Retry 1").click()
    page.get_by_role("heading", name="Retry: done").wait_for()
    assert page.locator("dd").all_inner_texts() == ["1", "1"]
    page = visitor.open(f"/dispatches/{id_of(DEAD[2])}")
    assert page.locator(".lead").inner_text().startswith("pending")


def test_it_is_used_by_keyboard_alone(visitor: Visitor) -> None:
    page = visitor.open("/login")
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Log out").wait_for()
    page = visitor.open("/rules")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"
    _tab_to(page, "Pause", within="tr:has-text('archive')")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Pause archive?").wait_for()
    _tab_to(page, "Pause", within="main")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Pause: done").wait_for()
    page = visitor.open("/rules/act?verb=resume&rule=archive")
    _tab_to(page, "Resume", within="main")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Resume: done").wait_for()


def _tab_to(page: Page, text: str, *, within: str) -> None:
    wanted = page.locator(f"{within} >> button:has-text('{text}')").first
    for _ in range(80):
        if wanted.evaluate("(each) => each === document.activeElement"):
            outline = wanted.evaluate("(each) => getComputedStyle(each).outlineStyle")
            assert outline != "none"
            return
        page.keyboard.press("Tab")
    pytest.fail(f"{text} is not reached by the Tab key")


def test_it_works_without_javascript(browser: Browser, origin: str) -> None:
    visitor = Visitor.of(browser, origin, java_script_enabled=False)
    page = visitor.log_in()
    page = visitor.open("/dispatches")
    page.locator("select[name=state]").select_option("dead")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**state=dead**")
    assert page.locator(f"a[href='/dispatches/{id_of(DEAD[5])}']").count() == 1
    page = visitor.open("/rules/act?verb=pause&rule=clips")
    page.get_by_label("Why").fill("new template")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("heading", name="Pause: done").wait_for()
    page = visitor.open("/rules")
    assert "new template" in page.locator("main").inner_text()
    page = visitor.open("/rules/act?verb=resume&rule=clips")
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("heading", name="Resume: done").wait_for()
    visitor.close()


def test_explain_answers_for_any_url(visitor: Visitor) -> None:
    page = visitor.open("/explain")
    page.get_by_label("URL or key").fill("https://my-media.oss-cn-hangzhou.aliyuncs.com/incoming/clips/a.mp4")
    page.get_by_role("button", name="Explain").click()
    page.get_by_role("heading", name="clips: what would be sent").wait_for()
    assert page.locator("tbody tr .state").all_inner_texts() == ["yes", "yes", "no"]
    assert "a1b2c3" in page.locator("main").inner_text()


def test_an_object_that_is_none_is_told_with_a_hint(visitor: Visitor) -> None:
    visitor.expected = ("400 (Bad Request)",)
    page = visitor.open("/explain?url=ftp://x/y")
    assert page.locator(".notice.bad .hint").inner_text()


@pytest.mark.parametrize("key", [SCRIPT, RIGHT_TO_LEFT, LONG], ids=["script", "right to left", "1024 bytes"])
def test_keys_of_strangers_change_nothing_of_the_page(visitor: Visitor, key: str) -> None:
    page = visitor.open(f"/dispatches/{id_of(key)}")
    assert page.title().endswith("oss-dispatcher")
    assert page.locator("main script").count() == 0
    assert "\u202e" not in page.content()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page = visitor.open("/dispatches?state=pending")
    row = page.locator("tr", has=page.locator(f"a[href='/dispatches/{id_of(key)}']"))
    assert row.evaluate("(each) => each.getBoundingClientRect().height") < 120


def test_a_live_part_comes_anew_by_itself(visitor: Visitor, stage: Stage) -> None:
    page = visitor.open("/")
    page.evaluate("document.getElementById('live').dataset.old = 'yes'")
    before, stage.health.summary = stage.health.summary, "something else happens"
    try:
        page.get_by_text("something else happens").wait_for()
    finally:
        stage.health.summary = before
    assert page.evaluate("document.getElementById('live').dataset.old") is None

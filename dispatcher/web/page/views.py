"""The page: its views. Each asks the desk for one document and renders it; each change is asked about first.

Works without JavaScript: links, and forms that are sent as such. Where it runs, htmx brings the live parts anew.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dispatcher.core.dispatch import DispatchState, TaskStatus
from dispatcher.errors import DispatcherError, MissingError, UsageError
from dispatcher.web.page.access import COOKIE, SESSION_LASTS, DeniedError
from dispatcher.web.page.answering import HEADERS, defect, first, form_of, query_of, said_yes, status_of
from dispatcher.web.page.api import change_quarantine, change_rules
from dispatcher.web.page.asking import question
from dispatcher.web.page.rendering import HERE, Pages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from dispatcher.core.documents import Json
    from dispatcher.web.page.access import Access
    from dispatcher.web.page.desk import Changes, Looks, Query
    from dispatcher.web.page.working import Working

_FILTERS = ("rule", "state", "task-status", "key", "code", "since", "until", "source", "limit", "id", "url")
_STATES = tuple(state.value for state in DispatchState)
_TASKS = tuple(status.value for status in TaskStatus)


class Views:
    """The views of the page."""

    def __init__(
        self, looks: Looks, changes: Changes, access: Access, working: Working, clock: Callable[[], datetime]
    ) -> None:
        self._looks = looks
        self._changes = changes
        self._access = access
        self._working = working
        self._pages = Pages(clock)

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        views = {
            "/": self._overview,
            "/sources": self._sources,
            "/rules": self._rules,
            "/dispatches": self._dispatches,
            "/dispatches/{id}": self._dispatch,
            "/failures": self._failures,
            "/explain": self._explain,
            "/quarantine": self._quarantine,
            "/quarantine/{number:int}": self._quarantined,
            "/backfills": self._backfills,
            "/config": self._config,
            "/login": self._login,
        }
        asked = {f"/{what}/act": what for what in ("dispatches", "rules", "quarantine", "backfills")}
        return [
            *(Route(path, self._get(self._ask_about(what)), methods=["GET"]) for path, what in asked.items()),
            *(Route(path, self._post(self._do(what)), methods=["POST"]) for path, what in asked.items()),
            *(Route(path, self._get(view), methods=["GET"]) for path, view in views.items()),
            Route("/login", self._begin, methods=["POST"]),
            Route("/logout", self._end, methods=["POST"]),
            Mount("/static", _Static(StaticFiles(directory=HERE / "static"))),
            Route("/favicon.ico", _favicon, methods=["GET"]),
            Route("/{rest:path}", self._get(_missing), methods=["GET"]),
        ]

    # -- looking ----------------------------------------------------------------------------------------------

    def _overview(self, request: Request) -> Response:
        values = {"overview": self._looks.overview(), "sources": self._looks.sources()}
        return self._page(request, "overview.html", values)

    def _sources(self, request: Request) -> Response:
        return self._page(request, "sources.html", {"sources": self._looks.sources()})

    def _rules(self, request: Request) -> Response:
        return self._page(request, "rules.html", {"rules": self._looks.rules()})

    def _dispatches(self, request: Request) -> Response:
        query = query_of(request)
        found = self._looks.dispatches(query)
        chosen = {name: first(query, name) or first(query, name.replace("-", "_")) for name in _FILTERS}
        pairs = [(name, each) for name in _FILTERS for each in query.get(name, ()) if each]
        values = {
            "found": found.records,
            "after": found.after,
            "pairs": pairs,
            "narrowed": [pair for pair in pairs if pair[0] != "limit"],
            "chosen": chosen,
            "paged": bool(first(query, "after")),
            "states": _STATES,
            "task_statuses": _TASKS,
        }
        return self._page(request, "dispatches.html", values)

    def _dispatch(self, request: Request) -> Response:
        return self._page(request, "dispatch.html", {"dispatch": self._looks.dispatch(request.path_params["id"])})

    def _failures(self, request: Request) -> Response:
        return self._page(
            request, "failures.html", {"failed": self._looks.failed(), "now": self._looks.overview()["now"]}
        )

    def _explain(self, request: Request) -> Response:
        query = query_of(request)
        url, live = first(query, "url"), said_yes(query, "live")
        if live:
            # It asks the store and the service: what that costs is not for everybody who can read.
            self._access.demand(request)
        values: dict[str, object] = {"url": url, "live": live, "explained": None, "wrong": None}
        status = HTTPStatus.OK
        if url:
            try:
                values["explained"] = self._looks.explain(url, live=live)
            except DispatcherError as error:
                values["wrong"], status = error, status_of(error)
        return self._page(request, "explain.html", values, status)

    def _quarantine(self, request: Request) -> Response:
        query = query_of(request)
        found = self._looks.quarantine(query)
        pairs = [(name, each) for name in ("source", "limit") for each in query.get(name, ()) if each]
        values = {"found": found.records, "after": found.after, "pairs": pairs}
        return self._page(request, "quarantine.html", values)

    def _quarantined(self, request: Request) -> Response:
        return self._page(request, "quarantined.html", {"body": self._looks.quarantined(request.path_params["number"])})

    def _backfills(self, request: Request) -> Response:
        return self._page(request, "backfills.html", {"backfills": self._looks.backfills()})

    def _config(self, request: Request) -> Response:
        return self._page(request, "config.html", {"config": self._looks.config()})

    # -- changing ---------------------------------------------------------------------------------------------

    def _ask_about(self, what: str) -> Callable[[Request], Response]:
        """Return the view that asks whether to do it; it changes nothing."""

        def ask(request: Request) -> Response:
            query = query_of(request)
            asked = question(self._changes, what, query)
            pairs = [(name, each) for name, values in query.items() for each in values if each]
            writable = self._access.token is not None
            return self._page(request, "ask.html", {"asked": asked, "what": what, "pairs": pairs, "writable": writable})

        return ask

    def _do(self, what: str) -> Callable[[Query], tuple[str, Json]]:
        """Return what does it, once it was confirmed."""

        def do(query: Query) -> tuple[str, Json]:
            verb = first(query, "verb")
            match what:
                case "dispatches":
                    return verb, self._changes.change(verb, query, first(query, "again"))
                case "rules":
                    return verb, change_rules(self._changes, verb, query)
                case "quarantine":
                    return verb, change_quarantine(self._changes, verb, query)
                case _:
                    return verb, self._changes.backfill(_number(first(query, "number")), verb)

        return do

    # -- the session ------------------------------------------------------------------------------------------

    def _login(self, request: Request) -> Response:
        return self._page(request, "login.html", {"wrong": None, "writable": self._access.token is not None})

    async def _begin(self, request: Request) -> Response:
        try:
            self._access.check_host(request)
            session = self._access.begin(first(await form_of(request), "token"), request)
        except DeniedError as error:
            values = {"wrong": error, "writable": self._access.token is not None}
            return self._page(request, "login.html", values, error.status)
        answer = RedirectResponse("/", HTTPStatus.SEE_OTHER, headers=HEADERS)
        answer.set_cookie(
            COOKIE,
            session,
            max_age=int(SESSION_LASTS.total_seconds()),
            httponly=True,
            samesite="strict",
            # A proxy in front may speak https to the browser: its own word is the page's origin.
            secure=request.headers.get("origin", "").startswith("https:") or request.url.scheme == "https",
        )
        return answer

    async def _end(self, request: Request) -> Response:
        self._access.sessions.end(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse("/", HTTPStatus.SEE_OTHER, headers=HEADERS)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    # -- both -------------------------------------------------------------------------------------------------

    def _get(self, view: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                self._access.check_host(request)
                return await self._working.run(view, request)
            except Exception as error:  # noqa: BLE001 - the top of a request: each is told, a defect is logged
                return self._wrong(request, error)

        return answer

    def _post(self, do: Callable[[Query], tuple[str, Json]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                self._access.check_host(request)
                self._access.demand(request)
                verb, done = await self._working.run(do, await form_of(request))
            except Exception as error:  # noqa: BLE001 - as above
                return self._wrong(request, error)
            back = request.url.path.rpartition("/")[0]
            return self._page(request, "done.html", {"verb": verb, "done": done, "back": back})

        return answer

    def _wrong(self, request: Request, error: Exception) -> Response:
        match error:
            case DeniedError(status=status, message=message, hint=hint):
                pass
            case DispatcherError(message=message, hint=hint):
                status = status_of(error)
            case _:
                status, (message, hint) = HTTPStatus.INTERNAL_SERVER_ERROR, defect(request, error)
        values = {"status": status, "message": message, "hint": hint, "login": status is HTTPStatus.UNAUTHORIZED}
        return self._page(request, "error.html", values, status)

    def _page(
        self, request: Request, template: str, values: Mapping[str, object], status: int = HTTPStatus.OK
    ) -> Response:
        path = request.url.path
        known = {
            "path": path,
            "section": f"/{path.split('/')[1]}",
            "may_change": self._access.may_change(request),
            "writes": self._access.token is not None,
        }
        body = self._pages.html(template, {**known, **values})
        # Of a lone surrogate, which is no text, nothing is left to print after `printable`.
        return Response(body.encode(), status, headers=HEADERS, media_type="text/html")


class _Static:
    """The page's own files, with the headers of every other answer; a browser may keep them and asks for changes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a file."""
        kept = {**HEADERS, "Cache-Control": "no-cache"}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), value.encode()) for name, value in kept.items()]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        await self._app(scope, receive, with_headers)


async def _favicon(_request: Request) -> Response:
    return RedirectResponse("/static/icon.svg", HTTPStatus.MOVED_PERMANENTLY, headers=HEADERS)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):  # noqa: PLR2004 - fits 64 bits
        raise UsageError(f"number={text[:40]}: not a number", hint="numbers are on the page")
    return int(text)


def _missing(request: Request) -> Response:
    raise MissingError(f"{request.url.path[:80]}: there is nothing", hint="the page begins at /")

"""The API: /api/v1/ serves the documents of the commands as JSON, and changes what the commands change."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeAlias

from starlette.routing import Route

from dispatcher.errors import DispatcherError, MissingError, UsageError
from dispatcher.web.page.access import DeniedError
from dispatcher.web.page.answering import defect, encoded, first, json_response, query_of, said_yes, status_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from dispatcher.core.documents import Json
    from dispatcher.web.page.access import Access
    from dispatcher.web.page.desk import Changes, Looks, Page, Query
    from dispatcher.web.page.working import Working

View: TypeAlias = "Callable[[Request], Response]"
"""A view in a thread of its own; it may raise DispatcherError or DeniedError."""
PREFIX = "/api/v1"
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


class Api:
    """The views of the API."""

    def __init__(self, looks: Looks, changes: Changes, access: Access, working: Working) -> None:
        self._looks = looks
        self._changes = changes
        self._access = access
        self._working = working

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes, the last of which answers for all that is not there."""
        looks = self._looks
        documents: dict[str, Callable[[], Json]] = {
            "overview": looks.overview,
            "status": looks.status,
            "sources": looks.sources,
            "rules": looks.rules,
            "backfills": looks.backfills,
            "failures": looks.failed,
            "config": looks.config,
        }
        shown = [Route(f"{PREFIX}/{name}", self._get(partial(_whole, find))) for name, find in documents.items()]
        return [
            *shown,
            Route(f"{PREFIX}/dispatches", self._get(partial(_page, looks.dispatches, "dispatches"))),
            Route(f"{PREFIX}/dispatches/{{id}}", self._get(self._dispatch)),
            Route(f"{PREFIX}/dispatches/{{verb}}", self._post(self._change), methods=["POST"]),
            Route(f"{PREFIX}/rules/{{verb}}", self._post(self._rules), methods=["POST"]),
            Route(f"{PREFIX}/explain", self._get(self._explain)),
            Route(f"{PREFIX}/quarantine", self._get(partial(_page, looks.quarantine, "quarantine"))),
            Route(f"{PREFIX}/quarantine/{{number:int}}", self._get(self._quarantined)),
            Route(f"{PREFIX}/quarantine/{{verb}}", self._post(self._quarantine), methods=["POST"]),
            Route(f"{PREFIX}/backfills/{{number:int}}/{{verb}}", self._post(self._backfill), methods=["POST"]),
            Route(f"{PREFIX}/{{rest:path}}", self._get(_nothing), methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ]

    # -- looking ----------------------------------------------------------------------------------------------

    def _dispatch(self, request: Request) -> Response:
        return json_response(self._looks.dispatch(request.path_params["id"]))

    def _quarantined(self, request: Request) -> Response:
        return json_response(self._looks.quarantined(request.path_params["number"]))

    def _explain(self, request: Request) -> Response:
        query = query_of(request)
        live = said_yes(query, "live")
        if live:
            # It asks the store and the service: what that costs is not for everybody who can read.
            self._access.demand(request)
        urls = [each for each in query.get("url", ()) if each]
        if not urls:
            raise UsageError("explain: which object?", hint="write ?url= with an object's URL, or several")
        return json_response([self._looks.explain(url, live=live) for url in urls[:20]])

    # -- changing ---------------------------------------------------------------------------------------------

    def _change(self, request: Request) -> Response:
        verb, query = str(request.path_params["verb"]), query_of(request)
        if said_yes(query, "dry-run"):
            return json_response({"verb": verb, "selected": self._changes.count(verb, query), "changed": 0})
        return json_response(self._changes.change(verb, query, first(query, "again")))

    def _rules(self, request: Request) -> Response:
        return json_response(change_rules(self._changes, str(request.path_params["verb"]), query_of(request)))

    def _quarantine(self, request: Request) -> Response:
        return json_response(change_quarantine(self._changes, str(request.path_params["verb"]), query_of(request)))

    def _backfill(self, request: Request) -> Response:
        return json_response(self._changes.backfill(request.path_params["number"], str(request.path_params["verb"])))

    # -- both -------------------------------------------------------------------------------------------------

    def _get(self, view: View) -> Callable[[Request], Awaitable[Response]]:
        return self._answer(view, changes=False)

    def _post(self, view: View) -> Callable[[Request], Awaitable[Response]]:
        return self._answer(view, changes=True)

    def _answer(
        self, view: Callable[[Request], Response], *, changes: bool
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                self._access.check_host(request)
                if changes:
                    self._access.demand(request)
                return await self._working.run(view, request)
            except DeniedError as error:
                headers = _CHALLENGE if error.status is HTTPStatus.UNAUTHORIZED else {}
                return _error(error.status, error.message, error.hint, headers)
            except DispatcherError as error:
                return _error(status_of(error), error.message, error.hint)
            except Exception as error:  # noqa: BLE001 - the top of a request: logged once, and told
                return _error(HTTPStatus.INTERNAL_SERVER_ERROR, *defect(request, error))

        return answer


def change_rules(changes: Changes, verb: str, query: Query) -> Json:
    """Pause, resume or release what `rule` names, or `all`. Raises DispatcherError."""
    rule, every = first(query, "rule"), said_yes(query, "all")
    if not rule and not every:
        raise UsageError(f"rules {verb}: which one? nothing is selected", hint="name one with rule=, or write all=true")
    match verb:
        case "pause":
            return changes.pause(rule or None, first(query, "detail"))
        case "resume":
            return changes.resume(rule or None)
        case "release" if rule:
            return changes.release(rule, _count(first(query, "count")))
        case _:
            raise MissingError(
                f"rules {verb[:40]}: no such verb", hint="there are pause, resume, and release of one rule"
            )


def change_quarantine(changes: Changes, verb: str, query: Query) -> Json:
    """Retry or drop chosen bodies. Raises DispatcherError."""
    match verb:
        case "retry":
            return changes.retry_quarantined(query)
        case "drop":
            return changes.drop_quarantined(query)
        case _:
            raise MissingError(f"quarantine {verb[:40]}: no such verb", hint="there are retry and drop")


def _count(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) < 10**9):
        raise UsageError(f"count={text[:40]}: not a number of starts", hint="write a positive number, or leave it out")
    return int(text)


def _whole(find: Callable[[], Json], _request: Request) -> Response:
    return json_response(find())


def _page(find: Callable[[Query], Page], name: str, request: Request) -> Response:
    query = query_of(request)
    found = find(query)
    headers = {}
    if found.after is not None:
        pairs = [(key, value) for key, values in query.items() if key != "after" for value in values]
        headers["Link"] = f'<{PREFIX}/{name}?{encoded([*pairs, ("after", found.after)])}>; rel="next"'
    return json_response(list(found.records), headers=headers)


def _nothing(request: Request) -> Response:
    raise MissingError(f"{request.url.path[:80]}: there is nothing", hint="docs/api.md lists what there is")


def _error(status: HTTPStatus, message: str, hint: str, headers: dict[str, str] | None = None) -> Response:
    return json_response({"message": message, "hint": hint}, status, headers)

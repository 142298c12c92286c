"""The console: pages that are made here, and work without script. Nothing can be changed by them.

Every value is escaped by the templates; the policy of content forbids scripts, frames, and everything from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from haulout.broker.operations.console.login import COOKIE, HOURS, credential_of, make_cookie, read_cookie
from haulout.broker.operations.console.view import look
from haulout.broker.operations.machines import OVERDUE
from haulout.broker.protocol import Rejected, Trouble
from haulout.broker.stores import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from haulout.broker.operations.console.view import ForecastView, View
    from haulout.broker.stores import Store

ROOT: Final = "/console"
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}
_LARGEST_FORM: Final = 4096
_WRONG: Final = "this is no token of an owner. It may have been revoked, or not been copied whole."
_STATIC: Final = {"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Console:
    """The pages of one broker.

    Attributes:
        store: of the broker.
        now: the clock.
        overdue: after how long without success a machine is overdue.
        forecast: the last forecast for an owner, if there is one yet; it must not wait.
    """

    store: Store
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    overdue: timedelta = OVERDUE
    forecast: Callable[[str], ForecastView | None] = field(default=lambda _: None)

    def routes(self) -> list[Route]:
        """Return what is to be routed here."""
        return [
            Route(ROOT, self.overview, methods=["GET"]),
            Route(f"{ROOT}/login", self.login, methods=["GET", "POST"]),
            Route(f"{ROOT}/logout", self.logout, methods=["POST"]),
            *(Route(f"{ROOT}/{name}", _static(name, kind), methods=["GET"]) for name, kind in _STATIC.items()),
        ]

    async def overview(self, request: Request) -> Response:
        """Show everything, or one workload."""
        cookie = request.cookies.get(COOKIE, "")
        chosen = request.query_params.get("workload") or None
        found = await run_in_threadpool(self._look, cookie, chosen)
        if found is None:
            return _elsewhere(f"{ROOT}/login")
        return _page("overview.html", view=found)

    async def login(self, request: Request) -> Response:
        """Ask for a token, or take one."""
        if request.method == "GET":
            return _page("login.html", hours=HOURS, wrong=None)
        body = await _form(request)
        cookie = await run_in_threadpool(self._admit, body.get("token", ""))
        if cookie is None:
            return _page("login.html", 401, hours=HOURS, wrong=_WRONG)
        response = _elsewhere(ROOT)
        response.set_cookie(
            COOKIE, cookie, max_age=HOURS * 3600, path="/", secure=True, httponly=True, samesite="strict"
        )
        return response

    async def logout(self, _: Request) -> Response:
        """Forget the login."""
        response = _elsewhere(f"{ROOT}/login")
        response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
        return response

    def _look(self, cookie: str, chosen: str | None) -> View | None:
        now = self.now()
        with self.store.read() as unit:
            credential = read_cookie(cookie, unit.signing_keys.all(), now) if cookie else None
            owner = unit.owners.of_credential(credential) if credential else None
            if owner is None:
                return None
            try:
                forecast = self.forecast(owner)
                return look(unit, owner, now, chosen=chosen, overdue=self.overdue, forecast=forecast)
            except Unknown as exc:
                raise Rejected(Trouble.NOT_FOUND, "there is no such workload of yours") from exc

    def _admit(self, token: str) -> str | None:
        credential = credential_of(token)
        with self.store.read() as unit:
            if credential is None or unit.owners.of_credential(credential) is None:
                return None
            return make_cookie(credential, unit.signing_keys.all()[0], self.now())


async def _form(request: Request) -> dict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Rejected(Trouble.INVALID_REQUEST, "a form is expected")
    body = await request.body()
    try:
        found = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=4) if body else {}
    except ValueError as exc:
        raise Rejected(Trouble.INVALID_REQUEST, "the form cannot be read") from exc
    if len(body) > _LARGEST_FORM:
        raise Rejected(Trouble.TOO_LARGE, f"at most {_LARGEST_FORM} bytes are read")
    return {name: values[0] for name, values in found.items()}


def _page(name: str, status: int = 200, **values: Any) -> Response:
    text = _templates().get_template(name).render(**values)
    return Response(text, status, HEADERS, "text/html; charset=utf-8")


def _elsewhere(where: str) -> RedirectResponse:
    return RedirectResponse(where, 303, HEADERS)


def _static(name: str, kind: str) -> Callable[[Request], Any]:
    content = files(__package__).joinpath(name).read_bytes()

    async def static(_: Request) -> Response:
        return Response(content, headers={**HEADERS, "cache-control": "public, max-age=3600"}, media_type=kind)

    return static


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("haulout.broker.operations.console"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = _shown
    return environment


def _shown(at: str) -> str:
    """Write a time for people: to the minute, in UTC."""
    return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M} UTC"

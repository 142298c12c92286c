"""The application: all routes of a broker, and whatever is plugged in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route

from haulout.broker.app.guests import Guests
from haulout.broker.app.openapi import describe
from haulout.broker.app.owners import Owners
from haulout.broker.app.web import Answering, answer, problem, rejection, routes_of
from haulout.broker.protocol import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from haulout.broker.app.broker import Broker


def build(broker: Broker, *, routes: Sequence[BaseRoute] = (), middleware: Sequence[Middleware] = ()) -> Starlette:
    """Return the ASGI application of a broker.

    Args:
        broker: what answers.
        routes: further ones: console, metrics, health.
        middleware: further ones, the outermost first, inside the one that gives requests their ids and turns what is
            raised into problems: raise ``Rejected`` to refuse a request.
    """
    endpoints = (*Guests(broker).endpoints(), *Owners(broker).endpoints())
    document = describe(endpoints, broker.settings.url, VERSION)

    async def openapi(_: Request) -> Response:
        return answer(document)

    async def trouble(http: Request, exc: Exception) -> Response:
        return problem(rejection(exc), http.state.request)

    return Starlette(
        routes=[*routes_of(endpoints), Route("/openapi.json", openapi), *routes],
        middleware=[Middleware(Answering), *middleware],
        exception_handlers={404: trouble, 405: trouble},
    )

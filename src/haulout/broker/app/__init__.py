"""The HTTPS server: the protocol, the owners' API, and whatever operations plugs in.

``build(broker, routes=…, middleware=…)`` makes the application, ``run`` serves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.broker.app.application import build
    from haulout.broker.app.broker import Broker
    from haulout.broker.app.endorsements import Folder
    from haulout.broker.app.judging import Supplied, Supply, policy_of
    from haulout.broker.app.server import Connection, Listening, listen, run
    from haulout.broker.app.settings import Settings

from haulout.extras import require

require("starlette", "uvicorn", extra="broker")

__all__ = [
    "Broker",
    "Connection",
    "Folder",
    "Listening",
    "Settings",
    "Supplied",
    "Supply",
    "build",
    "listen",
    "policy_of",
    "run",
]

open_face(
    __name__,
    {
        "application": ("build",),
        "broker": ("Broker",),
        "endorsements": ("Folder",),
        "judging": ("Supplied", "Supply", "policy_of"),
        "server": ("Connection", "Listening", "listen", "run"),
        "settings": ("Settings",),
    },
)

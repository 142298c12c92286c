"""What keeps a broker running: console, metrics, health, limits, vendor collateral."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.broker.operations.collateral import Cache, Entry, Refresher, Services, Supply, fetch
    from haulout.broker.operations.connections import MOST_EACH, Connections
    from haulout.broker.operations.guard import Bounds, Guard, Limits
    from haulout.broker.operations.health import Readiness
    from haulout.broker.operations.limits import Limit, Limiter
    from haulout.broker.operations.logs import current_request, write_logs
    from haulout.broker.operations.metrics import Metrics
    from haulout.broker.operations.running import Options, Running

__all__ = [
    "MOST_EACH",
    "Bounds",
    "Cache",
    "Connections",
    "Entry",
    "Guard",
    "Limit",
    "Limiter",
    "Limits",
    "Metrics",
    "Options",
    "Readiness",
    "Refresher",
    "Running",
    "Services",
    "Supply",
    "current_request",
    "fetch",
    "write_logs",
]

open_face(
    __name__,
    {
        "collateral": ("Cache", "Entry", "Refresher", "Services", "Supply", "fetch"),
        "connections": ("MOST_EACH", "Connections"),
        "guard": ("Bounds", "Guard", "Limits"),
        "health": ("Readiness",),
        "limits": ("Limit", "Limiter"),
        "logs": ("current_request", "write_logs"),
        "metrics": ("Metrics",),
        "running": ("Options", "Running"),
    },
)

"""Key brokers, as a library: what ``haulout broker`` does.

Functions take and return typed values; every failure is a :class:`haulout.HauloutError`. docs/broker.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.usecases.broker_init import MadeBroker, broker_init
    from haulout.usecases.broker_keys import (
        BackedUp,
        MovedResources,
        RotatedKeys,
        broker_backup,
        broker_export,
        broker_import,
        broker_restore,
        broker_rotate,
    )
    from haulout.usecases.broker_owner import OwnerReport, broker_owner
    from haulout.usecases.broker_serve import ServeRequest, Serving, broker_serve

__all__ = [
    "BackedUp",
    "MadeBroker",
    "MovedResources",
    "OwnerReport",
    "RotatedKeys",
    "ServeRequest",
    "Serving",
    "broker_backup",
    "broker_export",
    "broker_import",
    "broker_init",
    "broker_owner",
    "broker_restore",
    "broker_rotate",
    "broker_serve",
]

open_face(
    __name__,
    {
        "usecases.broker_init": ("MadeBroker", "broker_init"),
        "usecases.broker_keys": (
            "BackedUp",
            "MovedResources",
            "RotatedKeys",
            "broker_backup",
            "broker_export",
            "broker_import",
            "broker_restore",
            "broker_rotate",
        ),
        "usecases.broker_owner": ("OwnerReport", "broker_owner"),
        "usecases.broker_serve": ("ServeRequest", "Serving", "broker_serve"),
    },
    root="haulout",
)

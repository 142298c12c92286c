"""The verbs as typed functions: dataclass in, dataclass out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.usecases.delta import delta
    from haulout.usecases.lookup import inventory, resolve
    from haulout.usecases.pull import pull
    from haulout.usecases.push import DiskSource, push

__all__ = [
    "DiskSource",
    "delta",
    "inventory",
    "pull",
    "push",
    "resolve",
]

open_face(
    __name__,
    {
        "delta": ("delta",),
        "lookup": ("inventory", "resolve"),
        "pull": ("pull",),
        "push": ("DiskSource", "push"),
    },
)

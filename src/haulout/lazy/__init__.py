"""Disks that machines run from before they are here: served in pieces, fetched when read, verified, filled up.

A server of its own speaks the network block device protocol on a UNIX socket; see ADR 0072 to 0074.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.lazy.beginning import Begun, begin, connections_of, resolve_disk
    from haulout.lazy.filling import complete
    from haulout.lazy.trace import Trace

__all__ = ["Begun", "Trace", "begin", "complete", "connections_of", "resolve_disk"]

open_face(
    __name__,
    {
        "beginning": ("Begun", "begin", "connections_of", "resolve_disk"),
        "filling": ("complete",),
        "trace": ("Trace",),
    },
)

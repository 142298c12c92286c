"""The key broker: it releases keys to genuine confidential hardware, and keeps a record of each decision.

``protocol``, ``sessions``, ``policy`` and ``audit`` decide, and are pure; ``stores`` remembers; ``app`` serves;
``operations`` keeps it running. A process keeps nothing that another one could need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.broker.management import Management, PolicyVersion, WorkloadReport
    from haulout.broker.place import Place, make
    from haulout.broker.sessions import digest_of

__all__ = ["Management", "Place", "PolicyVersion", "WorkloadReport", "digest_of", "make"]

open_face(
    __name__,
    {
        "management": ("Management", "PolicyVersion", "WorkloadReport"),
        "place": ("Place", "make"),
        "sessions": ("digest_of",),
    },
)

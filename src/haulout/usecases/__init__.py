"""The verbs as typed functions: dataclass in, dataclass out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.usecases.delta import delta
    from haulout.usecases.lookup import inventory, resolve
    from haulout.usecases.pull import pull
    from haulout.usecases.push import DiskSource, push
    from haulout.usecases.verify_evidence import EvidenceResult, verify_evidence

__all__ = [
    "DiskSource",
    "EvidenceResult",
    "delta",
    "inventory",
    "pull",
    "push",
    "resolve",
    "verify_evidence",
]

open_face(
    __name__,
    {
        "delta": ("delta",),
        "lookup": ("inventory", "resolve"),
        "pull": ("pull",),
        "push": ("DiskSource", "push"),
        "verify_evidence": ("EvidenceResult", "verify_evidence"),
    },
)

"""The verbs as typed functions: dataclass in, dataclass out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.usecases.build_workload import Broker, BuildRequest, BuiltWorkload, build_workload
    from haulout.usecases.delta import delta
    from haulout.usecases.inspect_workload import inspect_workload
    from haulout.usecases.lookup import inventory, resolve
    from haulout.usecases.pull import pull
    from haulout.usecases.push import DiskSource, push
    from haulout.usecases.verify_evidence import EvidenceResult, verify_evidence

__all__ = [
    "Broker",
    "BuildRequest",
    "BuiltWorkload",
    "DiskSource",
    "EvidenceResult",
    "build_workload",
    "delta",
    "inspect_workload",
    "inventory",
    "pull",
    "push",
    "resolve",
    "verify_evidence",
]

open_face(
    __name__,
    {
        "build_workload": ("Broker", "BuildRequest", "BuiltWorkload", "build_workload"),
        "delta": ("delta",),
        "inspect_workload": ("inspect_workload",),
        "lookup": ("inventory", "resolve"),
        "pull": ("pull",),
        "push": ("DiskSource", "push"),
        "verify_evidence": ("EvidenceResult", "verify_evidence"),
    },
)

"""Images of confidential workloads: from the layers of a container to one encrypted disk, in one pass.

``rootfs`` merges layers, ``ext4`` makes a file system of them, ``verity`` makes every changed block known, ``luks``
encrypts. None of it needs root, a loop device or a second copy. ``build`` joins them, ``inspection`` takes apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.workload.binding import Binding
    from haulout.workload.inspect.findings import Findings, Opened, Outer
    from haulout.workload.keys import broker_key
    from haulout.workload.krun import WorkloadConfig
    from haulout.workload.measurement.expected import expected_measurement
    from haulout.workload.measurement.launch import LaunchDigest, PageType

__all__ = [
    "Binding",
    "Findings",
    "LaunchDigest",
    "Opened",
    "Outer",
    "PageType",
    "WorkloadConfig",
    "broker_key",
    "expected_measurement",
    "krun",
    "policy",
    "secret",
    "source",
]

open_face(
    __name__,
    {
        "binding": ("Binding",),
        "inspect.findings": ("Findings", "Opened", "Outer"),
        "keys": ("broker_key",),
        "krun": ("WorkloadConfig",),
        "measurement.expected": ("expected_measurement",),
        "measurement.launch": ("LaunchDigest", "PageType"),
    },
)

"""Which guest gets which key: policies of workloads, decisions, lists of images, forecasts. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.broker.policy.decide import ALLOWED, Decision, Facts, ReleaseRule, decide
    from haulout.broker.policy.document import Release, WorkloadPolicy, parse
    from haulout.broker.policy.images import Image
    from haulout.broker.policy.recorded import Outlook, Recorded, Rerun, dry_run, forecast, machine_of
    from haulout.broker.policy.signed import ARTIFACT_TYPE, PAYLOAD_TYPE, ImageList, RefusedList, follow, read_list

from haulout.extras import require

require("cryptography", "cbor2")

__all__ = [
    "ALLOWED",
    "ARTIFACT_TYPE",
    "PAYLOAD_TYPE",
    "Decision",
    "Facts",
    "Image",
    "ImageList",
    "Outlook",
    "Recorded",
    "RefusedList",
    "Release",
    "ReleaseRule",
    "Rerun",
    "WorkloadPolicy",
    "decide",
    "dry_run",
    "follow",
    "forecast",
    "machine_of",
    "parse",
    "read_list",
]

open_face(
    __name__,
    {
        "decide": ("ALLOWED", "Decision", "Facts", "ReleaseRule", "decide"),
        "document": ("Release", "WorkloadPolicy", "parse"),
        "images": ("Image",),
        "recorded": ("Outlook", "Recorded", "Rerun", "dry_run", "forecast", "machine_of"),
        "signed": ("ARTIFACT_TYPE", "PAYLOAD_TYPE", "ImageList", "RefusedList", "follow", "read_list"),
    },
)

"""Evidence without the hardware, written into a folder with all that is needed to verify it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.documents import Document
from haulout.emulator.boot import Boot
from haulout.emulator.bundle import make_bundle
from haulout.emulator.store import PLATFORMS, keep, open_or_make
from haulout.errors import InvalidEvidence, UsageError
from haulout.local import read_small

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

LARGEST_BOOT: Final = 1 << 30
"""Bytes of a file that is booted."""


@dataclass(frozen=True, slots=True)
class EmulatedEvidence(Document):
    """What was made.

    Attributes:
        root_fingerprint: SHA-256 of the emulated root's certificate.
        measurement: of what was booted.
        files: where everything is, by name without suffix: evidence, certificates or collateral, policy.
    """

    kind: str
    root_fingerprint: str
    measurement: bytes
    files: dict[str, Path]


def emulate(
    kind: str,
    folder: str | PathLike[str],
    *,
    boot: Sequence[str | PathLike[str]] = (),
    command_line: str = "",
    report_data: bytes = bytes(64),
    workload: bytes | None = None,
    at: datetime | None = None,
) -> EmulatedEvidence:
    """Make evidence of an emulated platform, which is kept in a folder with its keys.

    Args:
        kind: name of the kind of TEE.
        folder: created if it does not exist; the files are replaced if they do.
        boot: files that the guest boots, in order.
        command_line: the kernel's.
        report_data: the 64 bytes that the guest was asked to carry.
        workload: what binds the workload; its length depends on the kind. None: zeros.
        at: the time; None: now.

    Raises:
        UsageError: the kind is not known, or ``workload`` has another length.
        ContentError: the folder keeps another platform, or a file to boot is too large.
        NotFoundError: a file to boot does not exist.
        StorageError: the file system refuses.
    """
    if kind not in PLATFORMS:
        raise UsageError(f"unknown TEE {kind[:40]!r}", hint=f"known: {', '.join(PLATFORMS)}")
    size = PLATFORMS[kind].binding
    if workload is not None and len(workload) != size:
        raise UsageError(f"the workload of {kind} is bound by {size} bytes ({2 * size} digits), not {len(workload)}")
    folder, now = Path(folder), at or datetime.now(UTC)
    files = [read_small(Path(one), LARGEST_BOOT, too_large=partial(InvalidEvidence, str(one))) for one in boot]
    platform = open_or_make(folder, kind, now)
    made = make_bundle(platform, Boot(tuple(files), command_line), now, report_data=report_data, workload=workload)
    for name, data in made.files.items():
        keep(folder, name, data)
    paths = {name.partition(".")[0]: folder / name for name in made.files}
    return EmulatedEvidence(kind, platform.root.fingerprint(), made.measurement, paths)

"""Checks of a disk that need no passphrase: its footer, its LUKS header, what the binding says of both."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from haulout.workload import krun, luks

if TYPE_CHECKING:
    from typing import BinaryIO

    from haulout.workload.inspect.findings import Findings


def check_locked(file: BinaryIO, what: str, findings: Findings, beside: bytes | None = None) -> None:
    """Check a disk and note what is found.

    Args:
        file: the disk, seekable; its first 16 MiB and its last 2 are read at most.
        what: it, for errors.
        findings: added to.
        beside: ``krun-sev.json`` of the image that the disk is in.
    """
    size = file.seek(0, io.SEEK_END)
    findings.disk_size = size
    document = None
    if size % krun.ALIGNMENT:
        findings.breaks("disk-size", f"{what} has {size} bytes, which is not a multiple of {krun.ALIGNMENT}")
    with findings.judging():
        document = _footer(file, size, what, findings)
    with findings.judging("luks-"):
        header = findings.luks = luks.read_header(file)
        if document is not None:
            findings.payload_size = size - header.payload_start - len(document) - krun.TRAILER
    with findings.judging():
        _configs(document, beside, what, findings)
    _bound(findings, what)


def _footer(file: BinaryIO, size: int, what: str, findings: Findings) -> bytes:
    file.seek(max(0, size - krun.TRAILER))
    length = krun.json_size(file.read(krun.TRAILER), max(0, size - krun.TRAILER), what)
    start = size - krun.TRAILER - length
    file.seek(start)
    document = file.read(length)
    margin = min(krun.ALIGNMENT, start)
    file.seek(start - margin)
    with findings.judging():
        krun.check_before(file.read(margin), what)
    return document


def _configs(document: bytes | None, beside: bytes | None, what: str, findings: Findings) -> None:
    inside = None
    if document is not None:
        with findings.judging():
            inside = krun.WorkloadConfig.parse(document, f"the footer of {what}")
    if beside is not None:
        with findings.judging():
            findings.config = krun.WorkloadConfig.parse(beside, krun.CONFIG_NAME)
        if document is not None and beside != document and (inside is None or inside != findings.config):
            findings.breaks("json-differs", f"{krun.CONFIG_NAME} differs from the footer of {what}")
    findings.config = findings.config or inside


def _bound(findings: Findings, what: str) -> None:
    binding = findings.binding
    if binding is None:
        return
    if findings.luks is not None and findings.luks.digest != binding.luks_header:
        findings.breaks(
            "binding-header",
            f"the LUKS header of {what} does not match the binding: it was replaced, or is from another build",
        )
    if findings.config is not None and findings.config.workload_id != binding.workload_id:
        findings.breaks(
            "binding-workload",
            f"the binding names workload {binding.workload_id[:80]}, the disk names {findings.config.workload_id[:80]}",
        )

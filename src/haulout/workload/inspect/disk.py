"""Checks of a disk: locked, of its footer, its LUKS header and the binding; unlocked, of file system and hashes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, cast

from haulout.errors import InvalidManifest, InvalidWorkload, RefusedVerity
from haulout.oci import json
from haulout.workload import krun, luks, verity
from haulout.workload.ext4 import reader as ext4
from haulout.workload.inspect.findings import UnlockedDisk

if TYPE_CHECKING:
    from typing import BinaryIO

    from haulout.progress import Progress
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


def check_unlocked(
    file: BinaryIO, passphrase: bytes, findings: Findings, progress: Progress
) -> tuple[BinaryIO, ext4.FileSystem] | None:
    """Unlock a disk after :func:`check_locked`, and note what is found.

    Returns:
        its plain content, and the file system in it; None where it has none.

    Raises:
        WrongPassphrase: it does not open it.
    """
    if findings.luks is None or findings.payload_size is None or findings.payload_size <= 0:
        # What is wrong with it was noted already.
        return None
    volume = luks.open_volume(file, passphrase)
    payload = io.BufferedReader(luks.Payload(file, volume, findings.payload_size // luks.SECTOR * luks.SECTOR), 1 << 20)
    found = findings.unlocked = UnlockedDisk()
    plain = cast("BinaryIO", payload)
    system: ext4.FileSystem | None = None
    with findings.judging():
        system = ext4.read_superblock(plain)
        found.file_system_size = system.size
    with progress.task("verifying", None, unit="disks"):
        _check_hashes(plain, findings, found)
    if system is None:
        return None
    with findings.judging():
        _inner(ext4.read_file(plain, system, krun.INNER_CONFIG), found)
    return plain, system


def _check_hashes(plain: BinaryIO, findings: Findings, found: UnlockedDisk) -> None:
    binding = findings.binding
    if binding is None:
        size = found.file_system_size
        try:
            if size is not None:
                verity.read_superblock(plain, size)
                found.verity = "unbound"
        except RefusedVerity:
            pass
        return
    if found.file_system_size is not None and found.file_system_size != binding.hash_offset:
        findings.breaks(
            "binding-size",
            f"the file system has {found.file_system_size} bytes, but the binding says {binding.hash_offset}",
        )
    found.verity = "failed"
    with findings.judging("verity-"):
        superblock = verity.read_superblock(plain, binding.hash_offset)
        if superblock.salt != binding.salt or superblock.data_blocks * verity.BLOCK != binding.hash_offset:
            raise InvalidWorkload("binding-verity", "the superblock of dm-verity does not match the binding")
        verity.check(plain, binding.hash_offset, binding.root)
        found.verity = "verified"


def _inner(data: bytes | None, found: UnlockedDisk) -> None:
    if data is None:
        raise InvalidWorkload("inner-config", f"there is no /{krun.INNER_CONFIG} in the encrypted root")
    try:
        values = json.loads(data, f"/{krun.INNER_CONFIG}")
    except InvalidManifest as exc:
        raise InvalidWorkload("inner-config", f"/{krun.INNER_CONFIG} cannot be read: {exc.reason}") from exc
    architecture = values.get("architecture")
    found.architecture = architecture if isinstance(architecture, str) else None
    config = values.get("config")
    inside = config if isinstance(config, dict) else {}
    found.entrypoint = _words(inside.get("Entrypoint"))
    found.command = _words(inside.get("Cmd"))


def _words(value: Any) -> tuple[str, ...]:
    return tuple(word for word in value if isinstance(word, str)) if isinstance(value, list) else ()

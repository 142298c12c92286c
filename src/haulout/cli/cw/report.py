"""What ``haulout cw`` shows people: bindings, and what an inspection found."""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING

from haulout.cli.terminal import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.workload import Binding, Findings, OuterImage, UnlockedDisk

_VERITY = {
    "verified": "dm-verity: every block matches the binding's root hash",
    "unbound": "dm-verity: there are hashes, but no trusted root hash",
    "failed": "dm-verity: FAILED",
    "absent": "dm-verity: no hashes",
}


def binding_lines(binding: Binding) -> Iterator[str]:
    """Write a binding for people."""
    yield f"  binding         {binding.digest}"
    yield f"    workload      {binding.workload_id}"
    yield f"    LUKS header   {binding.luks_header}"
    yield f"    verity root   {binding.root.hex()}"
    if binding.broker_key is not None:
        yield f"    broker key    sha256:{hashlib.sha256(binding.broker_key).hexdigest()}"
    yield f"    host-data       (SNP) {binding.host_data.hex()}"
    yield f"    mrconfigid      (TDX) {binding.mrconfigid.hex()}"
    yield f"    personalization (CCA) {binding.personalization.hex()}"


def lines(subject: str, found: Findings) -> Iterator[str]:
    """Write an inspection for people."""
    config = found.config
    what = "disk" if found.outer is None else "image"
    tee = "unknown TEE" if config is None else str(config.tee).upper()
    yield f"{subject}: {what} of a confidential workload, {tee}"
    if config is not None:
        yield f"  workload id     {config.workload_id}"
        yield f"  machine         {config.cpus} CPUs, {config.ram_mib} MiB"
        yield f"  broker          {config.attestation_url or '(none)'}"
    if found.outer is not None:
        yield from _outer_lines(found.outer)
    yield from _disk_lines(found)
    if found.binding is not None:
        yield from binding_lines(found.binding)
    else:
        yield "  binding         none: evidence does not prove which workload runs"
    if found.measurement:
        yield f"  measurement     {found.measurement}"
    if found.unlocked is not None:
        yield from _unlocked_lines(found.unlocked)
    yield from (f"  BROKEN: {each.reason} [{each.rule}]" for each in found.broken)
    if not found.broken:
        yield "  no rule is broken"


def _outer_lines(outer: OuterImage) -> Iterator[str]:
    yield f"  outer image     {outer.architecture}, created {outer.created or '(unknown)'}, {outer.manifest}"
    for one in outer.members:
        yield f"    {stat.filemode(one.mode)[1:]}  {size(one.size):>10}  {one.name}"
    yield f"  leaks           {', '.join(outer.leaks) or 'nothing'}"


def _disk_lines(found: Findings) -> Iterator[str]:
    if found.disk_size is not None:
        yield f"  disk            {size(found.disk_size)}"
    if found.luks is not None:
        luks = found.luks
        used = sum(slot.active for slot in luks.slots)
        yield (
            f"  LUKS1           aes-xts-plain64, {luks.key_bytes * 8} bits, {luks.hash_name}, {used} of 8 slots used, "
            f"payload at byte {luks.payload_start}"
        )
        yield f"    header        {luks.digest}"


def _unlocked_lines(unlocked: UnlockedDisk) -> Iterator[str]:
    if unlocked.file_system_size is not None:
        yield f"  unlocked        ext4, {size(unlocked.file_system_size)}"
    yield f"    {_VERITY[unlocked.verity]}"
    if unlocked.architecture is not None:
        words = " ".join((*unlocked.entrypoint, *unlocked.command))
        yield f"    inside        {unlocked.architecture}: {words or 'no command'}"

"""What ``haulout cw`` shows: bindings, what was built, and what an inspection found."""

from __future__ import annotations

import base64
import hashlib
import stat
from typing import TYPE_CHECKING, Any

from haulout.cli.terminal import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.workload import Binding, Findings, Opened, Outer, WorkloadConfig
    from haulout.workload.luks import Header

_VERITY = {
    "verified": "dm-verity: every block is what the binding's root vouches for",
    "unbound": "dm-verity: there are hashes, but nothing vouches for their root",
    "failed": "dm-verity: FAILED",
    "absent": "dm-verity: no hashes",
}


def binding_document(binding: Binding | None) -> dict[str, Any] | None:
    """Return the JSON of a binding and of the three values that name it."""
    if binding is None:
        return None
    key = binding.broker_key
    return {
        "digest": str(binding.digest),
        "workload_id": binding.workload_id,
        "broker_key": None if key is None else base64.b64encode(key).decode(),
        "luks_header": str(binding.luks_header),
        "verity": {"root": binding.root.hex(), "salt": binding.salt.hex(), "hash_offset": binding.hash_offset},
        "host_data": binding.host_data.hex(),
        "mrconfigid": binding.mrconfigid.hex(),
        "personalization": binding.personalization.hex(),
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


def config_document(config: WorkloadConfig | None) -> dict[str, Any] | None:
    """Return the JSON of what libkrun reads."""
    if config is None:
        return None
    return {
        "tee": str(config.tee),
        "workload_id": config.workload_id,
        "cpus": config.cpus,
        "ram_mib": config.ram_mib,
        "attestation_url": config.attestation_url,
    }


def document(subject: str, found: Findings) -> dict[str, Any]:
    """Return the JSON of an inspection."""
    outer = found.outer
    return {
        "subject": subject,
        "image": None
        if outer is None
        else {
            "manifest": str(outer.manifest),
            "architecture": outer.architecture,
            "created": outer.created,
            "entries": [{"name": one.name, "mode": f"{one.mode:04o}", "size": one.size} for one in outer.members],
            "leaks": list(outer.leaks),
        },
        "config": config_document(found.config),
        "disk": None
        if found.disk_size is None
        else {"size": found.disk_size, "payload_size": found.payload_size, "luks": _luks(found.luks)},
        "binding": binding_document(found.binding),
        "measurement": found.measurement,
        "opened": _opened(found.opened),
        "broken": [{"rule": str(one.rule), "reason": one.reason} for one in found.broken],
    }


def lines(subject: str, found: Findings) -> Iterator[str]:
    """Write an inspection for people."""
    config = found.config
    what = "disk" if found.outer is None else "image"
    tee = "unknown TEE" if config is None else str(config.tee).upper()
    yield f"{subject}: {what} of a confidential workload, {tee}"
    if config is not None:
        yield f"  workload id     {config.workload_id}"
        yield f"  machine         {config.cpus} CPUs, {config.ram_mib} MiB"
        yield f"  broker          {config.attestation_url or '(none: the passphrase comes another way)'}"
    if found.outer is not None:
        yield from _outer_lines(found.outer)
    yield from _disk_lines(found)
    if found.binding is not None:
        yield from binding_lines(found.binding)
    else:
        yield "  binding         none: evidence of any workload may be shown for this one"
    if found.measurement:
        yield f"  measurement     {found.measurement}"
    if found.opened is not None:
        yield from _opened_lines(found.opened)
    yield from (f"  BROKEN: {each.reason} [{each.rule}]" for each in found.broken)
    if not found.broken:
        yield "  no rule is broken"


def _outer_lines(outer: Outer) -> Iterator[str]:
    yield f"  outer image     {outer.architecture}, created {outer.created or 'at no time told'}, {outer.manifest}"
    for one in outer.members:
        yield f"    {stat.filemode(one.mode)[1:]}  {size(one.size):>10}  {one.name}"
    yield f"  leaks           {', '.join(outer.leaks) or 'nothing of the image inside'}"


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


def _luks(header: Header | None) -> dict[str, Any] | None:
    if header is None:
        return None
    return {
        "uuid": str(header.uuid),
        "cipher": "aes-xts-plain64",
        "hash": header.hash_name,
        "key_bits": header.key_bytes * 8,
        "payload_offset": header.payload_start,
        "slots": [number for number, slot in enumerate(header.slots) if slot.active],
        "header_digest": str(header.digest),
    }


def _opened(opened: Opened | None) -> dict[str, Any] | None:
    if opened is None:
        return None
    return {
        "file_system_size": opened.file_system_size,
        "verity": opened.verity,
        "architecture": opened.architecture,
        "entrypoint": list(opened.entrypoint),
        "command": list(opened.command),
    }


def _opened_lines(opened: Opened) -> Iterator[str]:
    if opened.file_system_size is not None:
        yield f"  opened          ext4, {size(opened.file_system_size)}"
    yield f"    {_VERITY[opened.verity]}"
    if opened.architecture is not None:
        words = " ".join((*opened.entrypoint, *opened.command))
        yield f"    inside        {opened.architecture}: {words or 'no command'}"

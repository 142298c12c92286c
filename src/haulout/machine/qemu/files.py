"""A machine's files, made ready for QEMU: its disks, what its first boot is told, its console and firmware."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from haulout.disk import DiskFormat, create_overlay, has_efi_partition
from haulout.local import find_program, replace_file, storage_errors
from haulout.machine.base import check_base
from haulout.machine.guest import seed, ssh
from haulout.machine.model import Firmware
from haulout.machine.partial import partial_base, served_at
from haulout.machine.preflight import check_settings
from haulout.machine.qemu import accel, argv, firmware, virtiofsd
from haulout.machine.update import data_disk

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.machine.model import Machine
    from haulout.machine.store import Place


def check(machine: Machine, place: Place, architecture: str) -> None:
    """Check what a start needs, as far as that can be seen before it: mounts, ports, programs and the base image.

    Raises:
        StorageError: the base is gone or was changed, or a mount is not there.
        UsageError: mounts or ports are named twice.
        ToolError: QEMU, ssh or virtiofsd is missing.
    """
    check_settings(machine)
    find_program(argv.program(architecture), accel.hint(architecture))
    find_program("ssh", ssh.HINT)
    if machine.mounts:
        virtiofsd.find()
    base = place.base(machine)
    if partial_base(base) is None:
        check_base(base, machine.image.pinned)


def prepare(machine: Machine, place: Place, architecture: str) -> argv.Files:
    """Make a machine's files ready: what is there is kept.

    Raises:
        StorageError: something cannot be written.
        HauloutError: as :func:`check`; or qemu-img or firmware is missing.
    """
    check(machine, place, architecture)
    base = place.base(machine)
    partial = partial_base(base)
    kind = DiskFormat(machine.image.format.value)
    system = place.system(machine.image)
    with storage_errors(place.folder, doing="cannot be written"):
        system.parent.mkdir(exist_ok=True, mode=0o700)
    if not system.exists():
        create_overlay(base, kind, system, None if partial is None else partial.virtual_size)
    data_disk.grow(place, machine)
    since = place.data_since(machine.image)
    with storage_errors(place.folder, doing="cannot be written"):
        folder = place.file("seed")
        folder.mkdir(exist_ok=True, mode=0o700)
        key = place.file("key.pub").read_text("ascii").strip()
        added = {name: _added(place.file(name)) for name in (seed.CLOUD_INIT, seed.IGNITION)}
        replace_file(folder / "user-data", seed.user_data(key, added[seed.CLOUD_INIT]).encode(), durable=False)
        replace_file(folder / "meta-data", seed.meta_data(machine).encode(), durable=False)
        ignition = place.file("ignition.json")
        told = seed.ignition(machine, key, added[seed.IGNITION])
        replace_file(ignition, told.encode(), mode=0o600, durable=False)
        console = place.file("console.log")
        with suppress(FileNotFoundError):
            console.replace(place.file("console.log.1"))
        mounts = tuple(place.socket(f"fs{number}") for number in range(len(machine.mounts)))
        for each in ("qmp", "agent"):
            place.socket(each).unlink(missing_ok=True)
        return argv.Files(
            base=base,
            base_socket=served_at(place, machine),
            system=system,
            data=place.file(data_disk.DATA),
            data_since=since if since.exists() else None,
            seed=folder,
            ignition=ignition,
            console=console,
            qmp=place.socket("qmp"),
            agent=place.socket("agent"),
            mounts=mounts,
            firmware=_firmware(machine, place, architecture, kind),
        )


def _added(path: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def _firmware(machine: Machine, place: Place, architecture: str, kind: DiskFormat) -> firmware.Uefi | None:
    if machine.firmware is Firmware.BIOS and architecture == "x86_64":
        return None
    if machine.firmware is Firmware.AUTO and architecture == "x86_64":
        base = place.base(machine)
        partial = partial_base(base)
        if not (has_efi_partition(base, kind) if partial is None else partial.efi):
            return None
    found = firmware.find(architecture, firmware.folders(argv.program(architecture)))
    variables = place.variables(machine.image)
    if not variables.exists():
        replace_file(variables, found.variables.read_bytes(), mode=0o600)
    return replace(found, variables=variables)

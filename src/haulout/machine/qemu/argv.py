"""The command line of QEMU, from 7.2 on. Pure: golden files in the tests show it for each platform.

Paths may hold anything: a comma is doubled, as QEMU's option parser wants it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.machine.guest.agent import PORT
from haulout.machine.guest.scripts import tag
from haulout.machine.guest.seed import DATA_LABEL
from haulout.machine.model import Accelerator, DiskKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from haulout.machine.model import Forward, Machine
    from haulout.machine.qemu.firmware import Uefi

_RECONNECT_SECONDS: Final = 600
"""That reads wait for a server of the base that was killed."""
_OPEN_SECONDS: Final = 20
_SYSTEM: Final = {"x86_64": "qemu-system-x86_64", "aarch64": "qemu-system-aarch64"}
_BOARD: Final = {"x86_64": "q35", "aarch64": "virt"}


@dataclass(frozen=True, slots=True)
class Files:
    """Everything on this host that a virtual machine opens."""

    base: Path
    system: Path
    data: Path
    data_since: Path | None
    """What was written to the data disk since an update, over ``data``, which stays as it was; None: there was none."""
    seed: Path
    """Folder that the guest sees as cloud-init's NoCloud disk."""
    ignition: Path
    console: Path
    qmp: Path
    agent: Path
    """Socket that leads to the guest's agent, if it has one."""
    base_socket: Path | None = None
    """Where the base is served as a network block device while it is not whole; None: it is a file."""
    mounts: tuple[Path, ...] = ()
    """Socket of virtiofsd for each mount, in order."""
    firmware: Uefi | None = None
    """None: the board's own."""


def program(architecture: str) -> str:
    """Return the name of QEMU for an architecture of Linux (``x86_64``, ``aarch64``)."""
    return _SYSTEM[architecture]


def command(
    machine: Machine, files: Files, accelerator: Accelerator, architecture: str, credentials: Sequence[str]
) -> list[str]:
    """Return the command line.

    Args:
        machine: what it is to be.
        files: what it opens.
        accelerator: one that works here, not ``auto``.
        architecture: ``x86_64`` or ``aarch64``.
        credentials: of systemd, for the guest.
    """
    memory = f"{machine.resources.memory}M"
    shared = [
        *("-object", f"memory-backend-memfd,id=memory,size={memory},share=on"),
        *("-numa", "node,memdev=memory"),
    ]
    return [
        *(program(architecture), "-name", machine.name, "-nodefaults", "-no-user-config", "-display", "none"),
        *("-accel", _accelerator(accelerator), "-machine", _board(architecture), "-cpu", _cpu(accelerator)),
        *("-smp", str(machine.resources.cpus), "-m", memory, "-uuid", machine.id),
        *(shared if files.mounts else []),
        *_firmware(files),
        *_disks(machine, files),
        *_network(machine),
        *_mounts(files),
        *("-device", "virtio-rng-pci", "-device", "virtio-balloon-pci,free-page-reporting=on"),
        *("-device", "pvpanic-pci", "-action", "panic=none"),
        *("-rtc", "base=utc,clock=host"),
        *("-fw_cfg", f"name=opt/com.coreos/config,file={_quoted(files.ignition)}"),
        *(word for each in credentials for word in ("-smbios", f"type=11,value={each.replace(',', ',,')}")),
        *("-chardev", f"file,id=console,path={_quoted(files.console)}", "-serial", "chardev:console"),
        *("-device", "virtio-serial-pci"),
        *("-chardev", f"socket,id=agent,path={_quoted(files.agent)},server=on,wait=off"),
        *("-device", f"virtserialport,chardev=agent,name={PORT}"),
        *("-qmp", f"unix:{_quoted(files.qmp)},server=on,wait=off"),
    ]


def _quoted(path: Path) -> str:
    return os.fspath(path).replace(",", ",,")


def _accelerator(accelerator: Accelerator) -> str:
    return "tcg,thread=multi" if accelerator is Accelerator.TCG else accelerator.value


def _board(architecture: str) -> str:
    return _BOARD[architecture]


def _cpu(accelerator: Accelerator) -> str:
    return "max" if accelerator is Accelerator.TCG else "host"


def _firmware(files: Files) -> list[str]:
    if files.firmware is None:
        return []
    kind = files.firmware.format
    return [
        *("-drive", f"if=pflash,unit=0,format={kind},readonly=on,file={_quoted(files.firmware.code)}"),
        *("-drive", f"if=pflash,unit=1,format={kind},file={_quoted(files.firmware.variables)}"),
    ]


def _disks(machine: Machine, files: Files) -> list[str]:
    base = "qcow2" if machine.image.format is DiskKind.QCOW2 else "raw"
    return [
        # The base is named here, not where the overlay remembers it: folders may have moved since.
        *("-blockdev", _base(files)),
        *("-blockdev", f"driver={base},node-name=base,read-only=on,file=base-file"),
        *("-blockdev", f"driver=file,node-name=system-file,discard=unmap,filename={_quoted(files.system)}"),
        *("-blockdev", "driver=qcow2,node-name=system,discard=unmap,file=system-file,backing=base"),
        *("-device", "virtio-blk-pci,drive=system,bootindex=0,serial=haulout-system"),
        *_data(files),
        *("-device", f"virtio-blk-pci,drive=data,serial={DATA_LABEL}"),
        *("-blockdev", f"driver=vvfat,node-name=seed,read-only=on,label=CIDATA,dir={_quoted(files.seed)}"),
        *("-device", "virtio-blk-pci,drive=seed,serial=haulout-seed"),
    ]


def _base(files: Files) -> str:
    node = "node-name=base-file,read-only=on"
    if files.base_socket is None:
        return f"driver=file,{node},filename={_quoted(files.base)}"
    served = f"server.type=unix,server.path={_quoted(files.base_socket)}"
    # Reads wait, and are asked again, while there is no server; then they fail.
    return f"driver=nbd,{node},{served},reconnect-delay={_RECONNECT_SECONDS},open-timeout={_OPEN_SECONDS}"


def _data(files: Files) -> list[str]:
    if files.data_since is None:
        return [
            *("-blockdev", f"driver=file,node-name=data-file,discard=unmap,filename={_quoted(files.data)}"),
            *("-blockdev", "driver=raw,node-name=data,discard=unmap,detect-zeroes=unmap,file=data-file"),
        ]
    since = _quoted(files.data_since)
    return [
        *("-blockdev", f"driver=file,node-name=before-file,read-only=on,filename={_quoted(files.data)}"),
        *("-blockdev", "driver=raw,node-name=before,read-only=on,file=before-file"),
        *("-blockdev", f"driver=file,node-name=data-file,discard=unmap,filename={since}"),
        *("-blockdev", "driver=qcow2,node-name=data,discard=unmap,detect-zeroes=unmap,file=data-file,backing=before"),
    ]


def rule(forward: Forward) -> str:
    """Return how QEMU writes a forwarded port."""
    return f"{forward.protocol}:127.0.0.1:{forward.host}-:{forward.guest}"


def _network(machine: Machine) -> list[str]:
    forwards = "".join(f",hostfwd={rule(each)}" for each in machine.forwards)
    return [
        # Port 0: the kernel chooses, and QMP tells which it was.
        *("-netdev", f"user,id=network,hostfwd=tcp:127.0.0.1:0-:22{forwards}"),
        *("-device", f"virtio-net-pci,netdev=network,mac={machine.mac}"),
    ]


def _mounts(files: Files) -> list[str]:
    found = []
    for number, socket in enumerate(files.mounts):
        found += ["-chardev", f"socket,id=fs{number},path={_quoted(socket)}"]
        found += ["-device", f"vhost-user-fs-pci,chardev=fs{number},tag={tag(number)}"]
    return found

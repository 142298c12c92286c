"""Command lines that start a guest: under QEMU with an emulated TEE, and on real hardware. Pure.

SEV-SNP: QEMU 9.1 and later, docs/system/i386/amd-memory-encryption.rst. TDX: QEMU 10.1 and later,
docs/system/i386/tdx.rst. Paths may hold anything: a comma is doubled, as QEMU's option parser wants it.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.guest.launch import DISK_SERIAL, SERIAL, STATUS_PORT, TEE_PORT

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.workload.binding import Binding

HOST: Final = "10.0.2.2"
"""This machine, as a guest in QEMU's own network sees it."""
_SNP_POLICY: Final = 0x3_0000
"""Hyper-threading is allowed, debugging and migration are not."""
_QUOTES: Final = {"type": "vsock", "cid": "2", "port": "4050"}
"""Where Intel's quote generation service listens by default."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What is started.

    Attributes:
        kernel, initramfs, command_line: what boots.
        disk: the encrypted disk.
        launch: the disk with the launch document.
        cpus: processors.
        memory: MiB.
        forwards: port of this machine and port of the guest, TCP.
    """

    kernel: Path
    initramfs: Path
    command_line: str
    disk: Path
    launch: Path
    cpus: int
    memory: int
    forwards: tuple[tuple[int, int], ...] = ()


def emulated(machine: Machine, program: str, accelerator: str, tee: Path, status: Path) -> list[str]:
    """Return the command line of QEMU with two ports: to an emulated TEE, and for the guest's status.

    Args:
        machine: what is started.
        program: QEMU's.
        accelerator: as QEMU names it.
        tee: socket that QEMU listens on.
        status: the same for the status.
    """
    fast = accelerator != "tcg"
    board = ["-machine", "virt" if program.endswith("aarch64") else "q35"]
    ports = ["-device", "virtio-serial-pci"]
    for name, socket, port in (("tee", tee, TEE_PORT), ("status", status, STATUS_PORT)):
        ports += ["-chardev", f"socket,id={name},path={_quoted(socket)},server=on,wait=off"]
        ports += ["-device", f"virtserialport,chardev={name},name={port}"]
    return [
        *(program, "-name", "haulout-guest", "-no-user-config", "-accel", accelerator, *board),
        *("-cpu", "host" if fast else "max", *_common(machine), *ports),
    ]


def qemu_snp(machine: Machine, binding: Binding) -> list[str]:
    """Return the command line for SEV-SNP: the binding is HOST_DATA, kernel and initramfs are measured."""
    value = base64.b64encode(binding.host_data).decode()
    memory = f"memory-backend-memfd,id=memory,size={machine.memory}M,share=true,prealloc=false"
    policy = f"cbitpos=51,reduced-phys-bits=1,policy={_SNP_POLICY:#x}"
    guest = f"sev-snp-guest,id=tee,{policy},kernel-hashes=on,host-data={value}"
    return [
        *("qemu-system-x86_64", "-no-user-config", "-accel", "kvm", "-cpu", "EPYC-v4"),
        *("-machine", "q35,confidential-guest-support=tee,memory-backend=memory,vmport=off"),
        *("-object", memory, "-object", guest, "-bios", "OVMF.amdsev.fd", *_common(machine)),
    ]


def qemu_tdx(machine: Machine, binding: Binding) -> list[str]:
    """Return the command line for TDX: the binding is MRCONFIGID, kernel and initramfs are measured by the firmware."""
    value = base64.b64encode(binding.mrconfigid).decode()
    guest = {"qom-type": "tdx-guest", "id": "tee", "mrconfigid": value, "quote-generation-socket": _QUOTES}
    return [
        *("qemu-system-x86_64", "-no-user-config", "-accel", "kvm", "-cpu", "host"),
        *("-machine", "q35,kernel-irqchip=split,confidential-guest-support=tee"),
        *("-object", json.dumps(guest), "-bios", "OVMF.inteltdx.fd", *_common(machine)),
    ]


def krun(reference: str) -> list[str]:
    """Return the command line for crun with libkrun up to 1.19, whose own guest unlocks the disk by protocol v0."""
    return ["podman", "--runtime", "krun", "run", "--rm", "--annotation", "krun.variant=sev", reference]


def _common(machine: Machine) -> list[str]:
    forwards = "".join(f",hostfwd=tcp:127.0.0.1:{host}-:{guest}" for host, guest in machine.forwards)
    return [
        *("-smp", str(machine.cpus), "-m", f"{machine.memory}M", "-nodefaults", "-display", "none", "-no-reboot"),
        *("-kernel", os.fspath(machine.kernel), "-initrd", os.fspath(machine.initramfs)),
        *("-append", machine.command_line, "-serial", "stdio"),
        *_drive(machine.disk, DISK_SERIAL),
        *_drive(machine.launch, SERIAL),
        *("-netdev", f"user,id=network{forwards}", "-device", "virtio-net-pci,netdev=network,romfile="),
        *("-device", "virtio-rng-pci"),
    ]


def _drive(path: Path, serial: str) -> list[str]:
    node = serial.removeprefix("haulout-")
    return [
        *("-blockdev", f"driver=file,node-name={node}-file,read-only=on,filename={_quoted(path)}"),
        *("-blockdev", f"driver=raw,node-name={node},read-only=on,file={node}-file"),
        *("-device", f"virtio-blk-pci,drive={node},serial={serial}"),
    ]


def _quoted(path: Path) -> str:
    return os.fspath(path).replace(",", ",,")

"""Which accelerator works here: found by a real boot of a few instructions, and remembered.

That ``/dev/kvm`` can be opened proves little: nested and software-emulated KVM start a guest, and then hang or fail at
an instruction that Linux needs. So a boot sector (probe.S) is run, which enters long mode and executes some of those.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from haulout.errors import ToolError
from haulout.local import private_folder, replace_file, run
from haulout.machine.model import Accelerator

SECONDS: Final = 10.0
"""The longest a probe takes. Under TCG, on a slow machine, it needs 0.2."""
_PASSED: Final = 33
"""QEMU's exit code after ``isa-debug-exit`` was told 16: twice that, and one."""
_DISK: Final = 1 << 20
BOOT_SECTOR: Final = bytes.fromhex(
    "fafc31c08ed88ec08ed0bc007cbf0010b90018f3abc70600100320c70600200330c706003083000f0116f07c66b8a0060000"
    "0f22e066b8001000000f22d866b9800000c00f32660d010900000f3066b8330005800f22c0ea5c7c080066b810008ed88ec0"
    "8ed031c00fa231c031d2bb0100000031c9bf0050000048890748894708f0480fc70f75440f2807660fd4c066480f7ec04883"
    "f80275320f31bf00600000488d052700000066890766c74702080066c74704008e31c066894706488947080f011c25f67c00"
    "000f0b90f4ebfd66ba0105b010eeebf4000000000000000000000000009a200000000000009200001700d87c00006f00a05f"
)


def candidates(platform: str) -> tuple[Accelerator, ...]:
    """Return what may work on a system (``sys.platform``), the fastest first."""
    fast = {"linux": Accelerator.KVM, "darwin": Accelerator.HVF}.get(platform)
    return (Accelerator.TCG,) if fast is None else (fast, Accelerator.TCG)


def probe(program: str, accelerator: Accelerator, *, seconds: float = SECONDS) -> bool:
    """Return whether a guest runs under an accelerator.

    Raises:
        ToolError: QEMU is not installed.
        StorageError: there is no place for a temporary file.
    """
    with private_folder("haulout-probe-") as folder:
        disk = folder / "disk"
        disk.write_bytes((BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa").ljust(_DISK, b"\0"))
        cpu = "max" if accelerator is Accelerator.TCG else "host"
        argv = [
            *(program, "-accel", accelerator.value, "-machine", "q35", "-cpu", cpu, "-m", "32", "-nodefaults"),
            *("-no-user-config", "-display", "none", "-no-reboot", "-device", "isa-debug-exit,iobase=0x501,iosize=1"),
            *("-drive", "if=none,id=disk,format=raw,readonly=on,file=disk"),
            *("-device", "virtio-blk-pci,drive=disk,bootindex=0"),
        ]
        if shutil.which(program) is None:
            raise ToolError(program, "is not installed", hint="install it: the Debian package is qemu-system-x86")
        try:
            return run(argv, seconds=seconds, folder=folder).code == _PASSED
        except ToolError:
            # It did not end in time.
            return False


def choose(program: str, wanted: Accelerator, architecture: str, notes: Path) -> Accelerator:
    """Return the accelerator to use, and remember what was found out.

    Args:
        program: QEMU.
        wanted: ``auto``, or one that is taken as it is.
        architecture: of the guest, which is the host's.
        notes: file that remembers.

    Raises:
        ToolError: QEMU is not installed, or runs nothing.
    """
    if wanted is not Accelerator.AUTO:
        return wanted
    if architecture != "x86_64":
        # The boot sector is for x86 alone.
        usable = {
            Accelerator.KVM: os.access("/dev/kvm", os.R_OK | os.W_OK),
            Accelerator.HVF: True,
            Accelerator.TCG: True,
        }
        return next(each for each in candidates(sys.platform) if usable[each])
    key = _key(program)
    with suppress(OSError, ValueError, TypeError, KeyError):
        note = json.loads(notes.read_bytes())
        if note["key"] == key:
            return Accelerator(note["accelerator"])
    for each in candidates(sys.platform):
        if probe(program, each):
            with suppress(OSError):
                notes.parent.mkdir(parents=True, exist_ok=True)
                replace_file(notes, json.dumps({"key": key, "accelerator": each.value}).encode(), durable=False)
            return each
    raise ToolError(program, "runs no guest here, under any accelerator", hint=f"try {program} --version")


def _key(program: str) -> list[object]:
    """Return what the verdict depends on: this QEMU, this kernel, and whether KVM may be used."""
    path = shutil.which(program)
    found = Path(path).stat() if path else None
    system = os.uname()
    kvm = os.access("/dev/kvm", os.R_OK | os.W_OK)
    return [path, found.st_size if found else 0, found.st_mtime if found else 0, system.release, system.version, kvm]

"""Which accelerator works here: found by a real boot of a few instructions, and remembered.

That ``/dev/kvm`` can be opened proves little: nested and software-emulated KVM start a guest, and then hang or fail at
an instruction that Linux needs. So a few instructions are run (probe.S, probe-aarch64.S), which turn paging on and
execute some of those.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from haulout.errors import ToolError
from haulout.local import find_program, install_hint, private_folder, replace_file, run
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
"""For x86_64: probe.S."""
BOOT_CODE: Final = bytes.fromhex(
    "3fa900f160040054410500586205005883050058220c00a99f3f03d5e21f80d202a218d522050058422018d5012018d5df3f"
    "03d51f8708d59f3f03d5021038d5a30082d2420003aa021018d5df3f03d50206a0d2421018d5c203005802c018d5df3f03d5"
    "00e4006f0084e04e44e03bd526044091c7fc5fc8c7fc08c8c8ffff35490580d2010000d47f2003d5ffffff1741020058e20d"
    "8052220000b9620d8052220000b9e0010058020000d4f7ffff17000020400000000005040000000060000107004000000000"
    "1935808000000000000010400000000000000009000000000800008400000000"
)
"""For aarch64: probe-aarch64.S."""
_PACKAGES: Final = {"x86_64": "qemu-system-x86", "aarch64": "qemu-system-arm"}


def hint(architecture: str) -> str:
    """Return the way out for a user who has no QEMU."""
    return install_hint(_PACKAGES[architecture])


def candidates(platform: str) -> tuple[Accelerator, ...]:
    """Return what may work on a system (``sys.platform``), the fastest first."""
    fast = {"linux": Accelerator.KVM, "darwin": Accelerator.HVF}.get(platform)
    return (Accelerator.TCG,) if fast is None else (fast, Accelerator.TCG)


def probe(program: str, accelerator: Accelerator, architecture: str = "x86_64", *, seconds: float = SECONDS) -> bool:
    """Return whether a guest runs under an accelerator.

    Raises:
        ToolError: QEMU is not installed.
        StorageError: there is no place for a temporary file.
    """
    find_program(program, hint(architecture))
    cpu = "max" if accelerator is Accelerator.TCG else "host"
    argv = [
        *(program, "-accel", accelerator.value, "-cpu", cpu, "-m", "32", "-nodefaults", "-no-user-config"),
        *("-display", "none", "-no-reboot"),
    ]
    with private_folder("haulout-probe-") as folder:
        code = folder / "code"
        if architecture == "aarch64":
            code.write_bytes(BOOT_CODE)
            argv += ["-machine", "virt", "-serial", "file:said"]
            argv += ["-device", "loader,file=code,addr=0x40100200,cpu-num=0"]
        else:
            code.write_bytes((BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa").ljust(_DISK, b"\0"))
            argv += ["-machine", "q35", "-device", "isa-debug-exit,iobase=0x501,iosize=1"]
            argv += ["-drive", "if=none,id=disk,format=raw,readonly=on,file=code"]
            argv += ["-device", "virtio-blk-pci,drive=disk,bootindex=0"]
        try:
            ended = run(argv, seconds=seconds, folder=folder).code
        except ToolError:
            # It did not end in time.
            return False
        if architecture == "aarch64":
            said = folder / "said"
            return ended == 0 and said.exists() and said.read_bytes() == b"ok"
        return ended == _PASSED


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
    key, usable = _key(program), candidates(sys.platform)
    with suppress(OSError, ValueError, TypeError, KeyError):
        note = json.loads(notes.read_bytes())
        known = Accelerator(note["accelerator"])
        if note["key"] == key and known in usable:
            return known
    for each in usable:
        if probe(program, each, architecture):
            with suppress(OSError):
                notes.parent.mkdir(parents=True, exist_ok=True)
                replace_file(notes, json.dumps({"key": key, "accelerator": each.value}).encode(), durable=False)
            return each
    raise ToolError(program, "runs no guest here, under any accelerator", hint=f"try {program} --version")


def _key(program: str) -> list[object]:
    """Return what the verdict depends on: this QEMU, kernel and host, and whether KVM may be used.

    A home directory may be another host's, too; and a host that is a virtual machine may move to another processor.
    """
    path = shutil.which(program)
    found = Path(path).stat() if path else None
    system = os.uname()
    processor = ""
    with suppress(OSError), Path("/proc/cpuinfo").open("rb") as file:
        lines = re.findall(rb"(?m)^(?:model name|flags|Features)\s*:.*", file.read(8192))
        processor = hashlib.sha256(b"".join(lines[:2])).hexdigest()
    host = [system.nodename, system.release, system.version, processor]
    kvm = os.access("/dev/kvm", os.R_OK | os.W_OK)
    return [path, found.st_size if found else 0, found.st_mtime if found else 0, *host, kvm]


def qemu_here(notes: Path, wanted: Accelerator = Accelerator.AUTO) -> tuple[str, Accelerator]:
    """Return QEMU's program for guests of this machine's architecture, and an accelerator that works.

    Args:
        notes: file that remembers which one does.
        wanted: ``auto``, or one that is taken as it is.

    Raises:
        ToolError: QEMU is not installed, or runs nothing.
    """
    architecture = "aarch64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"
    program = find_program(f"qemu-system-{architecture}", hint(architecture))
    return program, choose(program, wanted, architecture, notes)

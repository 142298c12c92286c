"""A real guest for tests: Debian's kernel and cryptsetup in QEMU, without KVM, without root, and nothing installed.

Its initrd holds busybox, cryptsetup, veritysetup, the libraries they need and the kernel modules asked for, from Debian's
packages. A script runs in it, and what that prints is the answer.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from demo.disks import fetch_kernel
from images.tiny import modules_in_order
from tests.support.servers import find

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROGRAMS = ("qemu-system-x86_64", "busybox", "cpio", "cryptsetup", "veritysetup", "apt-get", "dpkg-deb", "mke2fs")
MODULES = ("virtio_pci", "virtio_blk", "dm_crypt", "dm_verity", "xts", "ecb")
BOOT_SECONDS = 150.0
BEGIN, END = "=== begin ===", "=== end ==="

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin DM_DISABLE_UDEV=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec </dev/null >/dev/ttyS0 2>&1
while read module; do insmod "/modules/$module"; done </modules/order
mkdir -p /run/cryptsetup /mnt
echo "{begin}"
sh /script
echo "{end}"
poweroff -f
"""


@dataclass(frozen=True)
class Guest:
    """A kernel with its modules, ready to boot."""

    folder: Path
    vmlinuz: Path
    modules: Path

    def run(self, script: str, disks: Sequence[Path], files: Mapping[str, bytes] | None = None) -> str:
        """Boot with these disks as /dev/vda and so on, read-only; return what the script printed, the kernel aside."""
        initrd = self._initrd(script, files or {})
        drives = [
            part
            for number, disk in enumerate(disks)
            for part in (
                "-drive",
                f"file={disk},format=raw,if=none,id=d{number},readonly=on",
                "-device",
                f"virtio-blk-pci,drive=d{number}",
            )
        ]
        argv = [
            *("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "384", "-nodefaults", "-no-reboot"),
            *("-display", "none", "-serial", "stdio", "-kernel", str(self.vmlinuz), "-initrd", str(initrd)),
            *("-append", "console=ttyS0 quiet loglevel=1 rdinit=/init panic=-1", *drives),
        ]
        done = subprocess.run(argv, capture_output=True, timeout=BOOT_SECONDS, check=False, stdin=subprocess.DEVNULL)
        text = done.stdout.decode(errors="replace").replace("\r", "")
        assert BEGIN in text, f"it did not boot: {text[-2000:]} {done.stderr.decode(errors='replace')[-500:]}"
        assert END in text, f"it did not end: {text[-2000:]}"
        return text.split(BEGIN, 1)[1].split(END, 1)[0].strip()

    def _initrd(self, script: str, files: Mapping[str, bytes]) -> Path:
        root = self.folder / "root"
        shutil.rmtree(root, ignore_errors=True)
        for name in ("bin", "sbin", "dev", "proc", "sys", "mnt", "run", "tmp", "modules"):
            (root / name).mkdir(parents=True)
        for program in ("busybox", "cryptsetup", "veritysetup"):
            self._take(root, Path(find(program) or program), "bin" if program == "busybox" else "sbin")
        names = []
        for module in modules_in_order(self.modules, MODULES):
            shutil.copy(module, root / "modules")
            names.append(module.name)
        (root / "modules/order").write_text("".join(f"{name}\n" for name in names))
        (root / "init").write_text(INIT.format(begin=BEGIN, end=END))
        (root / "init").chmod(0o755)
        for name, data in {"script": script.encode(), **files}.items():
            (root / name).write_bytes(data)
        initrd = self.folder / "initrd"
        listing = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
        with initrd.open("wb") as out:
            argv = ["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"]
            subprocess.run(argv, cwd=root, input=listing.encode(), stdout=out, check=True)
        return initrd

    def _take(self, root: Path, program: Path, where: str) -> None:
        shutil.copy(program, root / where / program.name)
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        for library in re.findall(r"(/\S+) \(0x", listed):
            target = root / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)


def prepare(folder: Path) -> Guest:
    """Get a kernel ready in ``folder``; skip, saying why, where it cannot be had or QEMU cannot run."""
    missing = [program for program in PROGRAMS if find(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    try:
        vmlinuz = fetch_kernel(folder)
    except SystemExit as exc:
        pytest.skip(f"Debian's kernel package cannot be had here: {str(exc)[:300]}")
    return Guest(folder, vmlinuz, next((folder / "kernel/lib/modules").iterdir()))

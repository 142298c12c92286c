"""Builds two small bootable disks from Debian's kernel and busybox: no root, no loop device, nothing installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

MIB = 1 << 20
SIZE = 96 * MIB
START = MIB
"""Where the one partition begins."""

INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev 2>/dev/null
exec >/dev/ttyS0 2>&1
echo
echo "=== {greeting} ==="
echo "=== kernel $(/bin/busybox uname -r) on $(/bin/busybox uname -m) ==="
/bin/busybox poweroff -f
"""

CONFIG = """SERIAL 0 115200
DEFAULT machine
PROMPT 0
LABEL machine
  KERNEL vmlinuz
  INITRD initrd
  APPEND {append}
"""


def run(*argv: str | Path, cwd: Path | None = None) -> str:
    """Run one command; its output is shown only when it fails."""
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, argv))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def fetch_kernel(folder: Path) -> Path:
    """Download Debian's cloud kernel and return its vmlinuz; the package is unpacked, never installed."""
    text = subprocess.run(
        ["apt-cache", "depends", "linux-image-cloud-amd64"], capture_output=True, text=True, check=False
    ).stdout
    found = re.search(r"Depends: (linux-image-\S+-cloud-amd64)", text)
    if found is None:
        raise SystemExit("no kernel package is known here; run apt-get update first")
    run("apt-get", "download", "-q", found[1], cwd=folder)
    run("dpkg-deb", "-x", next(folder.glob("linux-image-*.deb")), folder / "kernel")
    return next((folder / "kernel/boot").glob("vmlinuz-*"))


def build_disk(folder: Path, version: str, greeting: str, vmlinuz: Path) -> Path:
    """Build a raw disk that boots by itself and greets on its serial console."""
    work = folder / f"build-{version}"
    root = work / "root"
    (root / "bin").mkdir(parents=True)
    (root / "dev").mkdir()
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / "init").write_text(INIT.format(greeting=greeting))
    (root / "init").chmod(0o755)
    initrd = pack_initrd(root, work / "initrd")
    append = "console=ttyS0 quiet rdinit=/init panic=1 no_timer_check"
    return bootable_disk(work, folder / f"machine-{version}.raw", vmlinuz, initrd, append)


def pack_initrd(root: Path, target: Path) -> Path:
    """Pack a folder as an initrd."""
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    with target.open("wb") as out:
        subprocess.run(
            ["cpio", "-o", "-H", "newc", "--quiet", "--reproducible", "-R", "0:0"],
            cwd=root,
            input=names.encode(),
            stdout=out,
            check=True,
        )
    return target


def bootable_disk(work: Path, disk: Path, vmlinuz: Path, initrd: Path, append: str) -> Path:
    """Build a raw disk that boots a kernel by itself (MBR, syslinux on FAT)."""
    (work / "syslinux.cfg").write_text(CONFIG.format(append=append))
    sectors = (SIZE - START) // 512
    entry = bytes([0x80, 0, 2, 0, 0x06, 0xFE, 0xFF, 0xFF]) + (START // 512).to_bytes(4, "little")
    boot = Path("/usr/lib/syslinux/mbr/mbr.bin").read_bytes()[:440].ljust(446, b"\0")
    with disk.open("wb") as file:
        file.truncate(SIZE)
        file.write(boot + entry + sectors.to_bytes(4, "little") + bytes(48) + b"\x55\xaa")
    inside = f"{disk}@@{START}"
    geometry = ("-T", str(sectors), "-h", "16", "-s", "63", "-H", str(START // 512), "-v", "MACHINE")
    run("mformat", "-i", inside, *geometry, "::")
    run("syslinux", "--install", "--offset", str(START), disk)
    for source, name in ((vmlinuz, "vmlinuz"), (initrd, "initrd"), (work / "syslinux.cfg", "syslinux.cfg")):
        run("mcopy", "-i", inside, source, f"::{name}")
    return disk

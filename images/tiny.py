"""Builds the tiny machine image of the tests: Debian's kernel, busybox and OpenSSH on a disk that boots by itself.

It answers as a machine image does: the key from Ignition's place, a data disk, ssh for root and core, and something on
podman's sockets. No root, no loop device, nothing installed: packages are downloaded and unpacked.

Usage: python -m images.tiny FILE.qcow2
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

from demo.disks import bootable_disk, fetch_kernel, pack_initrd, run

HERE = Path(__file__).resolve().parent
PACKAGES = ("openssh-server", "openssh-sftp-server", "libwrap0", "libnsl2", "libtirpc3", "socat")
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "virtiofs", "qemu_fw_cfg", "button", "evdev")
FILES = {"init": "tiny.init", "etc/inittab": "tiny.inittab", "bin/api": "tiny.api", "power": "tiny.power"}
# Without the last, a guest that is emulated on a busy host panics now and then, since the timer seems broken.
OPTIONS = "console=ttyS0 quiet loglevel=1 rdinit=/init panic=1 no_timer_check variant=plain....."
TEXTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\ncore:x:1000:1000:core:/home/core:/bin/sh\n"
    "sshd:x:100:65534::/run/sshd:/bin/false\n",
    "etc/shadow": "root:*:19000::::::\ncore:*:19000::::::\nsshd:*:19000::::::\n",
    "etc/group": "root:x:0:\ncore:x:1000:\n",
    "etc/nsswitch.conf": "passwd: files\n",
    "etc/os-release": 'ID=tiny\nPRETTY_NAME="Tiny machine of Haulout\'s tests"\n',
    "etc/hostname": "tiny\n",
}


def build(target: Path, work: Path) -> Path:
    """Build the image as ``target``, with intermediate files in ``work``."""
    vmlinuz = fetch_kernel(work)
    debs = work / "debs"
    debs.mkdir()
    run("apt-get", "download", "-q", *PACKAGES, cwd=debs)
    unpacked = work / "unpacked"
    for deb in debs.iterdir():
        run("dpkg-deb", "-x", deb, unpacked)
    root = work / "root"
    for name in ("bin", "sbin", "dev", "proc", "sys", "root", "etc", "modules", "var/empty", "mnt"):
        (root / name).mkdir(parents=True)
    programs = {
        "/bin/busybox": "bin/busybox",
        "/usr/sbin/mke2fs": "usr/sbin/mke2fs",
        "/usr/bin/ssh-keygen": "usr/bin/ssh-keygen",
        str(unpacked / "usr/sbin/sshd"): "usr/sbin/sshd",
        str(unpacked / "usr/lib/openssh/sftp-server"): "usr/lib/openssh/sftp-server",
        str(unpacked / "usr/bin/socat"): "usr/bin/socat",
    }
    for program, place in programs.items():
        take(Path(program), root / place, root, unpacked / "usr/lib/x86_64-linux-gnu")
    ordered = modules_in_order(next((work / "kernel/lib/modules").iterdir()))
    for module in ordered:
        shutil.copy(module, root / "modules")
    (root / "modules/order").write_text("".join(f"{module.name}\n" for module in ordered))
    for name, source in FILES.items():
        shutil.copy(HERE / source, root / name)
        (root / name).chmod(0o755)
    for name, text in TEXTS.items():
        (root / name).write_text(text)
    (root / "etc/shadow").chmod(0o600)
    initrd = pack_initrd(root, work / "initrd")
    raw = bootable_disk(work, work / "tiny.raw", vmlinuz, initrd, OPTIONS)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, work / "tiny.qcow2")
    (work / "tiny.qcow2").rename(target)
    return target


def variant(image: Path, name: str, target: Path) -> Path:
    """Make another image of a tiny one, which differs in what it is called on the kernel's command line: tiny.init."""
    raw = target.with_suffix(".raw")
    run("qemu-img", "convert", "-O", "raw", image, raw)
    content = raw.read_bytes()
    assert content.count(b"variant=plain.....") == 1
    raw.write_bytes(content.replace(b"variant=plain.....", f"variant={name:.<10}".encode()))
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, target)
    raw.unlink()
    return target


def take(program: Path, target: Path, root: Path, libraries: Path) -> None:
    """Copy a program, and the libraries that it needs."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(program, target)
    listed = run("env", f"LD_LIBRARY_PATH={libraries}", "sh", "-c", f"ldd {program} || true")
    for library in re.findall(r"(/\S+) \(0x", listed):
        inside = library if not library.startswith(str(libraries)) else f"/lib/x86_64-linux-gnu/{Path(library).name}"
        copy = root / inside.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, copy)


def modules_in_order(modules: Path, wanted: tuple[str, ...] = MODULES) -> list[Path]:
    """Find modules and, before each, those it depends on; what the kernel has built in is left out."""
    paths = {path.name.split(".")[0].replace("-", "_"): path for path in modules.rglob("*.ko")}
    order: list[Path] = []

    def add(name: str) -> None:
        path = paths.get(name.replace("-", "_"))
        if path is None or path in order:
            return
        depends = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for other in depends[1].decode().split(",") if depends else ():
            add(other)
        order.append(path)

    for name in wanted:
        add(name)
    return order


def recipe() -> str:
    """Return what names this recipe: it changes when the image would."""
    parts = [(HERE / name).read_bytes() for name in ("tiny.py", *sorted(FILES.values()))]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def cached(folder: Path) -> Path:
    """Return the image from ``folder``, built there where it is not there yet."""
    target = folder / f"tiny-{recipe()}.qcow2"
    if not target.exists():
        work = folder / f"work-{os.getpid()}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            build(target, work)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return target


if __name__ == "__main__":
    made = cached(Path(sys.argv[1]).resolve().parent)
    shutil.copy(made, sys.argv[1])

"""Builds the machine image from Debian's packages: systemd, OpenSSH, podman with both sockets, guest agent, chrony.

It boots by UEFI and by BIOS. The same packages give the same bytes. Nothing is mounted and no loop device is used:
mmdebstrap makes the tree, as root or in one of its modes for other users; haulout's own ext4 writer the root file
system, mtools and syslinux the EFI system partition.

Usage: python -m images.machine FILE.qcow2 [PACKAGES]

FILE.cdx.json (CycloneDX) and FILE.packages (names and versions) are written beside it; with such a list as PACKAGES,
the image is made of these versions, where the mirror still has them (``MIRROR`` names another than Debian's).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast
from uuid import UUID, uuid5

from demo.disks import MIB, run

from haulout import rootfs
from haulout.workload import ext4
from images import sbom

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).resolve().parent
SUITE = "bookworm"
PACKAGES = (
    *("linux-image-cloud-amd64", "initramfs-tools", "systemd-sysv", "systemd-boot-efi", "udev", "dbus-user-session"),
    *("libpam-systemd", "systemd-resolved", "openssh-server", "podman", "crun", "uidmap", "slirp4netns", "netavark"),
    *("fuse-overlayfs", "aardvark-dns", "iproute2", "ca-certificates", "chrony", "sudo", "e2fsprogs", "zstd", "kmod"),
    *("qemu-guest-agent", "cloud-init"),
)
EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/i18n/*")
EPOCH = 1_793_491_200
"""2026-11-01: no time in the image is later, unless ``SOURCE_DATE_EPOCH`` says so."""
ESP_MIB = 256
ROOT_MIB = 2048
NAMES = UUID("6b2a4d43-5c7a-4b0e-9a5c-0e5d2f6a8a11")
"""What the image's own identifiers are made from: they are the same in each build."""
ROOT, ESP, DISK, ROOT_PART = (uuid5(NAMES, name) for name in ("root", "esp", "disk", "root partition"))
# A guest that is emulated on a busy host panics otherwise, since the timer seems broken.
OPTIONS = f"root=UUID={ROOT} rw quiet console=ttyS0 net.ifnames=0 no_timer_check"
TEXTS = {
    "loader/loader.conf": "timeout 0\ndefault haulout\n",
    "loader/entries/haulout.conf": f"title Haulout\nlinux /vmlinuz\ninitrd /initrd\noptions {OPTIONS}\n",
    "syslinux.cfg": f"DEFAULT haulout\nLABEL haulout\n  KERNEL vmlinuz\n  INITRD initrd\n  APPEND {OPTIONS}\n",
}
TABLE = f"""label: gpt
label-id: {DISK}
start=2048, size={ESP_MIB}MiB, type=U, name=esp, uuid={ESP}, attrs=LegacyBIOSBootable
size={ROOT_MIB}MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=root, uuid={ROOT_PART}
"""


def build(target: Path, work: Path, packages: tuple[str, ...] = PACKAGES) -> None:
    """Build the image as ``target``, with intermediate files in ``work``."""
    os.environ.setdefault("SOURCE_DATE_EPOCH", str(EPOCH))
    os.environ["TZ"] = "UTC"
    tree, raw = work / "root.tar", work / "machine.raw"
    say(f"fetching and unpacking Debian {SUITE}")
    bootstrap(tree, packages)
    say("writing the disk: root file system, boot loaders, partitions")
    with raw.open("wb") as file:
        file.truncate((ESP_MIB + ROOT_MIB + 3) * MIB)
    run("sh", "-c", 'printf %s "$2" | sfdisk -q "$1"', "sh", raw, TABLE)
    with tarfile.open(tree) as tar, raw.open("r+b") as disk:
        write_esp(tar, work, disk)
        write_root(tree, disk)
        bill, versions = sbom.describe(tar, "Machine image of Haulout", int(os.environ["SOURCE_DATE_EPOCH"]))
    say("converting it to qcow2")
    made = work / "machine.qcow2"
    # -m 1: clusters are allocated in order.
    run("qemu-img", "convert", "-m", "1", "-f", "raw", "-O", "qcow2", raw, made)
    target.with_suffix(".cdx.json").write_text(bill)
    target.with_suffix(".packages").write_text(versions)
    shutil.move(made, target)


def say(what: str) -> None:
    """Tell what is done now."""
    print(f"  {what} …", flush=True)


def bootstrap(tree: Path, packages: tuple[str, ...]) -> None:
    """Unpack and set up the packages."""
    excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED]
    mirror = [os.environ["MIRROR"]] if "MIRROR" in os.environ else []
    run(
        *("mmdebstrap", "--mode=auto", "--variant=minbase", "--quiet", *excluded),
        # They differ from build to build.
        *('--aptopt=Dir::Cache::pkgcache ""', '--aptopt=Dir::Cache::srcpkgcache ""'),
        *("--dpkgopt=path-include=/usr/share/doc/*/copyright", f"--include={','.join(packages)}"),
        f'--customize-hook={HERE / "machine.customize"} "$1" {HERE / "root"}',
        *(f"--customize-hook=echo UUID={ROOT} / ext4 rw,discard,x-systemd.growfs 0 1 >$1/etc/fstab", SUITE, tree),
        *mirror,
    )


def write_esp(tar: tarfile.TarFile, work: Path, disk: BinaryIO) -> None:
    """Write the EFI system partition: systemd-boot for UEFI, syslinux for BIOS, kernel and initrd for both."""
    esp = work / "esp.fat"
    with esp.open("wb") as file:
        file.truncate(ESP_MIB * MIB)
    run("mformat", "-i", esp, "-F", "-H", "2048", "-N", f"{ESP.int & 0xFFFFFFFF:08x}", "-v", "ESP", "::")
    run("syslinux", "--install", esp)
    names = sorted(tar.getnames())
    found = {
        "EFI/BOOT/BOOTX64.EFI": "./usr/lib/systemd/boot/efi/systemd-bootx64.efi",
        "vmlinuz": next(name for name in names if name.startswith("./boot/vmlinuz-")),
        "initrd": next(name for name in names if name.startswith("./boot/initrd.img-")),
    }
    for folder in ("EFI", "EFI/BOOT", "loader", "loader/entries"):
        run("mmd", "-i", esp, f"::{folder}")
    for name, content in TEXTS.items():
        (work / "file").write_text(content)
        run("mcopy", "-i", esp, work / "file", f"::{name}")
    for name, member in found.items():
        with cast("BinaryIO", tar.extractfile(member)) as source, (work / "file").open("wb") as file:
            shutil.copyfileobj(source, file)
        run("mcopy", "-i", esp, work / "file", f"::{name}")
    disk.write(Path("/usr/lib/syslinux/mbr/gptmbr.bin").read_bytes()[:440])
    with esp.open("rb") as file:
        copy(iter(lambda: file.read(MIB), b""), disk, MIB)


def write_root(tree: Path, disk: BinaryIO) -> None:
    """Write the root file system."""
    root = rootfs.from_layers([lambda: tree.open("rb")])
    now = int(os.environ["SOURCE_DATE_EPOCH"])
    plan = ext4.plan(root, size=ROOT_MIB * MIB, uuid=ROOT, now=now)
    copy(ext4.stream(plan), disk, (1 + ESP_MIB) * MIB)


def copy(chunks: Iterable[bytes | bytearray], disk: BinaryIO, offset: int) -> None:
    """Write chunks from an offset on; zeros stay holes."""
    disk.seek(offset)
    for chunk in chunks:
        if any(chunk):
            disk.write(chunk)
        else:
            disk.seek(len(chunk), os.SEEK_CUR)


def main(result: Path, wanted: Path | None = None) -> None:
    """Build, and say what became of it."""
    packages = tuple(wanted.read_text().split()) if wanted else PACKAGES
    with tempfile.TemporaryDirectory(dir=result.parent, prefix="image-") as place:
        build(result, Path(place), packages)
    with result.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    print(f"{result}: {result.stat().st_size // MIB} MiB, sha256:{digest}")


if __name__ == "__main__":
    main(*(Path(argument).resolve() for argument in sys.argv[1:3]))

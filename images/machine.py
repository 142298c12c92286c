"""Builds the machine image from Debian's packages: systemd, OpenSSH, podman with both sockets, chrony; UEFI.

Nothing is mounted and no loop device is used: mmdebstrap makes the tree, mke2fs -d the root file system, mtools the EFI
system partition. As another user than root, mmdebstrap and mke2fs run under fakeroot and fakechroot.

Usage: python -m images.machine FILE.qcow2
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from demo.disks import MIB, run

HERE = Path(__file__).resolve().parent
SUITE = "bookworm"
PACKAGES = (
    *("linux-image-cloud-amd64", "initramfs-tools", "systemd-sysv", "systemd-boot-efi", "udev", "dbus-user-session"),
    *("libpam-systemd", "openssh-server", "podman", "crun", "uidmap", "slirp4netns", "fuse-overlayfs", "netavark"),
    *("aardvark-dns", "iproute2", "ca-certificates", "chrony", "sudo", "e2fsprogs", "zstd", "kmod"),
)
ESP_MIB = 256
ROOT_MIB = 2048
LOADER = "timeout 0\ndefault haulout\n"
ENTRY = """title Haulout
linux /vmlinuz
initrd /initrd
options root=LABEL=haulout-root rw quiet console=ttyS0 net.ifnames=0
"""
TABLE = f"""label: gpt
start=2048, size={ESP_MIB}MiB, type=U, name=esp
size={ROOT_MIB}MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=root
"""


def build(target: Path, work: Path) -> None:
    """Build the image as ``target``, with intermediate files in ``work``."""
    tree, tar = work / "tree", work / "root.tar"
    fake = () if os.geteuid() == 0 else ("fakeroot",)
    run(
        *("mmdebstrap", f"--mode={'root' if not fake else 'fakechroot'}", "--variant=minbase", "--quiet"),
        *("--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*"),
        f"--include={','.join(PACKAGES)}",
        f'--customize-hook={HERE / "machine.customize"} "$1"',
        *(f"--customize-hook=upload {HERE / 'machine.setup'} /usr/lib/haulout/setup",),
        *('--customize-hook=chmod 755 "$1/usr/lib/haulout/setup"', SUITE, tar),
    )
    tree.mkdir()
    root = work / "root.ext4"
    with root.open("wb") as file:
        file.truncate(ROOT_MIB * MIB)
    script = 'tar -xf "$1" -C "$2" --exclude=./dev/* && mke2fs -q -F -t ext4 -L haulout-root -d "$2" "$3"'
    run(*fake, "sh", "-c", script, "sh", tar, tree, root)
    esp = work / "esp.fat"
    with esp.open("wb") as file:
        file.truncate(ESP_MIB * MIB)
    run("mformat", "-i", esp, "-F", "-v", "ESP", "::")
    (work / "loader.conf").write_text(LOADER)
    (work / "haulout.conf").write_text(ENTRY)
    for folder in ("EFI", "EFI/BOOT", "loader", "loader/entries"):
        run("mmd", "-i", esp, f"::{folder}")
    files = {
        tree / "usr/lib/systemd/boot/efi/systemd-bootx64.efi": "EFI/BOOT/BOOTX64.EFI",
        next((tree / "boot").glob("vmlinuz-*")): "vmlinuz",
        next((tree / "boot").glob("initrd.img-*")): "initrd",
        work / "loader.conf": "loader/loader.conf",
        work / "haulout.conf": "loader/entries/haulout.conf",
    }
    for source, name in files.items():
        run("mcopy", "-i", esp, source, f"::{name}")
    raw = work / "machine.raw"
    with raw.open("wb") as file:
        file.truncate((ESP_MIB + ROOT_MIB + 3) * MIB)
    (work / "table").write_text(TABLE)
    run("sh", "-c", 'sfdisk -q "$1" <"$2"', "sh", raw, work / "table")
    for source, start in ((esp, 1), (root, 1 + ESP_MIB)):
        run("dd", f"if={source}", f"of={raw}", "bs=1M", f"seek={start}", "conv=notrunc,sparse", "status=none")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, work / "machine.qcow2")
    shutil.move(work / "machine.qcow2", target)


if __name__ == "__main__":
    result = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(dir=result.parent, prefix="image-") as place:
        build(result, Path(place))
    print(f"{result}: {result.stat().st_size // MIB} MiB")

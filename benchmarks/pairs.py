"""Disks before and after a change, made from what this machine has: rebuilt, upgraded in place, and of other kinds."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

UUID = "11111111-2222-3333-4444-555555555555"
MIB = 1 << 20


def tree(folder: Path, megabytes: int) -> Path:
    """Copy files of this machine's packages into ``folder``, package by package, until there are enough."""
    left = megabytes * 1_000_000
    for listing in sorted(Path("/var/lib/dpkg/info").glob("*.list")):
        for line in listing.read_text(errors="replace").splitlines():
            source = Path(line)
            if left <= 0:
                return folder
            if not line.startswith("/usr/") or source.is_symlink() or not source.is_file():
                continue
            target = folder / listing.stem.partition(":")[0] / line.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            left -= target.stat().st_size
    return folder


def update(folder: Path, seed: int, share: float = 0.1) -> list[Path]:
    """Change the files of some packages as a new build would: bytes shift, pieces change, most stays. Return them.

    Packages are taken at random until they make ``share`` of all bytes.
    """
    chance = random.Random(seed)
    packages = sorted(folder.iterdir())
    left = share * sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    changed: list[Path] = []
    for package in chance.sample(packages, len(packages)):
        for path in sorted(package.rglob("*")):
            if left > 0 and path.is_file() and chance.random() < 0.8:
                path.write_bytes(rebuilt(path.read_bytes(), chance))
                left -= path.stat().st_size
                changed.append(path)
    return changed


def rebuilt(data: bytes, chance: random.Random) -> bytes:
    """Insert, drop and replace a few bytes, on average every 200 KB."""
    out, at = bytearray(), 0
    while at < len(data):
        step = int(chance.expovariate(1 / 200_000)) + 1
        out += data[at : at + step]
        at += step + chance.choice((0, 0, 1, 8, 16))
        out += chance.randbytes(chance.choice((0, 4, 8, 24)))
    return bytes(out) or b"\n"


def ext4(folder: Path, disk: Path, size: str) -> Path:
    """Build an ext4 disk afresh."""
    disk.unlink(missing_ok=True)
    subprocess.run(["truncate", "-s", size, disk], check=True)
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-d", folder, "-U", UUID, "-E", f"hash_seed={UUID}", disk], check=True
    )
    return disk


def in_place(disk: Path, folder: Path, changed: list[Path], out: Path) -> Path:
    """Copy ``disk`` and write the changed files into the copy, as an upgrade of the running machine would."""
    subprocess.run(["cp", "--sparse=always", disk, out], check=True)
    script = out.with_suffix(".debugfs")
    lines = []
    for path in changed:
        name = "/" + os.fspath(path.relative_to(folder))
        if '"' not in name:
            lines += [f'rm "{name}"', f'write "{path}" "{name}"']
    script.write_text("\n".join(lines) + "\n")
    subprocess.run(["debugfs", "-w", "-f", script, out], check=True, stdout=-3, stderr=-3)
    script.unlink()
    return out


def shifted(disk: Path, out: Path, offset: int) -> Path:
    """Write ``disk`` with everything moved by ``offset`` bytes: no block of it is aligned as before."""
    with disk.open("rb") as source, out.open("wb") as target:
        target.write(bytes(510) + b"\x55\xaa")
        target.seek(MIB + offset)
        while data := source.read(8 * MIB):
            if data.count(0) == len(data):
                target.seek(len(data), os.SEEK_CUR)
            else:
                target.write(data)
        target.truncate(target.tell())
    subprocess.run(["fallocate", "--dig-holes", out], check=True)
    return out


def incompressible(out: Path, megabytes: int, seed: int) -> Path:
    """Write random bytes of which a twentieth depends on ``seed``."""
    with out.open("wb") as file:
        file.write(bytes(510) + b"\x55\xaa" + bytes(MIB - 512))
        for number in range(megabytes):
            file.write(random.Random(number if number % 20 else (number, seed).__hash__()).randbytes(MIB))
    return out


def ntfs(folder: Path, out: Path, size: str, megabytes: int = 100) -> Path | None:
    """Make an NTFS file system of 4 KiB clusters, as Windows does, and copy files of ``folder`` into it, without mounting.

    None where ntfs-3g is not installed. Names are flat, since ntfscp makes no folders.
    """
    if shutil.which("mkntfs") is None or shutil.which("ntfscp") is None:
        return None
    out.unlink(missing_ok=True)
    subprocess.run(["truncate", "-s", size, out], check=True)
    subprocess.run(
        ["mkntfs", "-q", "-F", "-f", "-c", "4096", "-s", "512", "-p", "0", out], check=True, stdout=-3, stderr=-3
    )
    left = megabytes * 1_000_000
    chosen = []
    for path in sorted(folder.rglob("*")):
        if left > 0 and path.is_file() and path.stat().st_size > 16 * 1024:
            chosen.append(path)
            left -= path.stat().st_size
    return ntfs_with(out, folder, chosen)


def ntfs_with(disk: Path, folder: Path, files: list[Path]) -> Path:
    """Write files into an NTFS file system, over those of the same name."""
    for path in files:
        name = "_".join(path.relative_to(folder).parts)[-200:]
        subprocess.run(["ntfscp", "-q", "-f", disk, path, name], check=True, stdout=-3, stderr=-3)
    return disk


def ntfs_update(disk: Path, folder: Path, changed: list[Path], out: Path) -> Path:
    """Copy an NTFS file system and write what changed into the copy, as an update of a running machine does."""
    subprocess.run(["cp", "--sparse=always", disk, out], check=True)
    here = subprocess.run(
        ["ntfsls", "-F", "-f", out], check=True, stdout=subprocess.PIPE, stderr=-3, text=True
    ).stdout.split("\n")
    names = {line.rstrip("/") for line in here}
    return ntfs_with(
        out, folder, [path for path in changed if "_".join(path.relative_to(folder).parts)[-200:] in names]
    )


def partitioned(system: Path, out: Path, first_sector: int) -> Path:
    """Put a file system behind a boot sector, at a sector of 512 bytes: old tools began at 63, not at a block of 4096."""
    start = first_sector * 512
    with system.open("rb") as source, out.open("wb") as target:
        entry = (
            b"\x80\0\0\0\x07\0\0\0"
            + first_sector.to_bytes(4, "little")
            + (system.stat().st_size // 512).to_bytes(4, "little")
        )
        target.write(bytes(446) + entry + bytes(48) + b"\x55\xaa")
        target.seek(start)
        while data := source.read(MIB):
            if data.count(0) == len(data):
                target.seek(len(data), os.SEEK_CUR)
            else:
                target.write(data)
        target.truncate(start + system.stat().st_size)
    subprocess.run(["fallocate", "--dig-holes", out], check=True)
    return out

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


def ntfs(folder: Path, out: Path, size: str) -> Path | None:
    """Make an NTFS disk holding ``folder``, where this machine has the tools for it and may mount."""
    if shutil.which("mkfs.ntfs") is None or os.geteuid() != 0:
        return None
    subprocess.run(["truncate", "-s", size, out], check=True)
    subprocess.run(["mkfs.ntfs", "-q", "-F", "-f", out], check=True, stdout=-3)
    place = out.with_suffix(".mnt")
    place.mkdir()
    if subprocess.run(["ntfs-3g", out, place], stdout=-3, stderr=-3, check=False).returncode:
        place.rmdir()
        return None
    try:
        subprocess.run(["cp", "-r", f"{folder}/.", place], check=True)
    finally:
        subprocess.run(["umount", place], check=True)
        place.rmdir()
    return out

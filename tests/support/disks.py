"""Disks for tests: small, sparse, and with a known content."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


def noise(seed: str, size: int) -> bytes:
    """Return ``size`` incompressible bytes that depend on ``seed`` alone."""
    return hashlib.shake_256(seed.encode()).digest(size)


def raw_disk(path: Path, *, data_mib: int = 6, size_mib: int = 64, seed: str = "disk") -> Path:
    """Write a sparse raw disk with a partition table and two stretches of half compressible data."""
    with path.open("wb") as file:
        file.truncate(size_mib * MIB)
        # An MBR with one Linux partition from 1 MiB to the end, so that it is recognised as a disk.
        entry = bytes([0x80, 0, 2, 0, 0x83, 0xFF, 0xFF, 0xFF])
        entry += (2048).to_bytes(4, "little") + ((size_mib - 1) * 2048).to_bytes(4, "little")
        file.write(b"\xfa" + bytes(445) + entry + bytes(48) + b"\x55\xaa")
        half = data_mib * MIB // 2
        for number, offset in enumerate((MIB, size_mib * MIB - half)):
            file.seek(offset)
            pieces = [noise(f"{seed}{number}{part}", 2048) + bytes(range(256)) * 8 for part in range(half // 4096)]
            file.write(b"".join(pieces))
    return path


def qcow2_disk(path: Path, raw: Path, *, compressed: bool = False) -> Path:
    """Convert ``raw`` with the real qemu-img."""
    flags = ["-c"] if compressed else []
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *flags, raw, path], check=True)
    return path


def sha256(path: Path) -> str:
    """Hash a file as sha256sum does."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def leftovers(folder: Path) -> list[str]:
    """Name everything in ``folder`` that a failed transfer should not leave."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def qemu_encrypts(*arguments: object, tries: int = 40) -> None:
    """Run ``qemu-img`` where it makes a LUKS header; on a busy machine it now and then cannot time its own work."""
    for left in reversed(range(tries)):
        done = subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if not left or "accurate CPU usage" not in done.stderr:
            raise AssertionError(done.stderr)

"""Fuzz headers of encrypted disks and superblocks of dm-verity with coverage as the guide: ``make fuzz``.

The first byte of an input says what the rest is. Anything but an error that is declared ends the run, and leaves its input
in a file beside.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

with atheris.instrument_imports(include=["haulout.tee", "haulout.workload"]):
    from haulout.errors import NotLuks, RefusedLuks, RefusedVerity, VerityMismatch, WrongPassphrase
    from haulout.workload import luks, verity

VOLUME = luks.create(b"passphrase", iterations=1000)
BEHIND = VOLUME.header[592:] + bytes(512)
DATA = bytes(range(256)) * 16 * 3


def hashed() -> tuple[verity.Hashes, bytes]:
    """Return the hashes of DATA, and their tree: one block."""
    blocks: list[bytes] = []
    tree = verity.Tree(len(DATA) // verity.BLOCK, b"salt", lambda _, block: blocks.append(block))
    tree.feed(DATA)
    return tree.finish(), b"".join(blocks)


HASHES, TREE = hashed()


def header(data: bytes) -> None:
    """Read a header; open the volume where that is quick."""
    file = io.BytesIO(data + BEHIND)
    if luks.read_header(file).work() < 20_000:
        luks.open_volume(file, b"passphrase")


TARGETS = (header, lambda data: verity.check(io.BytesIO(DATA + data), len(DATA), HASHES.root))


def one(data: bytes) -> None:
    """Run one input."""
    if not data:
        return
    try:
        TARGETS[data[0] % len(TARGETS)](data[1:])
    except (NotLuks, RefusedLuks, WrongPassphrase, RefusedVerity, VerityMismatch) as error:
        if not str(error).isprintable():
            raise RuntimeError("an error that is no line") from error


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="haulout-fuzz-") as corpus:
        for number, seed in enumerate((VOLUME.header[:592], HASHES.superblock + TREE)):
            Path(corpus, str(number)).write_bytes(bytes([number]) + seed)
        atheris.Setup([*sys.argv, corpus], one)
        atheris.Fuzz()

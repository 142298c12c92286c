"""What guided framing saves on a pair of disks: bytes and requests of an update, and size.

Usage: python benchmarks/framing.py OLD NEW [LEVEL]. Needs zstd. Both disks are published in a layout, the second after the first; then it is
counted what a client that holds exactly OLD has to fetch for NEW: every frame with a block that OLD lacks.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zstandard

from haulout import DiskSource, parse_reference, push
from haulout.disk import DiskType
from haulout.frames.base import Base
from haulout.frames.blocks import BLOCK
from haulout.frames.small_frames import bundled_frames
from haulout.frames.toc import Toc
from haulout.oci import Architecture, Descriptor, SizedDigest, mediatype
from haulout.oci import annotations as keys
from haulout.places import open_store
from haulout.progress import NullProgress
from haulout.registry import ConnectionOptions

MOST_REQUESTS = 280
"""Ranges of the blob; the rest of 300 are manifests, tables and crumbs."""


def publish(
    reference: str, disk: Path, level: int, base: str | None
) -> tuple[Base, SizedDigest | None, set[int], float]:
    """Push a disk; returns it as a base, its crumbs, and the CPU seconds it took."""
    parsed = parse_reference(reference)
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.monotonic()
    result = push(
        parsed,
        [DiskSource(disk, Architecture.X86_64, DiskType.APPLEHV)],
        level=level,
        base=None if base is None else parse_reference(base),
        use_base=base is not None,
    )
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    pushed = result.disks[0]
    print(
        f"push {disk.name}: {time.monotonic() - began:.1f} s, {cpu:.1f} s of CPU, {f'{pushed.base.frames} frames ({pushed.base.bytes / 1e6:.1f} MB) taken over' if pushed.base else 'no base'}"
    )
    with open_store(parsed, ConnectionOptions(), NullProgress()) as store:

        def read(digest: SizedDigest, media_type: str) -> bytes:
            with store.open_blob(Descriptor(media_type, digest.digest, digest.size)) as stream:
                return stream.read(digest.size)

        toc = Toc.decode(read(pushed.toc, mediatype.TOC))
        text = store.manifest(pushed.manifest).parse("manifest").annotations.get(keys.CRUMBS)
        crumbs = SizedDigest.parse(text, keys.CRUMBS) if text else None
        numbers = set(bundled_frames(read(crumbs, mediatype.CRUMBS), toc)) if crumbs else set()
        return Base(toc, read(toc.hints, mediatype.HINTS)), crumbs, numbers, cpu


def ranges(toc: Toc, wanted: np.ndarray) -> tuple[int, int, int, int]:
    """Return bytes and runs of the wanted frames, and both again when the smallest gaps are read over."""
    frames = np.flatnonzero(wanted)
    if not len(frames):
        return 0, 0, 0, 0
    offsets = np.asarray(toc.blob_offsets)
    gaps = offsets[frames[1:]] - offsets[frames[:-1] + 1]
    gaps = np.sort(gaps[gaps > 0])
    over = max(0, len(gaps) + 1 - MOST_REQUESTS)
    size = toc.blob_bytes(frames.tolist())
    return size, len(gaps) + 1, size + int(gaps[:over].sum()), len(gaps) + 1 - over


def floor(disk: Path, toc: Toc, new: np.ndarray, level: int) -> int:
    """Bytes of the new blocks, each compressed alone."""
    compressor = zstandard.ZstdCompressor(level=level)
    starts = [
        toc.disk_offsets[frame] + BLOCK * block for frame in toc.data_frames for block in range(toc.blocks[frame])
    ]
    places = np.array(starts)[new]
    with disk.open("rb") as file:
        return sum(len(compressor.compress(os.pread(file.fileno(), BLOCK, int(at)))) for at in places)


def main() -> None:
    """Publish both, and count."""
    old, new = Path(sys.argv[1]), Path(sys.argv[2])
    level = int(sys.argv[3]) if len(sys.argv) > 3 else 6
    with tempfile.TemporaryDirectory(prefix="haulout-bench-", dir="/var/tmp") as folder:
        held, _, _, _ = publish(f"oci:{folder}/l:1", old, level, None)
        plain, _, _, cpu_plain = publish(f"oci:{folder}/p:2", new, level, None)
        made, crumbs, numbers, cpu = publish(f"oci:{folder}/l:2", new, level, f"oci:{folder}/l:1")
        stream = int(
            subprocess.run(["sh", "-c", f"zstd -q -{level} -T2 -c '{new}' | wc -c"], stdout=-1, check=True).stdout
        )
    toc = made.toc
    unknown = ~held.knows(made.hints)
    least = floor(new, toc, unknown, level)
    data = np.array(toc.data_frames)
    blocks = np.asarray(toc.blocks)[data].astype(np.int64)
    ends = np.cumsum(blocks)
    counted = np.concatenate([[0], np.cumsum(unknown)])
    wanted = np.zeros(len(toc), dtype=bool)
    wanted[data] = counted[ends] > counted[ends - blocks]
    tables = 128 + 41 * len(toc) + toc.hints.size
    print(
        f"\nlevel {level}: {int(unknown.sum())} of {len(unknown)} blocks are new; floor {least / 1e6:.2f} MB (each alone)"
    )
    print(
        f"frames: {len(toc)} ({len(plain.toc)} without a base), {int(wanted.sum())} with new blocks; crumbs: {len(numbers)}"
    )
    print(
        f"blob: {toc.blob_size / 1e6:.2f} MB ({plain.toc.blob_size / 1e6:.2f} without a base), {toc.blob_size / stream:.3f} of one stream"
    )
    print(f"table and hints: {tables / 1e6:.2f} MB, {100 * tables / toc.data_bytes:.2f} % of the data")
    print(f"CPU of the push: {cpu:.1f} s with the base, {cpu_plain:.1f} s without")
    crumb = np.isin(np.arange(len(toc)), list(numbers))
    extra = crumbs.size if crumbs else 0
    rows = (("frames alone", wanted, 0), ("frames and crumbs", wanted & ~crumb, extra))
    print("\n                     wanted MB   runs   merged MB   runs   with tables MB   of floor")
    for name, mask, more in rows:
        size, runs, merged, fewer = ranges(toc, mask)
        total = merged + more + tables
        print(
            f"{name:20} {(size + more) / 1e6:9.2f} {runs:6} {(merged + more) / 1e6:11.2f} {fewer:6} {total / 1e6:16.2f} {total / max(1, least):10.3f}"
        )


if __name__ == "__main__":
    main()

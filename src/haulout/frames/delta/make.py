"""Making a delta: the new blocks of a disk, compressed against those blocks of the old one that resemble them.

The old disk is looked through once for its hints and once for features of the new blocks; each segment of new blocks
takes as its reference the old blocks that share features with it, and their neighbours. Chosen so, a reference is small
enough for the compressor to search all of it, which finds more than a window over the whole old disk does.
"""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Self

import zstandard

from haulout.errors import ContentError
from haulout.extras import np
from haulout.frames.blocks import BLOCK, HINT_BYTES, ZERO_HINT, block_count, hash_blocks
from haulout.frames.delta.index import (
    MAX_DISK,
    MAX_HINTS_BYTES,
    MAX_INDEX_BYTES,
    MAX_REFERENCE_BLOCKS,
    MAX_REFERENCE_RATIO,
    DeltaIndex,
)
from haulout.frames.delta.map import Map
from haulout.frames.delta.runs import Runs
from haulout.frames.delta.similar import Similar, features
from haulout.frames.pieces import read_seed, stored_bytes
from haulout.frames.seeds import scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from haulout.frames.arrays import Hashes, Mask, Numbers
    from haulout.frames.pack import Sink
    from haulout.frames.seeds import Blocks
    from haulout.frames.toc import Toc
    from haulout.oci import SizedDigest
    from haulout.progress import Progress, Task

DEFAULT_LEVEL: Final = 12
"""zstd level of a delta: 13 to 17 take five times as long for half a per cent, 19 seven times for 6 % (measured)."""

SEGMENT_BLOCKS: Final = 2048
"""New blocks in a segment (8 MiB): what a reader loses where it lacks a part of the reference."""

MAX_JOBS: Final = 6
"""Segments compressed at a time, however many processors there are; each takes up to 250 MiB at the default level."""

_NEIGHBOURS: Final = 16
"""Old blocks taken on either side of one that shares a feature, where there is room: what lies between two of them is
mostly alike as well, and a block that is missing costs far more than the hint of one too many."""
_FINEST: Final = 6
_MOST_FEATURES: Final = 1 << 22
_MOST_OLD_FEATURES: Final = 1 << 26
_STEP: Final = 1 << 20
_TABLE: Final = (17, 24)
"""Least and most entries of the compressor's tables, as powers of two: enough for every byte of the largest input."""


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Blocks of a file, each content once: their hints, and their numbers (offset / 4096), ascending."""

    fd: int
    hints: Hashes
    numbers: Numbers

    @classmethod
    def of(cls, fd: int, blocks: Blocks) -> Self:
        return cls(fd, blocks.hints, blocks.numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def part(self, which: Numbers | slice) -> _Blocks:
        return _Blocks(self.fd, self.hints[which], self.numbers[which])

    def read(self) -> bytes:
        """Read them in as few reads as they need; a short last block is padded with zeros.

        Raises:
            ContentError: they are not what they were.
            StorageError: they cannot be read.
        """
        parts: list[bytes] = []
        edges = [0, *(np.flatnonzero(np.diff(self.numbers) != 1) + 1).tolist(), len(self)]
        for first, stop in pairwise(edges):
            length = (stop - first) * BLOCK
            if length:
                parts.append(read_seed(self.fd, int(self.numbers[first]) * BLOCK, length).ljust(length, b"\0"))
        data = b"".join(parts)
        if not np.array_equal(hash_blocks(memoryview(data)), self.hints):
            raise ContentError(
                "a disk changed while the delta was made of it",
                hint="stop the program that writes to it",
            )
        return data


@dataclass(frozen=True, slots=True)
class MadeDelta:
    """What is published beside the data blob."""

    index: DeltaIndex
    hints: bytes
    """The hints of the reference blocks, in the order of the old disk."""


def make_delta(
    old: int,
    new: int,
    source: SizedDigest,
    toc: Toc,
    sink: Sink,
    *,
    level: int = DEFAULT_LEVEL,
    jobs: int,
    progress: Progress,
) -> MadeDelta | None:
    """Write the data blob of a delta to ``sink`` and return the rest; None where the old disk has every block.

    Args:
        old: descriptor of the plain old disk.
        new: descriptor of the plain new disk.
        source: digest and size of the old disk, checked by the caller.
        toc: of the new disk; ``new`` is compared with it.
        sink: receives the data blob.
        level: zstd level, 1 to 22.
        jobs: segments compressed at a time.
        progress: receives the progress of the work.

    Raises:
        ContentError: ``new`` is not what ``toc`` says, or the disks are too large, or too different and large.
        StorageError: one of them cannot be read.
    """
    if max(source.size, toc.disk.size) > MAX_DISK:
        raise ContentError(f"a delta supports disks of at most {MAX_DISK >> 40} TiB")
    with progress.task("comparing the disks", 2 * stored_bytes(old) + toc.data_bytes) as task:
        every = scan(old, None, task)
        known = _Blocks.of(old, every).part(_first_of_each(every.hints))
        hints, numbers = _data_blocks(new, toc, task)
        ordinals = _first_of_each(hints)
        ordinals = ordinals[~np.isin(hints[ordinals], known.hints)]
        if not len(ordinals):
            return None
        fresh = _Blocks(new, hints[ordinals], numbers[ordinals])
        blocks = Map.between(every, hints, ordinals)
        segments = [slice(at, at + SEGMENT_BLOCKS) for at in range(0, len(fresh), SEGMENT_BLOCKS)]
        chosen = _choose(known, ~np.isin(known.hints, hints), fresh, segments, task)
    used = np.unique(np.concatenate(chosen))
    pairs = ((known.part(each), fresh.part(part)) for each, part in zip(chosen, segments, strict=True))
    if HINT_BYTES * len(used) > MAX_HINTS_BYTES:
        raise _useless()
    with progress.task("compressing what is new", len(fresh) * BLOCK) as task:
        compressed = _compress(pairs, sink, level, jobs, task)
    index = DeltaIndex(
        source,
        toc.disk,
        np.array(compressed, np.uint32),
        Runs.of([np.searchsorted(used, each) for each in chosen], restart=True),
        Runs.of([ordinals[part] for part in segments], restart=False),
        Runs.of([known.numbers[used]], restart=True),
        blocks,
    )
    if len(index.encode()) > MAX_INDEX_BYTES:
        raise _useless()
    return MadeDelta(index, known.hints[used].astype("<u8").tobytes())


def _useless() -> ContentError:
    return ContentError("the disks are so large and so different that a delta between them would save nothing")


def _first_of_each(hints: Hashes) -> Numbers:
    """Return the place of each hint's first occurrence, ascending; zeros are left out."""
    first: Numbers = np.sort(np.unique(hints, return_index=True)[1])
    stored: Numbers = first[hints[first] != ZERO_HINT]
    return stored


def _data_blocks(fd: int, toc: Toc, task: Task) -> tuple[Hashes, Numbers]:
    """Return the hints of the new disk's data blocks, in order, and their numbers on the disk."""
    hints, numbers = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for frame in toc.data_frames:
        plain = read_seed(fd, toc.disk_offsets[frame], toc.plain_size(frame))
        if hashlib.sha256(plain).digest() != toc.digest(frame):
            raise ContentError(
                f"the file of the new disk is not the disk that was published: frame {frame} differs",
                hint="name the file as it was pushed or pulled, never booted; or leave it out, and it is pulled",
            )
        hints.append(np.asarray(hash_blocks(memoryview(plain))))
        numbers.append(toc.disk_offsets[frame] // BLOCK + np.arange(block_count(len(plain))))
        task.advance(len(plain))
    return np.concatenate(hints), np.concatenate(numbers)


def _choose(known: _Blocks, gone: Mask, fresh: _Blocks, segments: Sequence[slice], task: Task) -> list[Numbers]:
    """Choose for each segment which of the ``known`` blocks make its reference; ascending.

    Those that are ``gone`` from the new disk are preferred: most new blocks are new versions of one of them. The others
    serve where something was copied and changed, such as a kernel installed beside the one before.
    """
    new, old = _similar(known, fresh, task)
    preferred = gone[old]
    served = np.zeros(len(fresh), dtype=np.bool_)
    served[new[preferred]] = True
    kept = preferred | ~served[new]
    new, old = new[kept], old[kept]
    edges = np.searchsorted(new, [part.start for part in segments] + [len(fresh)])
    return [
        _reference(old[first:stop], len(known), len(fresh.part(part)))
        for (first, stop), part in zip(pairwise(edges.tolist()), segments, strict=True)
    ]


def _similar(known: _Blocks, fresh: _Blocks, task: Task) -> tuple[Numbers, Numbers]:
    """Return pairs of a fresh and a known block, by their positions, that share content; ascending by the former."""
    rate = _FINEST
    while len(fresh) * BLOCK >> rate > _MOST_FEATURES or len(known) * BLOCK >> rate > _MOST_OLD_FEATURES:
        rate += 1
    step = _STEP // BLOCK
    values, blocks = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for at in range(0, len(fresh), step):
        found, where = features(fresh.part(slice(at, at + step)).read(), rate)
        values.append(found)
        blocks.append(where + at)
    similar = Similar(np.concatenate(values), np.concatenate(blocks))
    for at in range(0, len(known), step):
        data = known.part(slice(at, at + step)).read()
        found, where = features(data, rate)
        similar.add(found, where + at)
        task.advance(len(data))
    return similar.pairs()


def _reference(alike: Numbers, known: int, blocks: int) -> Numbers:
    """Return the blocks found alike, the likeliest where there are too many, and their neighbours."""
    most = min(MAX_REFERENCE_BLOCKS, MAX_REFERENCE_RATIO * blocks)
    found, score = np.unique(alike, return_counts=True)
    for reach in range(_NEIGHBOURS, -1, -1):
        spread = found[:, None] + np.arange(-reach, reach + 1)
        widened = np.unique(spread[(spread >= 0) & (spread < known)])
        if len(widened) <= most:
            return widened
    return np.sort(found[np.argsort(-score, kind="stable")[:most]])


def _compress(pairs: Iterable[tuple[_Blocks, _Blocks]], sink: Sink, level: int, jobs: int, task: Task) -> list[int]:
    """Write one frame for each pair of reference and new blocks; return their sizes."""
    sizes: list[int] = []
    ahead: deque[Future[bytes]] = deque()

    def one(reference: _Blocks, blocks: _Blocks) -> bytes:
        frame = compress_segment(blocks.read(), reference.read(), level)
        task.advance(len(blocks) * BLOCK)
        return frame

    def write_oldest() -> None:
        frame = ahead.popleft().result()
        sink.write(frame)
        sizes.append(len(frame))

    jobs = min(jobs, MAX_JOBS)
    with ThreadPoolExecutor(jobs, "delta") as pool:
        for reference, blocks in pairs:
            ahead.append(pool.submit(one, reference, blocks))
            if len(ahead) > 2 * jobs:
                write_oldest()
        while ahead:
            write_oldest()
    return sizes


def compress_segment(plain: bytes, reference: bytes, level: int) -> bytes:
    """Return ``plain`` as one zstd frame that refers to ``reference`` as well as to itself.

    Its window covers ``plain`` alone: as long as no more than a window has been decoded, all of a dictionary stays
    within reach, however long it is (RFC 8878, 5), so the reader's memory does not grow with it.
    """
    table = max(_TABLE[0], min(_TABLE[1], (len(plain) + len(reference)).bit_length()))
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level,
        source_size=len(plain),
        dict_size=len(reference),
        window_log=max(10, (len(plain) - 1).bit_length()),
        hash_log=table,
        chain_log=table,
        write_content_size=True,
        write_checksum=False,
        write_dict_id=False,
    )
    dictionary = zstandard.ZstdCompressionDict(reference, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters).compress(plain)

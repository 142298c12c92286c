"""Packing: one streaming pass from a plain disk to its seekable zstd blob, TOC, hints and small-frame bundle.

The calling thread reads windows, hashes their blocks and writes frames out in order; a pool compresses; one more thread
hashes the plain disk. Every queue is bounded, so memory does not grow with the disk.
"""

from __future__ import annotations

import hashlib
import os
import time
from array import array
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, Self

from haulout.disk import data_extents
from haulout.errors import ContentError
from haulout.frames.blocks import BLOCK, block_count, hash_blocks, zero_blocks
from haulout.frames.codec import FrameCompressor, zero_frame
from haulout.frames.columns import column_bytes, u32_column
from haulout.frames.framing import WINDOW_BLOCKS, Framer, Framing, Kind, Span
from haulout.frames.guided import GuidedFramer
from haulout.frames.seektable import encode_seek_table, seek_table_size
from haulout.frames.small_frames import BundleWriter
from haulout.frames.toc import Toc
from haulout.local import ScratchFile, descriptor_name, storage_error
from haulout.oci import Digest, SizedDigest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from haulout.frames.base import Base
    from haulout.frames.frame_reuse import FrameReuse
    from haulout.progress import Task

WINDOW: Final = WINDOW_BLOCKS * BLOCK
_ZERO_WINDOW: Final = bytes(WINDOW)
_AHEAD_BLOCKS: Final = 8192
"""Blocks under way while frames are reused (32 MiB)."""
_AHEAD_FRAMES: Final = 1024


class Sink(Protocol):
    """Where the blob's bytes go."""

    def write(self, data: bytes) -> None:
        """Append ``data``."""


@dataclass(frozen=True)
class Packed:
    """What packing made besides the blob. Close it to release the hints."""

    toc: Toc
    small_frames: bytes
    """The small-frame bundle; empty where there are no small frames."""
    _hints: ScratchFile

    def hints(self) -> BinaryIO:
        """Open the hints blob from its start; independent of other readers of it."""
        return self._hints.opened()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._hints.__exit__(*exc)


@dataclass(frozen=True, slots=True)
class Guide:
    """What an earlier disk contributes: where to cut, and frames to reuse."""

    base: Base
    reuse: FrameReuse | None = None
    """None: no frames are reused."""


@dataclass(frozen=True, slots=True)
class _Stored:
    frame: bytes
    sha256: bytes
    small: bytes | None = None
    """The plain bytes of a frame for the small-frame bundle."""


def pack(fd: int, sink: Sink, *, level: int, jobs: int, task: Task, guide: Guide | None = None) -> Packed:
    """Compress the disk open at ``fd`` into ``sink``.

    Args:
        fd: a regular file, open for reading; only its data extents are read.
        sink: receives the blob.
        level: zstd level, 1 to 22; chooses the framing, too.
        jobs: frames compressed at a time.
        task: advanced by plain bytes, holes included, up to the size of the disk.
        guide: an earlier version of the disk.

    Raises:
        ContentError: the disk is empty, or changed its size while it was read.
        StorageError: it cannot be read, or the hints cannot be held.
    """
    size = os.fstat(fd).st_size
    if size == 0:
        raise ContentError("the disk is empty", hint="give a disk image with content")
    hints = ScratchFile("the hints of the disk", "a five hundredth of the disk")
    try:
        with ThreadPoolExecutor(jobs, "pack") as pool, ThreadPoolExecutor(1, "disk-hash") as hashing:
            reuse = guide.reuse if guide is not None else None
            packer = _Packer(sink, hints, FrameCompressor(level), reuse, pool, jobs, task)
            whole = hashlib.sha256()
            behind: deque[Future[None]] = deque()
            framing = Framing.for_level(level)
            framer = Framer(framing) if guide is None else GuidedFramer(framing, guide.base)
            for window in _windows(fd, size):
                if len(behind) >= 4:  # windows held for the hasher
                    behind.popleft().result()
                behind.append(hashing.submit(whole.update, window))
                packer.window(window, framer)
            packer.end(framer)
            while behind:
                behind.popleft().result()
        toc = packer.finish(SizedDigest(Digest(whole.hexdigest()), size))
    except BaseException:
        hints.__exit__()
        raise
    return Packed(toc, packer.bundle.finish(), hints)


class _Packer:
    """The state of one packing: bytes not yet framed, frames under way, columns of the TOC."""

    def __init__(
        self,
        sink: Sink,
        hints: ScratchFile,
        compressor: FrameCompressor,
        reuse: FrameReuse | None,
        pool: ThreadPoolExecutor,
        jobs: int,
        task: Task,
    ) -> None:
        self._sink = sink
        self._hints = hints
        self._hints_hash = hashlib.sha256()
        self._compressor = compressor
        self._reuse = reuse
        self.bundle = BundleWriter(compressor)
        self._pool = pool
        self._ahead = 2 * jobs + 2
        self._waiting = 0
        """Blocks of the data frames under way."""
        self._task = task
        self._unframed: deque[memoryview] = deque()
        self._under_way: deque[tuple[Span, Callable[[], _Stored]]] = deque()
        self._sha256 = bytearray()
        self._compressed: list[int] = []
        self._spans: list[Span] = []

    def window(self, window: bytes, framer: Framer) -> None:
        view = memoryview(window)
        self._unframed.append(view)
        if window is _ZERO_WINDOW:
            spans = framer.feed_hole(WINDOW_BLOCKS)
        else:
            hints = hash_blocks(view)
            in_zero, spans = framer.feed(hints, zero_blocks(view, hints))
            if any(in_zero):
                hints = array("Q", [hint for hint, is_zero in zip(hints, in_zero, strict=True) if not is_zero])
            data = column_bytes(hints)
            self._hints.append(data)
            self._hints_hash.update(data)
        for span in spans:
            self._frame(span)
        self._task.advance(len(window))

    def end(self, framer: Framer) -> None:
        for span in framer.finish():
            self._frame(span)
        while self._under_way:
            self._write_oldest()

    def finish(self, disk: SizedDigest) -> Toc:
        compressed = u32_column(self._compressed)
        blocks = u32_column(span.blocks for span in self._spans)
        plain = u32_column(BLOCK * count for count in blocks)
        plain[-1] -= block_count(disk.size) * BLOCK - disk.size
        self._sink.write(encode_seek_table(compressed, plain))
        return Toc(
            disk,
            sum(compressed) + seek_table_size(len(self._spans)),
            SizedDigest(Digest(self._hints_hash.hexdigest()), self._hints.size),
            bytes(self._sha256),
            compressed,
            blocks,
            bytes(span.kind for span in self._spans),
        )

    def _frame(self, span: Span) -> None:
        pieces = list(self._take(span.blocks * BLOCK))
        if span.kind is Kind.ZERO:
            stored = _Stored(zero_frame(sum(map(len, pieces))), bytes(32))
            self._under_way.append((span, lambda: stored))
        else:
            coming = self._expect(span)
            self._under_way.append((span, self._pool.submit(self._store, span, pieces, coming).result))
        self._waiting += span.blocks if span.kind is Kind.DATA else 0
        while self._is_full():
            self._write_oldest()

    def _is_full(self) -> bool:
        if self._reuse is None:
            return len(self._under_way) > self._ahead
        # What comes from elsewhere needs time to arrive.
        return self._waiting > _AHEAD_BLOCKS or len(self._under_way) > _AHEAD_FRAMES

    def _expect(self, span: Span) -> Callable[[], bytes | None] | None:
        return None if span.base is None or self._reuse is None else self._reuse.source.expect(span.base)

    def _store(self, span: Span, pieces: list[memoryview], coming: Callable[[], bytes | None] | None) -> _Stored:
        plain: bytes | memoryview = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        taken = None if coming is None or self._reuse is None else self._reuse.take(coming, plain)
        frame = taken or self._compress(plain)
        return _Stored(frame, hashlib.sha256(plain).digest(), bytes(plain) if span.is_small else None)

    def _compress(self, plain: bytes | memoryview) -> bytes:
        begun = time.monotonic()
        frame = self._compressor.compress(plain)
        if self._reuse is not None:
            self._reuse.source.compressed(len(plain), time.monotonic() - begun)
        return frame

    def _write_oldest(self) -> None:
        span, result = self._under_way.popleft()
        self._waiting -= span.blocks if span.kind is Kind.DATA else 0
        stored = result()
        self._sink.write(stored.frame)
        if stored.small is not None:
            self.bundle.add(len(self._spans), stored.small)
        self._compressed.append(len(stored.frame))
        self._sha256 += stored.sha256
        self._spans.append(span)

    def _take(self, amount: int) -> Iterator[memoryview]:
        # The last frame of a disk may ask for more than there is: its last block is short.
        while amount and self._unframed:
            piece = self._unframed.popleft()
            if len(piece) > amount:
                self._unframed.appendleft(piece[amount:])
                piece = piece[:amount]
            amount -= len(piece)
            yield piece


def _windows(fd: int, size: int) -> Iterator[bytes]:
    """Yield the disk in windows at multiples of WINDOW; whole windows in a hole are one shared constant."""
    extents = data_extents(fd, size)
    extent = next(extents, None)
    for start in range(0, size, WINDOW):
        stop = min(start + WINDOW, size)
        while extent is not None and extent.offset + extent.length <= start:
            extent = next(extents, None)
        if extent is None or extent.offset >= stop:
            yield _ZERO_WINDOW if stop - start == WINDOW else bytes(stop - start)
            continue
        # Holes within a window read as zeros: cheaper than gathering pieces.
        yield _read(fd, start, stop - start)


def _read(fd: int, offset: int, amount: int) -> bytes:
    pieces: list[bytes] = []
    while amount:
        try:
            piece = os.pread(fd, amount, offset)
        except OSError as error:
            raise storage_error(descriptor_name(fd), error, doing=f"cannot be read at byte {offset}") from error
        if not piece:
            raise ContentError(
                "the disk became shorter while it was read", hint="stop the program that writes to it, then push again"
            )
        pieces.append(piece)
        offset += len(piece)
        amount -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)

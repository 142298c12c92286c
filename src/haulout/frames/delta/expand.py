"""Expanding a delta: fetch the segments whose old blocks are here, decode them, and write out the new blocks.

What comes out is one more seed, and what is made of its blocks is hashed. Wrong, stale or hostile segments therefore
cost a fetch and no more.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Self

import zstandard

from haulout.disk import write_all
from haulout.errors import ContentError, InvalidDelta, NotFoundError, StorageError
from haulout.extras import np
from haulout.frames.apply import read_part
from haulout.frames.blocks import BLOCK
from haulout.frames.delta.index import MAX_SEGMENT_BLOCKS
from haulout.frames.pieces import MISSING, ZEROS, fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from haulout.content import BlobReader
    from haulout.frames.arrays import Hashes, Numbers
    from haulout.frames.delta.index import DeltaIndex
    from haulout.frames.pieces import Piece
    from haulout.frames.seeds import SeedIndex
    from haulout.oci import Descriptor
    from haulout.progress import Task

_MAX_WINDOW: Final = MAX_SEGMENT_BLOCKS * BLOCK

MOST_MISSING: Final = 0.01
"""Share of a segment's reference that may be missing. Without a hundredth of it, lost in runs as a booted machine does,
3 % of the new blocks come out wrong (measured); with more, too many frames are spoiled to be worth the bytes."""


@dataclass(frozen=True)
class Located:
    """The reference blocks of a delta, as their hints found them: a guess, as all hints are."""

    index: DeltaIndex
    seeds: SeedIndex
    places: Numbers
    """In ``seeds``, of each block of the reference."""

    @classmethod
    def of(cls, index: DeltaIndex, hints: Hashes, seeds: SeedIndex) -> Self:
        """Look for the reference of ``index``.

        Args:
            index: of the delta.
            hints: of its reference blocks.
            seeds: where blocks are; it must have been made from scans that wanted ``hints``.
        """
        return cls(index, seeds, seeds.locate(hints))

    def usable(self, *, most_missing: float = MOST_MISSING) -> list[int]:
        """Return the segments whose reference is here.

        Args:
            most_missing: share of a reference that may be missing; the new blocks that depend on it come out wrong, and
                the others right.
        """
        missing = np.concatenate([[0], np.cumsum(self.places == MISSING)])
        usable = []
        for number, segment in enumerate(self.index.segments):
            lost = 0
            if missing[-1] and segment.reference:
                places = self.index.reference_of(number)
                lost = int((missing[places + 1] - missing[places]).sum())
            if lost <= most_missing * segment.reference:
                usable.append(number)
        return usable

    def pieces(self, segment: int) -> list[Piece]:
        """Return the reads that give the reference of a segment; zeros stand for what is missing."""
        places = self.places[self.index.reference_of(segment)]
        return self.seeds.pieces(np.where(places == MISSING, ZEROS, places))


def expand(  # noqa: PLR0913, PLR0917 - two blobs' worth of places: where it comes from, what it is decoded with, where it goes
    index: DeltaIndex,
    segments: Sequence[int],
    blobs: BlobReader,
    blob: Descriptor,
    reference: Callable[[int], Sequence[Piece]],
    descriptors: Sequence[int],
    fd: int,
    task: Task,
    *,
    jobs: int = 1,
    made: Callable[[int, int, bytes], None] = lambda _segment, _offset, _plain: None,
) -> int:
    """Fetch and decode ``segments`` and write their new blocks to ``fd``, one after another from its start.

    Neighbouring segments are fetched in one request. A segment that cannot be decoded leaves a hole. Blocks of a
    reference that are not where they were found, or cannot be read, spoil only the new blocks made from them.

    Args:
        index: of the delta.
        segments: their numbers.
        blobs: where the data blob is; a server that ignores ranges is read once, from the start.
        blob: the data blob.
        reference: gives the reads, in order, of the reference of a segment; called on any thread.
        descriptors: of the seeds, by their numbers.
        fd: an empty file.
        task: advanced by the bytes of the blob that were used.
        jobs: segments decoded at a time; each takes up to 40 MiB.
        made: called, on any thread, with new blocks that were written: their segment, their offset and the bytes.

    Returns:
        The bytes written.

    Raises:
        StorageError: the file cannot be written.
        UnreachableError: the source failed for good.
    """
    chosen = sorted(set(segments))
    sizes = [index.segments[number].blocks * BLOCK for number in chosen]
    places = dict(zip(chosen, accumulate(sizes, initial=0), strict=False))

    # Memory that was used before is read into faster than new.
    most = max((index.segments[number].reference for number in chosen), default=0) * BLOCK
    buffers = threading.local()

    def work(number: int, frame: bytes) -> int:
        if not hasattr(buffers, "own"):
            buffers.own = memoryview(bytearray(most))
        try:
            segment = index.segments[number]
            old = buffers.own[: segment.reference * BLOCK]
            fill(old, reference(number), descriptors)
            plain = decode_segment(frame, old, segment.blocks)
        except (InvalidDelta, StorageError):
            return 0
        write_all(fd, plain, places[number])
        task.advance(len(frame))
        made(number, places[number], plain)
        return len(plain)

    written = 0
    under_way: deque[Future[int]] = deque()
    with ThreadPoolExecutor(jobs, "expand") as pool:
        for number, frame in _frames(index, chosen, blobs, blob):
            under_way.append(pool.submit(work, number, frame))
            while len(under_way) > jobs + 1:
                written += under_way.popleft().result()
        return written + sum(each.result() for each in under_way)


def _frames(
    index: DeltaIndex, segments: Sequence[int], blobs: BlobReader, blob: Descriptor
) -> Iterator[tuple[int, bytes]]:
    """Yield each segment's number and compressed frame, as far as the blob holds them."""
    waiting = deque(segments)
    while waiting:
        run = [waiting.popleft()]
        while waiting and waiting[0] == run[-1] + 1:
            run.append(waiting.popleft())
        start, stop = index.segments[run[0]].start, index.segments[run[-1]].stop
        # Where the blob is not there, or shorter than its index says, what has come of it may still be used.
        with suppress(ContentError, NotFoundError), blobs.open_blob(blob, start, stop) as stream:
            if stream.start < start or stream.stop > stop:
                # The whole blob comes anyway.
                run += waiting
                waiting.clear()
            position = stream.start
            for number in run:
                segment = index.segments[number]
                frame = read_part(stream, position, segment.start, segment.stop)
                position = segment.stop
                yield number, frame


def decode_segment(frame: bytes, reference: bytes | memoryview, blocks: int) -> bytes:
    """Return the new blocks that ``frame`` decodes to after ``reference``.

    Raises:
        InvalidDelta: it is damaged, or promises more or asks for more memory than a segment may.
    """
    size = blocks * BLOCK
    try:
        parameters = zstandard.get_frame_parameters(frame)
        if parameters.content_size != size or parameters.dict_id or parameters.window_size > _MAX_WINDOW:
            raise InvalidDelta("a segment of the delta promises another size, or asks for too much memory")
        dictionary = zstandard.ZstdCompressionDict(reference, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        decompressor = zstandard.ZstdDecompressor(dict_data=dictionary)
        plain = decompressor.decompress(frame, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as exc:
        raise InvalidDelta(f"a segment of the delta is damaged ({exc})") from exc
    if len(plain) != size:
        raise InvalidDelta("a segment of the delta ends early")
    return plain

"""Applying a plan: fetch, decode, verify, write, on a few threads, without a second copy.

Frames are written where they belong as they arrive and only after their SHA-256 has been checked, so that whatever is
in the file when the power goes is right, and a survey finds it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from haulout.content import Distrusting
from haulout.disk import write_all
from haulout.errors import InvalidFrame
from haulout.frames.codec import FrameDecoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from haulout.content import BlobReader, BlobStream
    from haulout.frames.plan import Slice
    from haulout.frames.toc import Toc
    from haulout.oci import Descriptor
    from haulout.progress import Task

_JOIN_SECONDS: Final = 1.0
_SKIP: Final = 1 << 20


def apply(
    toc: Toc,
    plan: Sequence[Slice],
    blobs: BlobReader,
    blob: Descriptor,
    fd: int,
    *,
    jobs: int,
    task: Task,
    written: Callable[[int], None] = lambda _frame: None,
) -> None:
    """Fetch the slices of ``plan`` and write their frames to ``fd``.

    Args:
        toc: verified table of contents of the blob.
        plan: what is missing.
        blobs: where the blob is; a server that ignores ranges is read once, from its start.
        blob: the blob's descriptor.
        fd: the file, already of the disk's size, open for writing.
        jobs: connections, each with its decoder.
        task: advanced by blob bytes of frames written.
        written: told the number of each frame that was written, from any thread.

    Raises:
        ContentError: a frame is not what the TOC promises, or the blob ends early.
        StorageError: the file cannot be written.
        UnreachableError: the source failed for good.
    """
    if not plan:
        return
    # A thread that does not end in time keeps a descriptor of its own: what it writes late is right, and in its place.
    own = os.dup(fd)
    fetchers = _Fetchers(toc, plan, blobs, blob, own, task, written)
    try:
        fetchers.run(jobs)
    finally:
        if fetchers.have_ended():
            os.close(own)


class _Fetchers:
    """The threads of one apply, and what they share."""

    def __init__(
        self,
        toc: Toc,
        plan: Sequence[Slice],
        blobs: BlobReader,
        blob: Descriptor,
        fd: int,
        task: Task,
        written: Callable[[int], None],
    ) -> None:
        self._toc = toc
        self._waiting = deque(plan)
        self._blobs = blobs
        self._blob = blob
        self._fd = fd
        self._task = task
        self._written = written
        self._decoder = FrameDecoder()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._threads: list[threading.Thread] = []
        # Set once the first answer has shown whether the server honours ranges, so that a server that does not is not
        # asked for the whole blob by every thread at once.
        self._probed = threading.Event()

    def have_ended(self) -> bool:
        """Whether no thread is left that may write."""
        return not any(thread.is_alive() for thread in self._threads)

    def run(self, jobs: int) -> None:
        threads = self._threads = [
            threading.Thread(target=self._work, name=f"fetch-{n}", daemon=True) for n in range(jobs)
        ]
        try:
            threads[0].start()
            while not self._probed.wait(0.2) and threads[0].is_alive():
                pass
            for thread in threads[1 : len(self._waiting) + 1]:
                thread.start()
            for thread in threads:
                while thread.is_alive() and not self._stop.is_set():
                    thread.join(0.2)
        finally:
            # On Ctrl-C the threads stop at the next frame; one that waits for a silent server is not waited for.
            self._stop.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join(_JOIN_SECONDS)
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                with self._lock:
                    if not self._waiting:
                        return
                    piece = self._waiting.popleft()
                self._fetch(piece)
        except BaseException as exc:  # noqa: BLE001 - carried to the calling thread, which raises it
            with self._lock:
                self._failure = self._failure or exc
            self._stop.set()
        finally:
            self._probed.set()

    def _fetch(self, piece: Slice) -> None:
        with self._open(piece) as stream:
            frames = list(piece.frames)
            if _is_whole(stream, piece):
                # The whole blob comes anyway: this thread takes all that is left, in the order it comes.
                with self._lock:
                    frames += [frame for rest in self._waiting for frame in rest.frames]
                    self._waiting.clear()
            self._probed.set()
            self._drain(stream, sorted(frames))

    def _open(self, piece: Slice) -> BlobStream:
        stream = self._blobs.open_blob(self._blob, piece.start, piece.stop)
        if not _is_whole(stream, piece) or self._left(piece) > self._blob.size // 2:
            return stream
        # A proxy whose cache is cold sends the whole blob, once. Where little is wanted, asking again is cheaper.
        stream.__exit__(None, None, None)
        return self._blobs.open_blob(self._blob, piece.start, piece.stop)

    def _left(self, piece: Slice) -> int:
        with self._lock:
            return sum(each.stop - each.start for each in (piece, *self._waiting))

    def _drain(self, stream: BlobStream, frames: list[int]) -> None:
        position = stream.start
        for frame in frames:
            start, stop = self._toc.blob_offsets[frame], self._toc.blob_offsets[frame + 1]
            compressed = read_part(stream, position, start, stop)
            position = stop
            if self._stop.is_set():
                return
            try:
                plain = self._decode(frame, compressed)
            except InvalidFrame:
                plain = self._second_chance(frame)
            if self._stop.is_set():
                return
            write_all(self._fd, plain, self._toc.disk_offsets[frame])
            self._task.advance(stop - start)
            self._written(frame)

    def _decode(self, frame: int, compressed: bytes) -> bytes:
        where = f"frame {frame} of blob {self._blob.digest.short}"
        return self._decoder.decode(compressed, self._toc.plain_size(frame), self._toc.digest(frame), where)

    def _second_chance(self, frame: int) -> bytes:
        # A flipped bit on the way is cured by asking again, a mirror's by asking elsewhere; what is wrong at its source
        # stays wrong.
        if isinstance(self._blobs, Distrusting):
            self._blobs.distrust(self._blob)
        start, stop = self._toc.blob_offsets[frame], self._toc.blob_offsets[frame + 1]
        with self._blobs.open_blob(self._blob, start, stop) as stream:
            return self._decode(frame, read_part(stream, stream.start, start, stop))


def read_part(stream: BlobStream, position: int, start: int, stop: int) -> bytes:
    """Return bytes ``[start, stop)`` of a blob whose stream is at ``position``; fewer where it ends early."""
    while position < start and (skipped := len(stream.read(min(_SKIP, start - position)))):
        position += skipped
    return stream.read(stop - start)


def _is_whole(stream: BlobStream, piece: Slice) -> bool:
    """Whether more comes than was asked: the server ignores ranges."""
    return stream.start < piece.start or stream.stop > piece.stop

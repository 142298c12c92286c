"""Disks that are served while parts of them are missing: where their frames come from, and clients that read them."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from tests.support.base_tables import packed_disk
from tests.support.disks import raw_disk

from haulout.content import MemoryStore
from haulout.errors import UnreachableError
from haulout.frames import Toc
from haulout.lazy.fetching import Fetcher
from haulout.lazy.image import PartialImage
from haulout.lazy.server import Server
from haulout.oci import mediatype

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from haulout.content import BlobStream
    from haulout.oci import Descriptor


class Source:
    """A place of blobs that can be away, and can send damaged bytes."""

    def __init__(self, blobs: MemoryStore) -> None:
        self.blobs = blobs
        self.away = threading.Event()
        self.answers = threading.Event()
        self.answers.set()
        self.fault: Exception = UnreachableError("the registry is away")
        self.asked: list[tuple[int, int | None]] = []
        self.flipped: set[int] = set()
        """Offsets in the blob whose byte is another one."""

    def open_blob(self, blob: Descriptor, start: int = 0, stop: int | None = None) -> BlobStream:
        self.answers.wait()
        if self.away.is_set():
            raise self.fault
        self.asked.append((start, stop))
        return _Flipped(self.blobs.open_blob(blob, start, stop), self.flipped)


class _Flipped:
    def __init__(self, stream: BlobStream, flipped: set[int]) -> None:
        self.stream, self.flipped = stream, flipped
        self.start = self.at = stream.start
        self.stop = stream.stop

    def read(self, amount: int) -> bytes:
        data = bytearray(self.stream.read(amount))
        for each in self.flipped:
            if self.at <= each < self.at + len(data):
                data[each - self.at] ^= 1
        self.at += len(data)
        return bytes(data)

    def __enter__(self):
        return self

    def __exit__(self, *exc: object) -> None:
        self.stream.__exit__(*exc)


class LazyDisk:
    """A disk of which nothing is here yet, its source, and what it really holds."""

    def __init__(self, folder: Path, disk: Path | None = None, *, patience: float = 20.0) -> None:
        disk = disk or raw_disk(folder / "disk.raw", data_mib=6, size_mib=64)
        self.plain = disk.read_bytes()
        blob, self.toc, *_ = packed_disk(disk)
        store = MemoryStore()
        with store.ingest() as ingest:
            ingest.write(blob)
            self.blob = ingest.commit(mediatype.ZSTD)
        self.source = Source(store)
        self.partial = folder / "partial"
        self.patience = patience
        self.said: list[str] = []
        assert isinstance(self.toc, Toc)

    @contextmanager
    def opened(self) -> Iterator[tuple[PartialImage, Fetcher]]:
        fd = os.open(self.partial, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            image = PartialImage(fd, self.toc)
            fetcher = Fetcher(image, self.source, self.blob, self.said.append, patience=self.patience)
            try:
                yield image, fetcher
            finally:
                fetcher.close()
        finally:
            os.close(fd)


class Served:
    """An export of an image and its fetcher."""

    def __init__(self, image: PartialImage, fetcher: Fetcher) -> None:
        self.size, self.fd, self.require = image.size, image.fd, fetcher.require


@contextmanager
def serving(path: Path, export) -> Iterator[str]:
    """Serve an export in this process; yield its address for clients."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(16)
        over = threading.Event()

        def tick() -> None:
            if over.is_set():
                raise ConnectionAbortedError

        def run() -> None:
            with suppress(ConnectionAbortedError):
                Server(listener, export).run(first=60, idle=60, tick=tick)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"nbd+unix:///?socket={path}"
        finally:
            over.set()
            thread.join()

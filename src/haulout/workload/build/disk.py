"""The disk in one pass: plain blocks come in, are hashed for dm-verity and encrypted, and go out in order.

Plain bytes exist only in memory. Hashing, encrypting and writing overlap; a few chunks are in memory at a time. The
tree of hashes lies behind the data, and waits in an unlinked temporary file, already encrypted for its place: hashes
reveal which blocks are in the data.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from haulout.local import ScratchFile
from haulout.oci import Digest
from haulout.workload import krun, luks, verity
from haulout.workload.binding import Binding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Protocol

    from haulout.progress import Task

    class Sink(Protocol):
        """What the disk is written to."""

        def write(self, data: bytes, /) -> object:
            """Append bytes."""


SALT_BYTES: Final = 32
_CHUNK: Final = 1 << 20
_AHEAD: Final = 4
"""Chunks under way at once."""

_UnderWay: TypeAlias = "tuple[Future[None], Future[bytes]]"


@dataclass(frozen=True)
class Disk:
    """A disk to be written; everything but the content is decided.

    Attributes:
        volume: its encryption.
        file_system_size: bytes of the plain file system.
        document: ``krun-sev.json``, which the footer repeats.
        salt: of the tree of hashes.
    """

    volume: luks.Volume
    file_system_size: int
    document: bytes
    salt: bytes

    @property
    def payload_size(self) -> int:
        """Bytes of what is encrypted: the file system, then dm-verity's superblock and tree."""
        return self.file_system_size + verity.size_for(self.file_system_size // verity.BLOCK)

    @property
    def size(self) -> int:
        """Bytes of the whole disk."""
        before = len(self.volume.header) + self.payload_size
        return before + krun.padding(before, self.document) + len(self.document) + krun.TRAILER

    def write(self, blocks: Iterable[bytes | bytearray], sink: Sink, task: Task) -> verity.Hashes:
        """Write the disk and return the hashes of its plain file system.

        Args:
            blocks: the file system, in whole blocks of 4096 bytes.
            sink: takes exactly :attr:`size` bytes.
            task: advanced by the plain bytes.
        """
        sink.write(self.volume.header)
        first_of_hashes = self.file_system_size // luks.SECTOR
        with ScratchFile("the hashes", "8 MiB for each GiB of the file system") as aside:

            def put(offset: int, block: bytes) -> None:
                """Keep a block of the tree, encrypted for its place."""
                sector = first_of_hashes + (verity.BLOCK + offset) // luks.SECTOR
                aside.put(offset, self.volume.encrypt(sector, block))

            tree = verity.Tree(self.file_system_size // verity.BLOCK, self.salt, put)
            self._write_data(blocks, tree, sink, task)
            hashes = tree.finish()
            sink.write(self.volume.encrypt(first_of_hashes, hashes.superblock))
            for part in aside.parts():
                sink.write(part)
        before = len(self.volume.header) + self.payload_size
        sink.write(bytes(krun.padding(before, self.document)) + krun.footer(self.document))
        return hashes

    def _write_data(self, blocks: Iterable[bytes | bytearray], tree: verity.Tree, sink: Sink, task: Task) -> None:
        sector = 0
        # One thread each: hashes have to be made in order, and encrypting leaves room for them on another processor.
        with ThreadPoolExecutor(1) as hashing, ThreadPoolExecutor(1) as encrypting:
            under_way: deque[_UnderWay] = deque()
            for chunk in chunked(blocks):
                under_way.append(
                    (hashing.submit(tree.feed, chunk), encrypting.submit(self.volume.encrypt, sector, chunk))
                )
                sector += len(chunk) // luks.SECTOR
                task.advance(len(chunk))
                if len(under_way) >= _AHEAD:
                    _finish(under_way.popleft(), sink)
            while under_way:
                _finish(under_way.popleft(), sink)
        assert sector * luks.SECTOR == self.file_system_size, "a file system of another size than planned"

    def binding(self, hashes: verity.Hashes, workload_id: str, broker_key: bytes | None) -> Binding:
        """Return the binding that names this disk."""
        header = Digest(self.volume.header_digest.hex)
        return Binding(workload_id, header, hashes.root, self.salt, self.file_system_size, broker_key)


def _finish(one: _UnderWay, sink: Sink) -> None:
    hashed, encrypted = one
    sink.write(encrypted.result())
    hashed.result()


def chunked(blocks: Iterable[bytes | bytearray]) -> Iterator[bytes | bytearray]:
    """Gather small pieces and cut large ones, so that threads meet chunks of about 1 MiB."""
    parts: list[bytes | memoryview] = []
    size = 0
    for block in blocks:
        if not parts and len(block) == _CHUNK:
            yield block
            continue
        rest = memoryview(block)
        while rest:
            part = rest[: _CHUNK - size]
            parts.append(part)
            size += len(part)
            rest = rest[len(part) :]
            if size == _CHUNK:
                yield b"".join(parts)
                parts, size = [], 0
    if parts:
        yield b"".join(parts)

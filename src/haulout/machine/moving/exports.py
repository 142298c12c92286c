"""A machine as content (docs/formats/machine.md): its file, and its data disk in chunks that a later one finds.

The index of an export lists a head (the machine file, the size of the disk, the digests of its segments), the segments
(manifests of chunks, 4 GiB of disk each, only where there is data), and, if asked, the manifest of the system's disk.
"""

from __future__ import annotations

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import zstandard

from haulout.content import read_blob
from haulout.disk import data_extents, is_zero, size_of, write_sparse
from haulout.errors import ContentError, DeniedError, HauloutError, UsageError
from haulout.local import parse_json
from haulout.machine.model import parse
from haulout.machine.moving.sealing import Sealing
from haulout.oci import EMPTY, Descriptor, Digest, Index, Manifest, empty_config_manifest, mediatype

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from haulout.content import BlobReader, CopyTarget, ManifestReader, StoredManifest
    from haulout.local import Table, Wrong
    from haulout.machine.model import Machine
    from haulout.progress import Progress

    Item = TypeVar("Item")
    Result = TypeVar("Result")

CHUNK: Final = 1 << 20
"""Bytes of the disk that one blob holds."""
SEGMENT: Final = 4096
"""Chunks of the disk that one manifest may list: as many as are read."""
_SEALED: Final = "io.github.haulout.machine.sealing"
_NUMBER: Final = "io.github.haulout.machine.chunk"
_HEAD_PLACE: Final = 1 << 64
_LARGEST_HEAD: Final = 2 << 20
_LARGEST_CHUNK: Final = CHUNK + (64 << 10)
_LARGEST_DISK: Final = 1 << 44
_LEVEL: Final = 3


@dataclass(frozen=True, slots=True)
class Head:
    """What an export holds besides its chunks."""

    machine: Machine
    size: int
    """Bytes of the data disk; 0: there is none."""
    content: int
    """Bytes of it that are not in holes, in whole chunks."""
    segments: tuple[Digest, ...]

    def to_bytes(self) -> bytes:
        """Return the document."""
        return json.dumps(
            {
                "format": 1,
                "name": self.machine.name,
                "size": self.size,
                "content": self.content,
                "segments": [str(each) for each in self.segments],
                "machine": json.dumps(self.machine.to_dict()),
            }
        ).encode()

    @classmethod
    def parse(cls, data: bytes, wrong: Wrong) -> Head:
        """Read the document.

        Raises:
            ContentError: made by ``wrong``: it breaks the schema, or is newer.
        """
        table = parse_json(data, wrong)
        if table.number("format", None, 1 << 30, 1) != 1:
            raise table.wrong("format", "was written by a newer haulout", hint="update haulout")
        head = cls(
            parse(table.text("machine", longest=_LARGEST_HEAD).encode(), wrong, table.text("name")),
            table.number("size", None, _LARGEST_DISK),
            table.number("content", None, _LARGEST_DISK),
            tuple(_digest(each, table) for each in table.texts("segments")),
        )
        table.end()
        return head


def _digest(text: str, table: Table) -> Digest:
    try:
        return Digest.parse(text)
    except UsageError as error:
        raise table.wrong("segments", error.message) from error


@dataclass(frozen=True, slots=True)
class Export:
    """An export that is there."""

    index: Index
    head: Manifest
    what: str

    @classmethod
    def read(cls, store: ManifestReader, root: StoredManifest, what: str) -> Export:
        """Read what lists the rest.

        Raises:
            UsageError: it is something else.
            ContentError: it is damaged.
        """
        index = root.parse(what)
        if not isinstance(index, Index) or index.artifact_type != mediatype.MACHINE_ARTIFACT or not index.manifests:
            raise UsageError(f"{what} is not an export of a machine", hint="haulout machine init makes one of a disk")
        head = store.manifest(index.manifests[0].digest).parse(what)
        if not isinstance(head, Manifest) or head.artifact_type != mediatype.MACHINE_ARTIFACT:
            raise ContentError(f"{what} is damaged: its first entry is not a machine")
        return cls(index, head, what)

    @property
    def sealed(self) -> str | None:
        """How it is encrypted; None: it is not."""
        return self.head.annotations.get(_SEALED)

    def open(self, passphrase: bytes | None) -> Sealing | None:
        """Make the key.

        Raises:
            WrongPassphrase: it is another one.
            DeniedError: it is encrypted, and there is none; or it is not encrypted, and there is one.
        """
        if self.sealed is None:
            if passphrase is not None:
                # Somebody may have put it in the place of an encrypted one.
                raise DeniedError(f"{self.what} is not encrypted", hint="leave out the passphrase, if that is right")
            return None
        if passphrase is None:
            raise DeniedError(f"{self.what} is encrypted", hint="use --passphrase-file FILE")
        return Sealing.open(self.sealed, passphrase)

    def document(self, store: BlobReader, sealing: Sealing | None) -> Head:
        """Read the head.

        Raises:
            ContentError: it is damaged, or was changed by somebody without the passphrase.
        """
        data = read_blob(store, self.head.layers[0], _LARGEST_HEAD, self.what)
        if sealing is not None:
            data = sealing.unseal(_HEAD_PLACE, data, f"the head of {self.what}")
        return Head.parse(data, self._wrong)

    def _wrong(self, where: str, reason: str, *, hint: str | None = None) -> ContentError:
        return ContentError(f"{self.what} is damaged: {where}: {reason}", hint=hint)

    def chunks(self, store: ManifestReader, segment: Digest) -> tuple[Descriptor, ...]:
        """Return the chunks of a segment, in order."""
        found = store.manifest(segment).parse(self.what)
        return found.layers if isinstance(found, Manifest) else ()

    def segments(self) -> Iterator[Digest]:
        """Yield what the index says of the segments: not authenticated in an encrypted export."""
        return (each.digest for each in self.index.manifests if each.artifact_type == mediatype.MACHINE_DATA)

    def has_disk(self, digest: Digest) -> bool:
        """Return whether the disk of the system came along."""
        return any(each.digest == digest for each in self.index.manifests[1:])


@dataclass(frozen=True, slots=True)
class Written:
    """What was exported."""

    head: Head
    chunks: int
    sent_chunks: int
    sent_bytes: int
    root: Descriptor


class Writer:
    """Writes one export.

    Args:
        target: where it goes.
        sealing: encrypts it.
        known: chunks that the export before it has there.
        jobs: chunks under way at a time.
        progress: receives one task.
    """

    def __init__(
        self, target: CopyTarget, sealing: Sealing | None, known: frozenset[Digest], jobs: int, progress: Progress
    ) -> None:
        self._target = target
        self._sealing = sealing
        self._known = known
        self._jobs = jobs
        self._progress = progress
        self._sent: list[int] = []

    def write(self, machine: Machine, fd: int | None, disk: Descriptor | None, tag: str | None) -> Written:
        """Write the machine, its data disk, and the index, the tag last.

        Args:
            machine: its file.
            fd: the data disk, which nobody may be writing; None: there is none.
            disk: manifest of the system's disk, which is there already; None: it does not come along.
            tag: of the export.

        Raises:
            HauloutError: what is behind the tag is as it was.
        """
        size = size_of(fd) if fd is not None else 0
        numbers = _numbers(fd, size) if fd is not None else []
        segments: list[Descriptor] = []
        content = chunks = 0
        self._target.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
        with (
            self._progress.task(f"data of {machine.name}", len(numbers) * CHUNK) as task,
            working(self._jobs) as each,
        ):

            def send(number: int) -> Descriptor | None:
                sent = self._chunk(fd or 0, number)
                task.advance(CHUNK)
                return sent

            for _, group in groupby(numbers, lambda number: number // SEGMENT):
                layers = tuple(layer for layer in each(send, group) if layer is not None)
                if layers:
                    chunks, content = chunks + len(layers), content + len(layers) * CHUNK
                    segments.append(self._segment(layers, fd or 0, each))
        head = Head(machine, size, min(content, size), tuple(one.digest for one in segments))
        entries = (self._head(head), *segments, *([disk] if disk is not None else []))
        root = self._target.push_manifest(
            Index(entries, artifact_type=mediatype.MACHINE_ARTIFACT).to_bytes(), mediatype.OCI_INDEX, tag
        )
        return Written(head, chunks, len(self._sent), sum(self._sent), root)

    def _segment(self, layers: tuple[Descriptor, ...], fd: int, each: Callable[..., Any]) -> Descriptor:
        """Write the manifest of a segment; where that fails, what the destination was said to have may be lost."""
        manifest = empty_config_manifest(layers, artifact_type=mediatype.MACHINE_DATA)
        try:
            return self._manifest(manifest)
        except HauloutError:
            if not self._known:
                raise
        self._known = frozenset()
        each(lambda layer: self._chunk(fd, _number(layer)), layers)
        return self._manifest(manifest)

    def _chunk(self, fd: int, number: int) -> Descriptor | None:
        plain = os.pread(fd, CHUNK, number * CHUNK)
        if is_zero(plain):
            return None
        data = zstandard.ZstdCompressor(level=_LEVEL).compress(plain)
        return self._push(data, number, mediatype.MACHINE_CHUNK, {_NUMBER: str(number)})

    def _push(self, data: bytes, place: int, media_type: str, annotations: dict[str, str]) -> Descriptor:
        if self._sealing is not None:
            data = self._sealing.seal(place, data)
            media_type = mediatype.SEALED
        blob = Descriptor(media_type, Digest.of(data), len(data), annotations)
        sent = blob.digest not in self._known and self._target.push_blob(blob, lambda: io.BytesIO(data))
        if sent and place != _HEAD_PLACE:
            self._sent.append(len(data))
        return blob

    def _head(self, head: Head) -> Descriptor:
        layer = self._push(head.to_bytes(), _HEAD_PLACE, mediatype.MACHINE, {})
        notes = {} if self._sealing is None else {_SEALED: self._sealing.text}
        return self._manifest(
            empty_config_manifest((layer,), artifact_type=mediatype.MACHINE_ARTIFACT, annotations=notes)
        )

    def _manifest(self, manifest: Manifest) -> Descriptor:
        kind = manifest.artifact_type
        data = manifest.to_bytes()
        self._target.push_manifest(data, manifest.media_type)
        return Descriptor(manifest.media_type, Digest.of(data), len(data), artifact_type=kind)


def _numbers(fd: int, size: int) -> list[int]:
    """Return the chunks that are not holes."""
    found = {
        number for extent in data_extents(fd, size) for number in range(extent.offset // CHUNK, -(-extent.end // CHUNK))
    }
    return sorted(found)


def restore(
    store: ManifestReader | BlobReader,
    export: Export,
    head: Head,
    sealing: Sealing | None,
    fd: int,
    *,
    jobs: int,
    progress: Progress,
) -> None:
    """Write the data disk into an empty file, every chunk verified.

    Raises:
        ContentError: a chunk is damaged, missing, of another place or listed twice.
        StorageError: the file system refuses.
    """
    os.ftruncate(fd, head.size)
    last, count = -1, 0
    with progress.task(f"data of {head.machine.name}", head.content) as task, working(jobs) as each:

        def fetch(item: tuple[int, Descriptor]) -> None:
            number, blob = item
            what = f"chunk {number} of {export.what}"
            data = read_blob(store, blob, _LARGEST_CHUNK, what)  # type: ignore[arg-type]  # a store is both
            if sealing is not None:
                data = sealing.unseal(number, data, what)
            plain = _expanded(data, min(CHUNK, head.size - number * CHUNK), what)
            write_sparse(fd, plain, number * CHUNK)
            task.advance(len(plain))

        for segment in head.segments:
            numbered = [(_number(blob), blob) for blob in export.chunks(store, segment)]  # type: ignore[arg-type]
            for number, _ in numbered:
                if not last < number < -(-head.size // CHUNK):
                    raise ContentError(f"{export.what} is damaged: chunk {number} is out of order, or behind the end")
                last = number
            each(fetch, numbered)
            count += len(numbered)
    if min(count * CHUNK, head.size) != head.content:
        raise ContentError(f"{export.what} is damaged: it has {count} chunks, for {head.content} bytes of data")


def _number(blob: Descriptor) -> int:
    text = blob.annotations.get(_NUMBER, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1


def _expanded(data: bytes, size: int, what: str) -> bytes:
    try:
        if zstandard.frame_content_size(data) != size:
            raise ContentError(f"{what} is damaged: it has another size")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    except zstandard.ZstdError as exc:
        raise ContentError(f"{what} is damaged: {exc}") from exc


@contextmanager
def working(jobs: int) -> Iterator[Callable[[Callable[[Item], Result], Iterable[Item]], list[Result]]]:
    """Yield a function that does something with each of many, some at a time, and ends soon where one fails."""
    pool = ThreadPoolExecutor(jobs, "chunks")
    try:
        yield lambda work, items: list(pool.map(work, items))
    finally:
        pool.shutdown(cancel_futures=True)

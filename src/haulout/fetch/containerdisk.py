"""Container disks: a disk that is a file under ``/disk/`` of an ordinary image (KubeVirt, crun-vm).

Which file that is, is what a container would see: the layers are laid over one another by :mod:`haulout.rootfs`, with
whiteouts, replaced folders and links. Nothing is unpacked: the bytes of a file under ``/disk/`` go into the partial
file as they come, and once more from the spooled layer where another one turns out to be the disk.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, Self, cast

from haulout.content import STEP, Distrusting, expand, sniff
from haulout.disk import DISK_EXTENSIONS, SparseWriter
from haulout.errors import ContentError, DigestMismatch, InvalidRootfs, NotFoundError
from haulout.fetch.results import Moved
from haulout.fetch.spool import SpooledBlob
from haulout.fetch.whole import require_size
from haulout.resolve import confidential_workload_error, container_image_error
from haulout.rootfs import Directory, File, Limits, from_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from haulout.content import BlobReader
    from haulout.fetch.target import Partial
    from haulout.oci import Descriptor, Digest, Reference
    from haulout.progress import Progress, Task
    from haulout.resolve import ResolvedDisk
    from haulout.rootfs import Path, Stream, Tree

_FOLDER: Final = b"disk"
_WORKLOAD: Final = b"krun-sev.json"
"""What libkrun reads first of a confidential workload (``haulout cw build``, ``buildah mkcw``)."""
_MOST_LOOKED_INTO: Final = 64 << 20
"""Bytes of layers read to find out whether an image holds a disk."""
_MOST_LAID_OVER: Final = 16 << 20
"""Bytes of layers that are read as a whole for that, and laid over one another: the answer is the pull's."""
_LOOKING: Final = Limits(plain_bytes=1 << 30)
_PULLING: Final = Limits(plain_bytes=1 << 44, ratio=1 << 20)
"""A disk of holes expands a hundred thousand times; what is stored of it is bounded by the writer."""
_NAMED: Final = re.compile(rf"\.({'|'.join(sorted(DISK_EXTENSIONS))})(\.(gz|xz|zst|bz2))?$", re.IGNORECASE)
_LEAST: Final = 1 << 20
"""Bytes from which a file is taken for a disk, whatever its name."""


@dataclass(frozen=True, slots=True)
class DiskFile:
    """A file that a container would see under ``/disk/``."""

    name: str
    file: File

    @property
    def place(self) -> tuple[int, int]:
        """Where its bytes are: the same for all its names."""
        return self.file.source, self.file.offset

    @property
    def looks_like_disk(self) -> bool:
        """Whether it is named or sized as a disk, and not as what lies beside one."""
        return self.file.size >= _LEAST or _NAMED.search(self.name) is not None


def choose_file(tree: Tree, title: str | None, reference: Reference) -> DiskFile:
    """Return the disk among the files under ``/disk/``. Pure.

    Raises:
        NotFoundError: there is none, none with this title, or several.
    """
    found = files_in(tree)
    if title is not None:
        titled = [each for each in found if each.name == title]
        if not titled:
            raise NotFoundError(f"no file {title!r} under /disk/ in {reference}", hint=_listed(found) or None)
        return titled[0]
    if not found:
        if tree.follow(_WORKLOAD) is not None:
            raise confidential_workload_error(reference)
        raise container_image_error(reference)
    likely = [each for each in found if each.looks_like_disk] or found
    if len({each.place for each in likely}) > 1:
        raise NotFoundError(
            f"{len(likely)} files under /disk/ in {reference} may be the disk: {_listed(likely)}",
            hint="say which with --title",
        )
    return likely[0]


def files_in(tree: Tree) -> list[DiskFile]:
    """Return the files that hold bytes under ``/disk/``, by name; links count as what they lead to."""
    folder = tree.follow(_FOLDER)
    if not isinstance(folder, Directory):
        return []
    found = ((name, tree.follow(_FOLDER + b"/" + name)) for name in sorted(folder.children))
    return [DiskFile(os.fsdecode(name), node) for name, node in found if isinstance(node, File) and node.size]


def _listed(files: Sequence[DiskFile]) -> str:
    names = [ascii(each.name) for each in files[:12]]
    return ", ".join(names) + (f" and {len(files) - 12} more" if len(files) > 12 else "")


def require_disk_inside(blobs: BlobReader, found: ResolvedDisk) -> ResolvedDisk:
    """Return ``found`` with the layer that holds its disk; unchanged where finding that out takes too long.

    Raises:
        NotFoundError: it is an ordinary container image; or it holds several disks, and only the user can choose.
    """
    inside = look_into(blobs, found.layers)
    if inside.tree is not None:
        chosen = choose_file(inside.tree, found.asked.title, found.reference)
        return replace(found, chosen=chosen.file.source - 1)
    if inside.kind == "workload":
        raise confidential_workload_error(found.reference)
    return found if inside.layer is None else replace(found, chosen=inside.layer)


@dataclass(frozen=True, slots=True)
class Inside:
    """What a container image is, as far as can be told at little cost."""

    kind: Literal["disk", "workload", "container", "unknown"]
    layer: int | None = None
    """Number of the layer that holds a disk."""
    tree: Tree | None = None
    """All of it; None where it is too large to look through."""


def look_into(blobs: BlobReader, layers: Sequence[Descriptor]) -> Inside:
    """Find out whether the layers of an image, lowest first, hold a disk. At most 64 MiB of them are read."""
    try:
        return _look_into(blobs, layers)
    except ContentError:
        # Damaged, or too large: the pull reports it.
        return Inside("unknown")


def _look_into(blobs: BlobReader, layers: Sequence[Descriptor]) -> Inside:
    def opener(layer: Descriptor) -> Callable[[], BinaryIO]:
        return lambda: cast("BinaryIO", _Plain(blobs, layer, min(layer.size, _MOST_LOOKED_INTO)))

    if sum(layer.size for layer in layers) <= _MOST_LAID_OVER:
        tree = from_layers([opener(layer) for layer in layers], limits=_LOOKING, strict=False)
        files = files_in(tree)
        if files:
            return Inside("disk", files[0].file.source - 1, tree)
        return Inside("container" if tree.follow(_WORKLOAD) is None else "workload", tree=tree)
    left = _MOST_LOOKED_INTO
    for number in reversed(range(len(layers))):
        try:
            from_layers([opener(layers[number])], limits=_LOOKING, strict=False, seen=_stop_at_disk)
        except _SeenError as seen:
            return Inside("workload") if seen.path == (_WORKLOAD,) else Inside("disk", number)
        left -= layers[number].size
        if left < 0:
            break
    return Inside("unknown")


class _SeenError(Exception):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path


def _stop_at_disk(path: Path, file: File, _: Stream) -> None:
    if file.size and (path == (_WORKLOAD,) or (path[:1] == (_FOLDER,) and len(path) == 2)):
        raise _SeenError(path)


class _Plain:
    """The beginning of a layer's blob, as a file that is read once."""

    def __init__(self, blobs: BlobReader, layer: Descriptor, stop: int) -> None:
        self._stream = blobs.open_blob(layer, 0, stop)

    def read(self, amount: int = -1) -> bytes:
        return self._stream.read(STEP if amount < 0 else amount)

    def seekable(self) -> bool:
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stream.__exit__(*exc)


def fetch_container_disk(
    blobs: BlobReader, found: ResolvedDisk, plain: Partial, spools: Mapping[Digest, Partial], progress: Progress
) -> tuple[Moved, Descriptor]:
    """Fetch the layers of a container disk, and write the disk that a container would see into ``plain``.

    Args:
        blobs: where the layers are.
        found: the container disk.
        plain: becomes the disk.
        spools: keep each layer until all are verified, so that an interrupted pull resumes.
        progress: receives the work.

    Returns:
        What was moved, and the layer that holds the disk.

    Raises:
        NotFoundError: there is no disk, or there are several.
        ContentError: a layer is not what its digest pins, or its archive is damaged or a bomb.
        StorageError: there is no room.
    """
    sizes = {layer.digest: layer.size for layer in found.layers}
    kept = {digest: min(os.fstat(spool.fd).st_size, sizes[digest]) for digest, spool in spools.items()}
    for digest, spool in spools.items():
        spool.resize(kept[digest])
    while True:
        pull = _ContainerPull(blobs, found, plain, spools, progress)
        try:
            return pull.run(sum(sizes.values()) - sum(kept.values()))
        except DigestMismatch:
            layer = pull.damaged
            assert layer is not None
            # As for a disk: what was kept may be damaged, or what a mirror sent.
            if kept[layer.digest]:
                progress.note("the data kept from an interrupted pull is damaged; fetching it again")
            elif not (isinstance(blobs, Distrusting) and blobs.distrust(layer)):
                raise
            kept[layer.digest] = 0
            os.ftruncate(spools[layer.digest].fd, 0)


class _ContainerPull:
    """One attempt; arguments as for :func:`fetch_container_disk`."""

    def __init__(
        self,
        blobs: BlobReader,
        found: ResolvedDisk,
        plain: Partial,
        spools: Mapping[Digest, Partial],
        progress: Progress,
    ) -> None:
        self._blobs = blobs
        self._found = found
        self._layers = found.layers
        self._plain = plain
        self._spools = spools
        self._progress = progress
        self._written: tuple[int, int] | None = None
        """Place of the file that is in ``plain``."""
        self._writer = SparseWriter(plain.fd, 0)
        self.damaged: Descriptor | None = None

    def run(self, missing: int) -> tuple[Moved, Descriptor]:
        self._plain.require_room(missing)
        read: set[Digest] = set()
        with self._progress.task("pulling", sum({each.digest: each.size for each in self._layers}.values())) as task:

            def opener(layer: Descriptor) -> Callable[[], BinaryIO]:
                def opened() -> BinaryIO:
                    spool = self._spools[layer.digest]
                    if layer.digest in read:
                        return os.fdopen(os.dup(spool.fd), "rb", buffering=0)
                    read.add(layer.digest)
                    return cast("BinaryIO", _Spooling(self, layer, spool, self._blobs, task))

                return opened

            openers = [_rewound(opener(layer)) for layer in self._layers]
            tree = from_layers(openers, limits=_PULLING, strict=False, seen=self._seen)
        chosen = choose_file(tree, self._found.asked.title, self._found.reference)
        layer = self._layers[chosen.file.source - 1]
        if self._written != chosen.place:
            with tree.reading() as reader:
                reader.begin(chosen.file)
                self._write(chosen.file, layer, reader.fill)
        self._plain.resize(self._writer.size)
        require_size(self._found, self._writer.size)
        zero = self._writer.size - self._writer.stored
        return Moved(missing, zero=zero), layer

    def _seen(self, path: Path, file: File, stream: Stream) -> None:
        if path[:1] != (_FOLDER,) or len(path) != 2 or not file.size:
            return
        try:
            self._write(file, self._layers[file.source - 1], stream.fill)
        except InvalidRootfs:
            raise
        except ContentError:
            # It may not be the disk at all. If it is, it is read again, and this is raised then.
            self._written = None

    def _write(self, file: File, layer: Descriptor, fill: Callable[[memoryview], None]) -> None:
        os.ftruncate(self._plain.fd, 0)
        self._written = None
        self._writer = SparseWriter(self._plain.fd, layer.size)
        if file.segments is not None:
            for offset, size in file.segments:
                self._writer.skip(offset - self._writer.size)
                for piece in _Content(size, fill):
                    self._writer.write(piece)
            self._writer.skip(file.size - self._writer.size)
        else:
            content = _Content(file.size, fill)
            for piece in expand(content, sniff(content.peek())):
                self._writer.write(piece)
        self._written = file.source, file.offset


class _Content:
    """The stored bytes of a file in a layer, in order."""

    def __init__(self, size: int, fill: Callable[[memoryview], None]) -> None:
        self._left = size
        self._fill = fill
        self._ahead = b""

    def peek(self) -> bytes:
        """Return the first bytes without using them up."""
        self._ahead = self._next(16)
        return self._ahead

    def read(self, amount: int = -1, /) -> bytes:
        """Return up to ``amount`` bytes."""
        amount = STEP if amount < 0 else amount
        if self._ahead:
            data, self._ahead = self._ahead[:amount], self._ahead[amount:]
            return data + self._next(amount - len(data))
        return self._next(amount)

    def _next(self, amount: int) -> bytes:
        buffer = bytearray(min(amount, self._left, STEP))
        self._fill(memoryview(buffer))
        self._left -= len(buffer)
        return bytes(buffer)

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(STEP), b"")


class _Spooling(SpooledBlob):
    """A layer that is fetched, kept and hashed while it is read, and verified when it is closed."""

    def __init__(self, pull: _ContainerPull, layer: Descriptor, spool: Partial, blobs: BlobReader, task: Task) -> None:
        super().__init__(blobs, layer, spool, min(os.fstat(spool.fd).st_size, layer.size), task)
        self._pull = pull

    def seekable(self) -> bool:
        return False

    def __exit__(self, *exc: object) -> None:
        try:
            # Damage on the way shows as a digest mismatch, which says more than what a parser made of it.
            if exc[1] is None or isinstance(exc[1], ContentError):
                self.finish()
        except DigestMismatch:
            self._pull.damaged = self._layer
            raise
        finally:
            super().__exit__(*exc)


def _rewound(opener: Callable[[], BinaryIO]) -> Callable[[], BinaryIO]:
    """Open a file at its beginning; one that was read before shares its position with its copies."""

    def opened() -> BinaryIO:
        file = opener()
        if file.seekable():
            file.seek(0)
        return file

    return opened

"""``cw inspect``: what an image or disk of a confidential workload is, and whether it is sound."""

from __future__ import annotations

import io
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from haulout import rootfs
from haulout.content import read_blob
from haulout.errors import ContentError
from haulout.local import ScratchFile, open_regular, storage_errors
from haulout.oci import annotations as keys
from haulout.workload import binding as bindings
from haulout.workload import krun, outer
from haulout.workload.inspect.disk import check_locked, check_unlocked
from haulout.workload.inspect.findings import Findings, ImageEntry, OuterImage
from haulout.workload.source import MAX_CONFIG, find_image, layer_opener

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from haulout.oci import Manifest
    from haulout.progress import Progress
    from haulout.rootfs import Tree
    from haulout.workload.source import Image

_HEAD: Final = 17 << 20
"""Bytes kept of the beginning of a disk: no LUKS header that is accepted is longer."""
_TAIL: Final = krun.MAX_JSON + krun.TRAILER + krun.ALIGNMENT
_CHUNK: Final = 1 << 20
_SMALL: Final = frozenset({krun.CONFIG_NAME, bindings.NAME})
_HARMLESS: Final = frozenset({"Entrypoint"})
_MEMBERS: Final = 64


def inspect_disk(path: Path, passphrase: bytes | None, progress: Progress) -> Findings:
    """Inspect a disk by itself.

    Raises:
        NotFoundError: there is no such file.
        StorageError: it cannot be read.
        ContentError: it is not a disk of a confidential workload.
        WrongPassphrase: it does not open the disk.
    """
    with disk_of_file(path) as found:
        if passphrase is not None:
            check_unlocked(found.disk, passphrase, found.findings, progress)
    return found.findings


def inspect_image(image: Image, passphrase: bytes | None, progress: Progress) -> Findings:
    """Inspect an image; every byte of its layers is read and verified.

    Raises:
        NotFoundError: there is no such image.
        ContentError: it is not an image of a confidential workload, or damaged.
        WrongPassphrase: it does not open the disk.
    """
    with disk_of_image(image, progress, whole=passphrase is not None) as found:
        if passphrase is not None and found.disk is not None:
            check_unlocked(found.disk, passphrase, found.findings, progress)
    return found.findings


@dataclass(frozen=True)
class FileDisk:
    """A disk by itself, open, its locked part checked."""

    findings: Findings
    disk: BinaryIO


@dataclass(frozen=True)
class ImageDisk:
    """The disk of an image, open, its locked part checked.

    Attributes:
        disk: None where there is none, which the findings say.
        manifest: of the image.
        config: the image's configuration, as it is stored.
        tree: what its layers hold.
    """

    findings: Findings
    disk: BinaryIO | None
    manifest: Manifest
    config: bytes
    tree: Tree


@contextmanager
def disk_of_file(path: Path) -> Iterator[FileDisk]:
    """Open a disk by itself; raises as :func:`inspect_disk`."""
    findings = Findings()
    # Not Path.open: a pipe of that name would hold everything up.
    with open_regular(path) as fd, storage_errors(path), os.fdopen(fd, "rb", closefd=False) as file:
        check_locked(file, path.name, findings)
        if {"luks-missing", "footer-magic"} <= {one.rule for one in findings.broken}:
            raise ContentError(
                f"{path} is not a disk of a confidential workload: it has neither a LUKS header nor a footer",
                hint="name a disk.img, or an image: oci:DIR:TAG or HOST/NAME:TAG",
            )
        yield FileDisk(findings, file)


@contextmanager
def disk_of_image(image: Image, progress: Progress, *, whole: bool) -> Iterator[ImageDisk]:
    """Open the disk of an image; raises as :func:`inspect_image`.

    Args:
        image: the image.
        progress: receives the progress of reading it.
        whole: whether its payload is needed: else only its ends are there.
    """
    manifest = find_image(image, "amd64", "arm64", kind="confidential image")
    data = read_blob(image.store, manifest.config, MAX_CONFIG, "the image's configuration")
    tree = rootfs.from_layers([layer_opener(image.store, layer) for layer in manifest.layers], strict=False)
    if not isinstance(tree.find(krun.DISK_NAME), rootfs.File) and tree.find(krun.CONFIG_NAME) is None:
        raise ContentError(
            f"{image} is not a confidential image: it holds neither {krun.DISK_NAME} nor {krun.CONFIG_NAME}",
            hint=f"haulout cw build {image} DEST makes one of it",
        )
    findings = Findings(outer=_outer(image, data, tree))
    with ExitStack() as stack:
        small, disk = _contents(tree, stack, progress, whole=whole)
        beside = small.get(krun.CONFIG_NAME)
        if beside is None:
            findings.breaks("json-missing", f"there is no {krun.CONFIG_NAME} in the image")
        _bindings(findings, small.get(bindings.NAME), manifest)
        if disk is None:
            findings.breaks("disk-missing", f"there is no {krun.DISK_NAME} in the image")
        else:
            check_locked(disk, krun.DISK_NAME, findings, beside)
        yield ImageDisk(findings, disk, manifest, data, tree)


def _outer(image: Image, data: bytes, tree: Tree) -> OuterImage:
    values = outer.parse_config(data, "the image's configuration")
    found = OuterImage(image.store.manifest(image.selector).descriptor.digest)
    found.architecture = str(values.get("architecture", ""))[:40]
    created = values.get("created")
    found.created = created[:40] if isinstance(created, str) else None
    members = [
        ImageEntry(path.decode("utf-8", "replace"), node.mode, node.size if isinstance(node, rootfs.File) else 0)
        for path, node in tree.walk()
        if path
    ]
    found.members = tuple(members[:_MEMBERS])
    found.leaks = tuple(_leaks(values))
    return found


def _leaks(values: dict[str, Any]) -> list[str]:
    """List what the outer configuration may have from the image inside."""
    config = values.get("config")
    inside = config if isinstance(config, dict) else {}
    found = [
        f"{name} ({len(value)})" if isinstance(value, list | dict) else name
        for name, value in inside.items()
        if name not in _HARMLESS and value
    ]
    history = values.get("history")
    if isinstance(history, list):
        lines = [str(one.get("created_by", "")) for one in history if isinstance(one, dict)]
        named = [line for line in lines if not line.startswith(outer.CREATED_BY)]
        found += [f"history ({len(named)})"] if named else []
    if values.get("author"):
        found.append("author")
    return found


def _bindings(findings: Findings, beside: bytes | None, manifest: Manifest) -> None:
    noted = manifest.annotations.get(keys.WORKLOAD)
    findings.measurement = manifest.annotations.get(outer.MEASUREMENT)
    data = beside if beside is not None else noted.encode() if noted is not None else None
    if data is None:
        return
    with findings.judging():
        findings.binding = bindings.Binding.parse(data)
    if beside is not None and noted is not None and noted.encode() != beside:
        findings.breaks("binding-differs", f"{bindings.NAME} differs from the annotation of the manifest")


def _contents(
    tree: Tree, stack: ExitStack, progress: Progress, *, whole: bool
) -> tuple[dict[str, bytes], BinaryIO | None]:
    """Read what is inspected in one pass: small files, and of the disk its ends, or all of it into an unlinked file."""
    wanted = [
        (name, node)
        for name in (*sorted(_SMALL), krun.DISK_NAME)
        if isinstance(node := tree.find(name), rootfs.File) and node.segments is None
    ]
    small: dict[str, bytes] = {}
    disk: BinaryIO | None = None
    with tree.reading() as reader:
        for name, node in sorted(wanted, key=lambda one: (one[1].source, one[1].offset)):
            reader.begin(node)
            if name in _SMALL:
                data = bytearray(min(node.size, krun.MAX_JSON + 1))
                reader.fill(memoryview(data))
                small[name] = bytes(data)
                continue
            with progress.task("reading the disk", node.size) as task:
                kept = stack.enter_context(ScratchFile("the disk", "it")) if whole else _Ends(node.size)
                buffer = memoryview(bytearray(_CHUNK))
                done = 0
                while done < node.size:
                    part = buffer[: min(_CHUNK, node.size - done)]
                    reader.fill(part)
                    kept.append(part)
                    done += len(part)
                    task.advance(len(part))
            disk = stack.enter_context(kept.opened())
    return small, disk


class _Ends(io.RawIOBase):
    """A disk of which only both ends are kept; between them are zeros, which no check reads."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._head = bytearray()
        self._tail = bytearray()
        self._position = 0

    def append(self, part: memoryview) -> None:
        room = _HEAD - len(self._head)
        if room > 0:
            self._head += part[:room]
        self._tail += part
        if len(self._tail) > 2 * _TAIL:
            del self._tail[:-_TAIL]

    def opened(self) -> BinaryIO:
        return cast("BinaryIO", self)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + (self._size if whence == os.SEEK_END else 0)
        return self._position

    def read(self, amount: int = -1) -> bytes:
        amount = max(0, min(amount, self._size - self._position))
        start, stop = self._position, self._position + amount
        behind = self._size - len(self._tail)
        if start >= behind:
            data = bytes(self._tail[start - behind : stop - behind])
        else:
            data = bytes(self._head[start:stop]).ljust(amount, b"\0")
        self._position = stop
        return data

"""The disk of a confidential image as a file, with what stands beside it: what a machine is started with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout import rootfs
from haulout.errors import ContentError
from haulout.local import read_small, replacing, storage_errors
from haulout.workload import binding as bindings
from haulout.workload import krun
from haulout.workload.source import find_image, layer_opener

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.progress import Progress
    from haulout.workload.binding import Binding
    from haulout.workload.source import Image

_CHUNK: Final = 1 << 20
_SMALL: Final = (krun.CONFIG_NAME, bindings.NAME)


@dataclass(frozen=True, slots=True)
class UnpackedDisk:
    """A disk, and what is known of it without its passphrase.

    Attributes:
        disk: the file.
        binding: of the workload.
        config: what libkrun reads.
    """

    disk: Path
    binding: Binding
    config: krun.WorkloadConfig


def unpack_disk(image: Image, folder: Path, progress: Progress) -> UnpackedDisk:
    """Write the disk of an image, its binding and ``krun-sev.json`` into a folder.

    Raises:
        NotFoundError: there is no such image.
        ContentError: it is not an image of a confidential workload, or has no binding.
        StorageError: the file system refuses.
    """
    manifest = find_image(image, "amd64", "arm64", kind="confidential image")
    tree = rootfs.from_layers([layer_opener(image.store, layer) for layer in manifest.layers], strict=False)
    found = {name: node for name in (*_SMALL, krun.DISK_NAME) if isinstance(node := tree.find(name), rootfs.File)}
    for name in (*_SMALL, krun.DISK_NAME):
        if name not in found:
            raise ContentError(
                f"{image} cannot be run: there is no {name} in it", hint="haulout cw build makes such images"
            )
    with storage_errors(folder), tree.reading() as reader:
        folder.mkdir(parents=True, exist_ok=True)
        for name, node in sorted(found.items(), key=lambda one: (one[1].source, one[1].offset)):
            reader.begin(node)
            with progress.task(f"unpacking {name}", node.size) as task, replacing(folder / name, durable=False) as file:
                buffer, left = memoryview(bytearray(_CHUNK)), node.size
                while left:
                    part = buffer[: min(_CHUNK, left)]
                    reader.fill(part)
                    file.write(part)
                    left -= len(part)
                    task.advance(len(part))
    return unpacked_disk(folder)


def unpacked_disk(folder: Path) -> UnpackedDisk:
    """Read a folder that an image was unpacked into.

    Raises:
        NotFoundError: a file is missing.
        InvalidWorkload: the binding or ``krun-sev.json`` cannot be read.
    """
    disk = folder / krun.DISK_NAME
    config, binding = (read_small(folder / name, krun.MAX_JSON) for name in _SMALL)
    if not disk.is_file():
        raise ContentError(
            f"there is no {krun.DISK_NAME} in {folder}", hint="name an image, or a folder that cw run --unpack made"
        )
    return UnpackedDisk(disk, bindings.Binding.parse(binding), krun.WorkloadConfig.parse(config, krun.CONFIG_NAME))

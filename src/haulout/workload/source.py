"""What a workload is made of: an image's layers and its configuration, or a folder."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from haulout.content import VerifiedFile, VerifiedReader, read_blob
from haulout.errors import ContentError, NotFoundError
from haulout.oci import Descriptor, Index, Manifest, json, mediatype
from haulout.workload import outer, rootfs
from haulout.workload.scratch import ScratchFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from haulout.content import BlobReader, Store
    from haulout.oci import Digest
    from haulout.progress import Progress

MAX_CONFIG: Final = 4 << 20
_READ: Final = 1 << 20


@dataclass(frozen=True)
class Root:
    """A root file system, and the image configuration that goes into it."""

    tree: rootfs.Tree
    config: bytes = field(repr=False)


def from_folder(folder: Path, goarch: str) -> Root:
    """Take a folder. Its image configuration names the architecture and nothing else.

    Raises:
        InvalidRootfs: something in it cannot be in a root file system.
        StorageError: it cannot be read.
    """
    config = {"architecture": goarch, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}
    return Root(rootfs.from_folder(folder), json.dumps(config))


@contextmanager
def from_image(store: Store, selector: str | Digest, goarch: str, progress: Progress, *, hold: bool) -> Iterator[Root]:
    """Take an image; its layers are read twice, and every byte is verified each time.

    Args:
        store: where it is.
        selector: tag or digest.
        goarch: which of the images of an index.
        progress: told of the layers fetched.
        hold: fetch the layers once, as they are, into unlinked files of ``$TMPDIR``: for stores across a network.

    Raises:
        NotFoundError: no such image, or none for the architecture.
        ContentError: it is no container image, or not what it claims to be.
        InvalidRootfs: its layers make no root file system.
    """
    manifest = find_image(store, selector, goarch)
    config = read_blob(store, manifest.config, MAX_CONFIG, "the image's configuration")
    _require_architecture(config, goarch, str(selector))
    with ExitStack() as stack:
        openers = [_opener(store, layer, stack, progress, hold=hold) for layer in manifest.layers]
        yield Root(rootfs.from_layers(openers), config)


def _require_architecture(config: bytes, goarch: str, what: str) -> None:
    """Refuse an image that the guest cannot run; one that names no architecture is believed, as engines believe it."""
    found = outer.parse_config(config, "the image's configuration").get("architecture")
    if found and found != goarch:
        raise ContentError(
            f"{what} is for {str(found)[:40]}, and the guest runs {goarch}",
            hint="name an image for it, or another --type: cca is for arm64, the others for amd64",
        )


def find_image(store: Store, selector: str | Digest, goarch: str) -> Manifest:
    """Find the container image of an architecture.

    Raises:
        NotFoundError: there is none.
        ContentError: what is there is no container image.
    """
    stored = store.manifest(selector)
    found = stored.parse(f"manifest {stored.descriptor.digest.short}")
    if isinstance(found, Index):
        entries = [one for one in found.manifests if _is_for(one, goarch)]
        if not entries:
            there = sorted({str(one.platform) for one in found.manifests if one.platform is not None})
            raise NotFoundError(
                f"{selector} holds no image for linux/{goarch}",
                hint=f"there are {', '.join(there[:8])}" if there else None,
            )
        stored = store.manifest(entries[0].digest)
        found = stored.parse(f"manifest {stored.descriptor.digest.short}")
    if not isinstance(found, Manifest) or not found.is_container:
        raise ContentError(
            f"{selector} is no container image", hint="its configuration is of another type; name an image with a root"
        )
    return found


def _is_for(entry: Descriptor, goarch: str) -> bool:
    platform = entry.platform
    if entry.is_index or platform is None or platform.os not in {"linux", ""}:
        return False
    known = platform.known_architecture
    return known is not None and known.go == goarch and not platform.is_kernel_named


def _opener(
    store: BlobReader, layer: Descriptor, stack: ExitStack, progress: Progress, *, hold: bool
) -> Callable[[], BinaryIO]:
    fresh = layer_opener(store, layer)
    if not hold:
        return fresh
    aside = stack.enter_context(ScratchFile("a layer", "the image's layers"))
    with progress.task(f"fetching layer {layer.digest.short}", layer.size) as task, fresh() as stream:
        while chunk := stream.read(_READ):
            aside.append(chunk)
            task.advance(len(chunk))
    return aside.opened


def layer_opener(store: BlobReader, layer: Descriptor) -> Callable[[], BinaryIO]:
    """Return what opens a layer's blob at its beginning, each time anew."""
    return lambda: cast("BinaryIO", _Layer(store, layer))


class _Layer(VerifiedFile):
    """A layer's blob, read to its end before it is closed: only then is it known to be the right one."""

    def __init__(self, store: BlobReader, layer: Descriptor) -> None:
        what = f"layer {layer.digest.short}"
        if layer.media_type == mediatype.OCI_EMPTY:
            raise ContentError(f"{what} is no layer of a root file system")
        super().__init__(VerifiedReader(store.open_blob(layer), layer, what))

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                while self.read(_READ):
                    pass
        finally:
            self.close()


def added_file(text: str) -> tuple[str, str]:
    """Read ``SRC[:DST]``; without DST it gets the path that it has here."""
    source, colon, target = text.rpartition(":")
    if not colon or not source:
        return text, os.path.abspath(text)  # noqa: PTH100 - a name, not a file
    return source, target

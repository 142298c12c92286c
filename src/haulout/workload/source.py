"""What a workload is made of: an image's layers and its configuration, or a folder."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from haulout import rootfs
from haulout.content import VerifiedFile, VerifiedReader, read_blob
from haulout.errors import ContentError, NotFoundError
from haulout.local import ScratchFile
from haulout.oci import Descriptor, Index, Manifest, json, mediatype
from haulout.oci import annotations as keys
from haulout.workload import outer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from haulout.content import BlobReader, Store
    from haulout.oci import Digest, Reference
    from haulout.progress import Progress

MAX_CONFIG: Final = 4 << 20
_READ: Final = 1 << 20


@dataclass(frozen=True)
class Image:
    """A container image, in an open store."""

    store: Store
    reference: Reference

    @property
    def selector(self) -> str | Digest:
        """Digest or tag."""
        return self.reference.selector

    def __str__(self) -> str:
        return str(self.reference)


@dataclass(frozen=True)
class Root:
    """A root file system, and the image configuration that goes into it."""

    tree: rootfs.Tree
    config: bytes = field(repr=False)


def root_of_folder(folder: Path, goarch: str) -> Root:
    """Take a folder. Its image configuration names the architecture and nothing else.

    Raises:
        InvalidRootfs: something in it cannot be part of a root file system.
        StorageError: it cannot be read.
    """
    config = {"architecture": goarch, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}
    return Root(rootfs.from_folder(folder), json.dumps(config))


@contextmanager
def root_of_image(image: Image, goarch: str, progress: Progress, *, hold: bool) -> Iterator[Root]:
    """Take an image; its layers are read twice, and every byte is verified each time.

    Args:
        image: an image, or an index of images.
        goarch: which of the images of an index.
        progress: receives the progress of fetching layers.
        hold: fetch the layers once, as they are, into unlinked files of ``$TMPDIR``: for stores across a network.

    Raises:
        NotFoundError: there is no such image, or none for the architecture.
        ContentError: it is not a container image, or not what it claims to be.
        InvalidRootfs: its layers do not make a root file system.
    """
    manifest = find_image(image, goarch)
    config = read_blob(image.store, manifest.config, MAX_CONFIG, "the image's configuration")
    # An image that names no architecture is believed, as engines believe it.
    found = outer.parse_config(config, "the image's configuration").get("architecture")
    if found and found != goarch:
        raise ContentError(
            f"{image} is for {str(found)[:40]}, but the guest runs {goarch}",
            hint="name an image for it, or another --type: cca is for arm64, the others for amd64",
        )
    with ExitStack() as stack:
        openers = [_opener(image.store, layer, stack, progress, hold=hold) for layer in manifest.layers]
        # Every byte is verified by digest: a layer that ends early was published so, and engines accept it.
        yield Root(rootfs.from_layers(openers, strict=False, note=progress.note), config)


def find_image(image: Image, *goarchs: str, kind: str = "container image") -> Manifest:
    """Find the container image of an architecture.

    Args:
        image: an image, or an index of images.
        goarchs: architectures, as Go names them; the first that an index has is taken.
        kind: what is looked for, for errors.

    Raises:
        NotFoundError: there is none.
        ContentError: what is there is not a container image.
    """
    stored = image.store.manifest(image.selector)
    found = stored.parse(f"manifest {stored.descriptor.digest.short}")
    if isinstance(found, Index):
        entry = next((one for goarch in goarchs for one in found.manifests if _is_for(one, goarch)), None)
        if entry is None:
            raise _none_for(image, found, goarchs, kind)
        stored = image.store.manifest(entry.digest)
        found = stored.parse(f"manifest {stored.descriptor.digest.short}")
    if not isinstance(found, Manifest) or not found.is_container:
        if isinstance(found, Manifest) and found.artifact_type == mediatype.DISK_ARTIFACT:
            raise ContentError(f"{image} is a disk, not a {kind}", hint=f"haulout inspect {image} shows it")
        raise ContentError(f"{image} is not a container image", hint="name an image with a root file system")
    return found


def _none_for(image: Image, index: Index, goarchs: tuple[str, ...], kind: str) -> NotFoundError:
    if any(keys.DISKTYPE in one.annotations for one in index.manifests):
        return NotFoundError(f"{image} holds disks, not a {kind}", hint=f"haulout inspect {image} lists them")
    there = sorted({str(one.platform) for one in index.manifests if one.platform is not None})
    wanted = " or ".join(f"linux/{goarch}" for goarch in goarchs)
    hint = f"it holds images for {', '.join(there[:8])}" if there else None
    return NotFoundError(f"{image} holds no image for {wanted}", hint=hint)


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
            raise ContentError(f"{what} is not a layer of a root file system")
        super().__init__(VerifiedReader(store.open_blob(layer), layer, what))

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                while self.read(_READ):
                    pass
        finally:
            self.close()

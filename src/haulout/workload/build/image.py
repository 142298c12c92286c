"""From a root file system to an encrypted image in a store, in one pass."""

from __future__ import annotations

import io
import os
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from haulout.content import VerifiedFile, VerifiedReader, read_blob
from haulout.errors import UsageError
from haulout.oci import Descriptor, mediatype
from haulout.workload import binding as bindings
from haulout.workload import ext4, krun, luks, outer
from haulout.workload.build import entrypoint
from haulout.workload.build.disk import SALT_BYTES, Disk
from haulout.workload.source import MAX_CONFIG, find_image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, BinaryIO

    from haulout.content import Ingest, Store
    from haulout.progress import Progress
    from haulout.rootfs import Tree
    from haulout.workload.binding import Binding
    from haulout.workload.source import Image, Root

DEFAULT_SLOP: Final = "25%"
_NANO: Final = 1_000_000_000
_BLOCK: Final = 4096
_SMALLEST: Final = 10 << 20
"""Bytes of the smallest file system made, as by mkcw."""
_LARGEST: Final = 1 << 44
"""16 TiB: what ext4 holds in blocks of 4096 bytes with numbers of 32 bits."""
_PERCENT = re.compile(r"(\d{1,9})%")
_AMOUNT = re.compile(r"(\d{1,15})\s*([kmgt]?)(i?b)?", re.IGNORECASE)
_UNITS: Final = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


@dataclass(frozen=True)
class ImageSpec:
    """What an image is to be.

    Attributes:
        config: what libkrun reads.
        created: seconds since 1970, for everything that bears a time.
        slop: room left in the root; see :func:`size_with`.
        added: path in the root and content of files added to it.
        chain: SEV's certificate chain.
        broker_key: SubjectPublicKeyInfo of the broker.
        measurement: the expected launch measurement, where it is known.
    """

    config: krun.WorkloadConfig
    created: int
    slop: str = DEFAULT_SLOP
    added: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    chain: bytes | None = field(default=None, repr=False)
    broker_key: bytes | None = None
    measurement: bytes | None = None


@dataclass(frozen=True)
class DiskSizes:
    """The disk of an image: bytes of it, of the file system in it, of the files in that, and its UUID."""

    size: int
    file_system_size: int
    content_size: int
    luks_uuid: str


@dataclass(frozen=True)
class BuiltImage:
    """What was built."""

    manifest: Descriptor
    layer: Descriptor
    binding: Binding
    disk: DiskSizes


def build_image(  # noqa: PLR0913 - each is one word of the request
    root: Root,
    spec: ImageSpec,
    passphrase: bytes,
    store: Store,
    tag: str,
    *,
    progress: Progress,
    before: Callable[[Binding], None],
    base: Image | None = None,
    iteration_ms: int = 1000,
) -> BuiltImage:
    """Build an image and put it under a tag, as the last step; until then the tag is as it was.

    Args:
        root: what goes into the encrypted disk.
        spec: what the image is to be.
        passphrase: of the disk.
        store: where the image goes. The disk is written straight into it; plain bytes are written nowhere.
        tag: its name there.
        progress: receives the progress of the work.
        before: called with the binding when everything but the tag is there: by its end, the passphrase is kept.
        base: an image whose layers go below ours.
        iteration_ms: how long trying a passphrase takes.

    Raises:
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    tee = spec.config.tee
    lower = _copy_base(base, tee.goarch, store, progress) if base is not None else _Base((), None)
    tree = _complete(root, spec)
    plan = _plan(tree, spec)
    volume = luks.create(passphrase, iteration_ms=iteration_ms)
    disk = Disk(volume, plan.size, spec.config.to_bytes(), os.urandom(SALT_BYTES))
    with store.ingest() as sink:
        binding = _write_layer(disk, plan, spec, sink, progress)
        with progress.task("storing the layer", disk.size) as task:
            layer = sink.commit(outer.LAYER, task)
    config = outer.config(tee.goarch, layer, str(tee), spec.created, lower.config)
    described = Descriptor.of(mediatype.OCI_CONFIG, config)
    store.push_blob(described, lambda: io.BytesIO(config))
    measured = None if spec.measurement is None else (str(tee), spec.measurement)
    manifest = outer.manifest(described, (*lower.layers, layer), binding, measured)
    before(binding)
    pushed = store.push_manifest(manifest.to_bytes(), manifest.media_type, tag)
    sizes = DiskSizes(disk.size, plan.size, tree.content_size(), str(volume.layout.uuid))
    return BuiltImage(pushed, layer, binding, sizes)


def _complete(root: Root, spec: ImageSpec) -> Tree:
    now = spec.created * _NANO
    tree, top = root.tree, root.tree.root
    for path, data in spec.added:
        if ".." in path.split("/"):
            raise UsageError(
                f"{path[:100]!r} leads out of the root", hint="name a place inside: --add-file SRC:/etc/motd"
            )
        tree = tree.with_file(path, data, uid=top.uid, gid=top.gid, mtime=now)
    return tree.with_file(krun.INNER_CONFIG, root.config, mode=0o600, mtime=now)


def _plan(tree: Tree, spec: ImageSpec) -> ext4.Plan:
    identity = uuid.uuid4()
    least = ext4.plan(tree, size=None, uuid=identity, now=spec.created).size
    # mkcw starts from the bytes of the files; what the file system itself needs comes on top here, so that it fits.
    return ext4.plan(tree, size=size_with(least, spec.slop), uuid=identity, now=spec.created)


def size_with(content: int, slop: str = DEFAULT_SLOP) -> int:
    """Return the size of a file system in bytes: how much larger than its content it is made, mkcw's ``--slop``.

    Args:
        content: bytes that its content needs.
        slop: terms with ``+`` between them, applied one after the other: ``N%`` of what there is by then, or an amount
            such as ``100MB`` (units are binary, as in mkcw).

    Raises:
        UsageError: a term is neither, or the result is larger than ext4 can be.
    """
    size = content
    for term in filter(None, (part.strip() for part in slop.split("+"))):
        if found := _PERCENT.fullmatch(term):
            size = size * (100 + int(found[1])) // 100
        elif found := _AMOUNT.fullmatch(term):
            size += int(found[1]) << _UNITS[found[2].lower()]
        else:
            raise UsageError(
                f"{term[:40]!r} is not a percentage or size", hint="for example: --slop 25% or --slop 10%+100MB"
            )
    size = -(-max(size, _SMALLEST) // _BLOCK) * _BLOCK
    if size > _LARGEST:
        raise UsageError(f"an ext4 of {size} bytes would be larger than 16 TiB", hint="use a smaller --slop")
    return size


def _write_layer(disk: Disk, plan: ext4.Plan, spec: ImageSpec, sink: Ingest, progress: Progress) -> Binding:
    """Write our layer in mkcw's order, and the binding, which is known last, behind."""
    now = spec.created

    def put(name: str, data: bytes, mode: int) -> None:
        sink.write(outer.member(name, len(data), mode, now) + outer.padded(data))

    put(krun.ENTRYPOINT_NAME, entrypoint.program(spec.config.tee.goarch), 0o755)
    if spec.chain is not None:
        put(krun.CHAIN_NAME, spec.chain, 0o600)
    put(krun.CONFIG_NAME, disk.document, 0o600)
    sink.write(outer.folder(krun.TEMPORARY_NAME, 0o1777, now))
    sink.write(outer.member(krun.DISK_NAME, disk.size, 0o600, now))
    with progress.task("encrypting", plan.size) as task:
        hashes = disk.write(ext4.stream(plan), sink, task)
    # A disk is a multiple of 4096 bytes, so nothing pads it.
    binding = disk.binding(hashes, spec.config.workload_id, spec.broker_key)
    put(bindings.NAME, binding.to_bytes(), 0o600)
    sink.write(outer.END)
    return binding


@dataclass(frozen=True)
class _Base:
    """What a base image contributes."""

    layers: Sequence[Descriptor]
    config: dict[str, Any] | None


def _copy_base(base: Image, goarch: str, target: Store, progress: Progress) -> _Base:
    """Copy a base image's layers and read its configuration."""
    manifest = find_image(base, goarch)
    data = read_blob(base.store, manifest.config, MAX_CONFIG, "the base image's configuration")
    for layer in manifest.layers:
        if layer.media_type == mediatype.OCI_EMPTY:
            continue

        def opened(layer: Descriptor = layer) -> BinaryIO:
            reader = VerifiedReader(base.store.open_blob(layer), layer, f"layer {layer.digest.short}")
            return io.BufferedReader(VerifiedFile(reader))

        with progress.task(f"copying layer {layer.digest.short}", layer.size) as task:
            target.push_blob(layer, opened, task)
    return _Base(tuple(_as_oci(layer) for layer in manifest.layers), outer.parse_config(data, "the base image"))


def _as_oci(layer: Descriptor) -> Descriptor:
    """Name a Docker layer as OCI names it."""
    names = {"application/vnd.docker.image.rootfs.diff.tar.gzip": f"{outer.LAYER}+gzip"}
    return Descriptor(names.get(layer.media_type, layer.media_type), layer.digest, layer.size)

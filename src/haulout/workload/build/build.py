"""``cw build``: from a root file system to an encrypted image in a store, in one pass."""

from __future__ import annotations

import io
import os
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from haulout.workload import binding as bindings
from haulout.workload import ext4
from haulout.workload import krun
from haulout.workload import luks
from haulout.workload import outer
from haulout.workload.build import entrypoint
from haulout.workload.build import slop
from haulout.workload.build.disk import SALT_BYTES, Disk
from haulout.workload.source import MAX_CONFIG, find_image
from haulout.content import VerifiedFile, VerifiedReader, read_blob
from haulout.errors import UsageError
from haulout.oci import Descriptor, mediatype

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, BinaryIO

    from haulout.workload.binding import Binding
    from haulout.workload.rootfs import Tree
    from haulout.workload.source import Root
    from haulout.content import Ingest, Store
    from haulout.oci import Digest
    from haulout.progress import Progress

_NANO: Final = 1_000_000_000


@dataclass(frozen=True)
class Request:
    """What is wanted.

    Attributes:
        config: what libkrun reads.
        created: seconds since 1970, for everything that bears a time.
        slop: room left in the root; see :mod:`.slop`.
        added: path in the root and content of files added to it.
        chain: SEV's certificate chain.
        broker_key: SubjectPublicKeyInfo of the broker.
        measurement: the expected launch measurement, where it is known.
    """

    config: krun.WorkloadConfig
    created: int
    slop: str = slop.DEFAULT
    added: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    chain: bytes | None = field(default=None, repr=False)
    broker_key: bytes | None = None
    measurement: bytes | None = None


@dataclass(frozen=True)
class Base:
    """An image whose layers go below ours."""

    store: Store
    selector: str | Digest


@dataclass(frozen=True)
class Built:
    """What was built."""

    manifest: Descriptor
    layer: Descriptor
    binding: Binding
    disk_size: int
    file_system_size: int
    content_size: int
    luks_uuid: str


def build(  # noqa: PLR0913 - each is one word of the request
    root: Root,
    request: Request,
    passphrase: bytes,
    store: Store,
    tag: str,
    *,
    progress: Progress,
    before: Callable[[Binding], None],
    base: Base | None = None,
    iteration_ms: int = 1000,
) -> Built:
    """Build an image and put it under a tag, as the last step; until then the tag is as it was.

    Args:
        root: what goes into the encrypted disk.
        request: how.
        passphrase: of the disk.
        store: where the image goes. The disk is written straight into it; plain bytes are written nowhere.
        tag: its name there.
        progress: told of the work.
        before: called with the binding when everything but the tag is there: by its end, the passphrase is kept.
        base: an image whose layers go below ours.
        iteration_ms: how long trying a passphrase takes.

    Raises:
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    goarch = request.config.tee.goarch
    lower = _Base.copy(base, goarch, store, progress) if base is not None else _Base((), None)
    tree = _complete(root, request)
    plan = _plan(tree, request)
    volume = luks.create(passphrase, iteration_ms=iteration_ms)
    disk = Disk(volume, plan.size, request.config.to_bytes(), os.urandom(SALT_BYTES))
    with store.ingest() as sink:
        binding = _write_layer(disk, plan, request, sink, progress)
        with progress.task("storing the layer", disk.size) as task:
            layer = sink.commit(outer.LAYER, task)
    config = outer.config(goarch, layer, str(request.config.tee), request.created, lower.config)
    described = outer.describe_config(config)
    store.push_blob(described, lambda: io.BytesIO(config))
    measured = None if request.measurement is None else (str(request.config.tee), request.measurement)
    manifest = outer.manifest(described, (*lower.layers, layer), binding, measured)
    before(binding)
    pushed = store.push_manifest(manifest.to_bytes(), manifest.media_type, tag)
    return Built(pushed, layer, binding, disk.size, plan.size, tree.content_size(), str(volume.layout.uuid))


def _complete(root: Root, request: Request) -> Tree:
    now = request.created * _NANO
    top = root.tree.root
    tree = root.tree
    for path, data in request.added:
        if ".." in path.split("/"):
            raise UsageError(
                f"{path[:100]!r} leads out of the root", hint="name a place inside: --add-file SRC:/etc/motd"
            )
        tree = tree.with_file(path, data, uid=top.uid, gid=top.gid, mtime=now)
    return tree.with_file(krun.INNER_CONFIG, root.config, mode=0o600, mtime=now)


def _plan(tree: Tree, request: Request) -> ext4.Plan:
    identity = uuid.uuid4()
    least = ext4.plan(tree, size=None, uuid=identity, now=request.created).size
    # mkcw starts from the bytes of the files; what the file system itself needs comes on top here, so that it fits.
    return ext4.plan(tree, size=slop.size_with(least, request.slop), uuid=identity, now=request.created)


def _write_layer(disk: Disk, plan: ext4.Plan, request: Request, sink: Ingest, progress: Progress) -> Binding:
    """Write our layer in mkcw's order, and the binding, which is known last, behind."""
    now = request.created
    document = disk.document

    def put(name: str, data: bytes, mode: int) -> None:
        sink.write(outer.member(name, len(data), mode, now) + outer.padded(data))

    put(krun.ENTRYPOINT_NAME, entrypoint.program(request.config.tee.goarch), 0o755)
    if request.chain is not None:
        put(krun.CHAIN_NAME, request.chain, 0o600)
    put(krun.CONFIG_NAME, document, 0o600)
    sink.write(outer.folder(krun.TEMPORARY_NAME, 0o1777, now))
    sink.write(outer.member(krun.DISK_NAME, disk.size, 0o600, now))
    with progress.task("encrypting", plan.size) as task:
        hashes = disk.write(ext4.stream(plan), sink, task)
    # A disk is a multiple of 4096 bytes, so nothing pads it.
    binding = disk.binding(hashes, request.config.workload_id, request.broker_key)
    put(bindings.NAME, binding.to_bytes(), 0o600)
    sink.write(outer.END)
    return binding


@dataclass(frozen=True)
class _Base:
    """What a base image contributes."""

    layers: Sequence[Descriptor]
    config: dict[str, Any] | None

    @classmethod
    def copy(cls, base: Base, goarch: str, target: Store, progress: Progress) -> _Base:
        """Copy a base image's layers and read its configuration."""
        manifest = find_image(base.store, base.selector, goarch)
        data = read_blob(base.store, manifest.config, MAX_CONFIG, "the base image's configuration")
        for layer in manifest.layers:
            if layer.media_type == mediatype.OCI_EMPTY:
                continue

            def opened(layer: Descriptor = layer) -> BinaryIO:
                reader = VerifiedReader(base.store.open_blob(layer), layer, f"layer {layer.digest.short}")
                return io.BufferedReader(VerifiedFile(reader))

            with progress.task(f"copying layer {layer.digest.short}", layer.size) as task:
                target.push_blob(layer, opened, task)
        return cls(tuple(_as_oci(layer) for layer in manifest.layers), outer.parse_config(data, "the base image"))


def _as_oci(layer: Descriptor) -> Descriptor:
    """Name a Docker layer as OCI names it."""
    names = {"application/vnd.docker.image.rootfs.diff.tar.gzip": f"{outer.LAYER}+gzip"}
    return Descriptor(names.get(layer.media_type, layer.media_type), layer.digest, layer.size)

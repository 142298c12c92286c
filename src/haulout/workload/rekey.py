"""Another passphrase, or another key, for the disk of an image; everything else of the image stays as it is.

The layer is copied as a stream, in which the LUKS header and the binding, which names its digest, are replaced; with a
new key the payload is encrypted anew on the way. Plain bytes exist only in memory.
"""

from __future__ import annotations

import io
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from haulout import rootfs
from haulout.content import VerifiedFile, VerifiedReader
from haulout.errors import ContentError, InvalidWorkload, UsageError
from haulout.local import replacing, storage_errors
from haulout.oci import Descriptor, Digest, json
from haulout.oci import annotations as keys
from haulout.workload import binding as bindings
from haulout.workload import krun, luks, outer, verity
from haulout.workload.ext4 import reader as ext4
from haulout.workload.inspect.inspection import disk_of_file, disk_of_image
from haulout.workload.source import layer_opener

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO, Protocol

    from haulout.content import Store
    from haulout.progress import Progress, Task
    from haulout.workload.binding import Binding
    from haulout.workload.inspect.findings import Findings
    from haulout.workload.inspect.inspection import ImageDisk
    from haulout.workload.source import Image

    class Sink(Protocol):
        """What is written to."""

        def write(self, data: bytes, /) -> object:
            """Append bytes."""


Before: TypeAlias = "Callable[[Binding | None, krun.Tee | None], None]"
"""Is called with the new binding, if there is one, and the TEE, before the last step."""
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Rekey:
    """What to change.

    Attributes:
        passphrase: the one that opens the disk now.
        new: the one that opens it from then on, in the same slot.
        reencrypt: whether the disk gets another master key and all of it is encrypted anew: without, who has the old
            passphrase and an old copy of the header can open the new disk as well.
        iteration_ms: how long trying a passphrase takes.
    """

    passphrase: bytes = field(repr=False)
    new: bytes = field(repr=False)
    reencrypt: bool = False
    iteration_ms: int = 1000


@dataclass(frozen=True)
class Rekeyed:
    """What was changed.

    Attributes:
        manifest: the image's; None for a disk by itself.
        before, header: SHA-256 of the LUKS header as it was, and as it is.
        binding: the new one; None where the image has none.
    """

    manifest: Descriptor | None
    before: Digest
    header: Digest
    binding: Binding | None


@dataclass(frozen=True)
class _Change:
    """What becomes of the disk: its header, and its payload where ``old`` and ``new`` are given."""

    raw: bytes
    start: int
    length: int
    old: luks.Volume | None = None
    new: luks.Volume | None = None

    def write(self, read: Callable[[int], bytes], size: int, sink: Sink, task: Task) -> None:
        """Write the changed disk of ``size`` bytes, which is read in order."""
        done = len(self.raw)
        _discard(read, done)
        sink.write(self.raw)
        while done < size:
            encrypted = done < self.start + self.length and self.old is not None and self.new is not None
            data = read(min(_CHUNK, (self.start + self.length if encrypted else size) - done))
            if encrypted and self.old is not None and self.new is not None:
                sector = (done - self.start) // luks.SECTOR
                sink.write(self.new.encrypt(sector, self.old.decrypt(sector, data)))
            else:
                sink.write(data)
            done += len(data)
            task.advance(len(data))


def _discard(read: Callable[[int], bytes], amount: int) -> None:
    while amount:
        amount -= len(read(min(amount, _CHUNK)))


def _change(disk: BinaryIO, findings: Findings, rekey: Rekey) -> _Change:
    """Decide what becomes of a disk after it was checked.

    Raises:
        InvalidWorkload: it breaks a rule.
        WrongPassphrase: the passphrase does not open it.
    """
    if findings.broken or findings.luks is None:
        first = findings.broken[0]
        raise InvalidWorkload(first.rule, first.reason, hint="haulout cw inspect shows all that is wrong with it")
    start = findings.luks.payload_start
    if not rekey.reencrypt:
        header = luks.change_passphrase(disk, rekey.passphrase, rekey.new, iteration_ms=rekey.iteration_ms)
        return _Change(header.raw, start, 0)
    old = luks.open_volume(disk, rekey.passphrase)
    volume = luks.create(rekey.new, iteration_ms=rekey.iteration_ms)
    if volume.layout.payload_start != start:
        raise UsageError(
            f"the payload of this disk begins at byte {start}, not at {volume.layout.payload_start}",
            hint="build the image anew, or change only the passphrase",
        )
    system = ext4.read_superblock(io.BufferedReader(luks.Payload(disk, old, 4096)))
    length = system.size + (0 if findings.binding is None else verity.size_for(system.size // verity.BLOCK))
    if length > (findings.payload_size or 0):
        raise InvalidWorkload("truncated", "its file system is larger than its payload")
    return _Change(volume.header, start, length, old, volume)


def rekey_disk(path: Path, target: Path, rekey: Rekey, *, progress: Progress, before: Before) -> Rekeyed:
    """Write a disk by itself with another passphrase or key; as :func:`rekey_image`. It is replaced in one step."""
    with disk_of_file(path) as found:
        change = _change(found.disk, found.findings, rekey)
        size = found.findings.disk_size or 0
        assert found.findings.luks is not None
        before(None, None)
        with storage_errors(target), replacing(target) as sink, progress.task("writing", size) as task:
            found.disk.seek(0)
            change.write(found.disk.read, size, sink, task)
    return Rekeyed(None, found.findings.luks.digest, Digest.of(change.raw), None)


def rekey_image(
    image: Image,
    target: Store,
    tag: str,
    rekey: Rekey,
    *,
    progress: Progress,
    before: Before,
) -> Rekeyed:
    """Write an image with another passphrase, or another key, under a tag, as the last step.

    Args:
        image: an image of a workload.
        target: where it goes.
        tag: its name there; until the end it is as it was.
        rekey: what to change.
        progress: receives the progress of the work.
        before: called with the new binding when everything but the tag is there: by its end, the passphrase is kept.

    Raises:
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    with disk_of_image(image, progress, whole=False) as found:
        findings = found.findings
        if found.disk is None:
            raise InvalidWorkload("disk-missing", findings.broken[0].reason)
        change = _change(found.disk, findings, rekey)
        header = Digest.of(change.raw)
        binding = None if findings.binding is None else replace(findings.binding, luks_header=header)
        layers = list(found.manifest.layers)
        number = _layer_of(found)
        with target.ingest() as sink:
            _rewrite(image.store, layers[number], found, change, binding, sink, progress)
            with progress.task("storing the layer", layers[number].size) as task:
                layers[number] = sink.commit(outer.LAYER, task)
        for place, layer in enumerate(layers):
            if place != number:
                _copy(image.store, layer, target, progress)
        config = _with_layer(found.config, number, layers[number].digest)
        described = Descriptor.of(found.manifest.config.media_type, config)
        target.push_blob(described, lambda: io.BytesIO(config))
        annotations = dict(found.manifest.annotations)
        if binding is not None and keys.WORKLOAD in annotations:
            annotations[keys.WORKLOAD] = binding.to_bytes().decode()
        manifest = replace(found.manifest, config=described, layers=tuple(layers), annotations=annotations)
        before(binding, None if findings.config is None else findings.config.tee)
        pushed = target.push_manifest(manifest.to_bytes(), manifest.media_type, tag)
    assert findings.luks is not None
    return Rekeyed(pushed, findings.luks.digest, header, binding)


def _layer_of(found: ImageDisk) -> int:
    """Return which layer holds the disk, and with it the binding."""
    disk, beside = found.tree.find(krun.DISK_NAME), found.tree.find(bindings.NAME)
    assert isinstance(disk, rootfs.File)
    if isinstance(beside, rootfs.File) and beside.source != disk.source:
        raise ContentError("the disk and its binding are in different layers", hint="build the image anew")
    # Source 0 is what is held in memory.
    return disk.source - 1


def _rewrite(
    store: Store,
    layer: Descriptor,
    found: ImageDisk,
    change: _Change,
    binding: Binding | None,
    sink: Sink,
    progress: Progress,
) -> None:
    """Copy the plain archive of a layer, with another disk and binding of the same lengths in their places."""
    disk, beside = found.tree.find(krun.DISK_NAME), found.tree.find(bindings.NAME)
    assert isinstance(disk, rootfs.File)
    written = binding.to_bytes() if binding is not None and isinstance(beside, rootfs.File) else b""
    if isinstance(beside, rootfs.File) and len(written) != beside.size:
        raise ContentError("the binding beside the disk cannot be replaced by one of another length")
    with ExitStack() as stack, progress.task("writing", disk.size) as task:
        stream = stack.enter_context(rootfs.open_layer(layer_opener(store, layer)))

        def upto(position: int) -> None:
            while stream.position < position:
                sink.write(read(min(_CHUNK, position - stream.position)))

        def read(amount: int) -> bytes:
            data = stream.read(amount)
            if not data:
                raise stream.truncated()
            return data

        places = [(disk.offset, b"")]
        places += [(beside.offset, written)] if isinstance(beside, rootfs.File) else []
        for offset, instead in sorted(places):
            upto(offset)
            if instead:
                _discard(read, len(instead))
                sink.write(instead)
            else:
                change.write(read, disk.size, sink, task)
        while data := stream.read(_CHUNK):
            sink.write(data)


def _copy(store: Store, layer: Descriptor, target: Store, progress: Progress) -> None:
    def opened() -> BinaryIO:
        return io.BufferedReader(
            VerifiedFile(VerifiedReader(store.open_blob(layer), layer, f"layer {layer.digest.short}"))
        )

    with progress.task(f"copying layer {layer.digest.short}", layer.size) as task:
        target.push_blob(layer, opened, task)


def _with_layer(config: bytes, number: int, digest: Digest) -> bytes:
    values: dict[str, Any] = outer.parse_config(config, "the image's configuration")
    root = values.get("rootfs")
    ids = root.get("diff_ids") if isinstance(root, dict) else None
    if not isinstance(root, dict) or not isinstance(ids, list) or number >= len(ids):
        raise ContentError("the image's configuration does not list its layers")
    named = [str(digest) if place == number else one for place, one in enumerate(ids)]
    return json.dumps(values | {"rootfs": root | {"diff_ids": named}})

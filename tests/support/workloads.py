"""Images of confidential workloads for tests: a small root, its image, its disk, and ways to damage them."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from haulout.content.memory import MemoryStore
from haulout.oci import Descriptor, Manifest, mediatype, parse_reference
from haulout.progress import NullProgress
from haulout.workload import binding as bindings
from haulout.workload import krun, luks, outer, source, verity
from haulout.workload.build import image as images
from haulout.workload.inspect import inspection

if TYPE_CHECKING:
    from uuid import UUID

    from haulout.content.ports import Store
    from haulout.workload.inspect.findings import Findings

PASSPHRASE = b"correct horse battery staple"
CREATED = 1_700_000_000
QUICK = 1
"""Milliseconds that trying a passphrase takes."""


def root_folder(path: Path) -> Path:
    """A root file system of a few files."""
    (path / "etc").mkdir(parents=True)
    (path / "etc/motd").write_text("hello from inside\n")
    (path / "data").write_bytes(os.urandom(300_000))
    (path / "link").symlink_to("etc/motd")
    return path


def with_hashes(data: bytes, salt: bytes, uuid: UUID | None = None, step: int = 1 << 20) -> tuple[bytes, verity.Hashes]:
    """A file system with dm-verity's superblock and tree behind it."""
    blocks = len(data) // verity.BLOCK
    tail = bytearray(verity.size_for(blocks) - verity.BLOCK)

    def put(offset: int, block: bytes) -> None:
        tail[offset : offset + len(block)] = block

    tree = verity.Tree(blocks, salt, put, uuid)
    for start in range(0, len(data), step):
        tree.feed(data[start : start + step])
    hashes = tree.finish()
    return bytes(data) + hashes.superblock + tail, hashes


def config(**changes) -> krun.WorkloadConfig:
    """What libkrun reads."""
    return replace(krun.WorkloadConfig.of(krun.Tee.SNP, "web", 2, 512), **changes)


def build(store: Store, folder: Path, tag: str = "1", **changes) -> images.BuiltImage:
    """Build an image of a folder."""
    spec = images.ImageSpec(changes.pop("config", config()), CREATED, **changes)
    root = source.root_of_folder(folder, spec.config.tee.goarch)
    return images.build_image(
        root, spec, PASSPHRASE, store, tag, progress=NullProgress(), before=lambda _: None, iteration_ms=QUICK
    )


@cache
def parts() -> dict[str, bytes]:
    """The files of an image made once."""
    import tempfile

    store = MemoryStore()
    with tempfile.TemporaryDirectory() as folder:
        built = build(store, root_folder(Path(folder)))
    return unpacked(store, built)


def unpacked(store: Store, built: images.BuiltImage) -> dict[str, bytes]:
    """The files of an image's last layer."""
    with store.open_blob(built.layer) as stream:
        data = stream.read(built.layer.size)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {}
        for member in archive:
            file = archive.extractfile(member)
            found[member.name] = file.read() if file else b""
        return found


def container_of(archive: bytes) -> MemoryStore:
    """A store with an ordinary container image of one layer, under the tag 1."""
    layer = Descriptor.of("application/vnd.oci.image.layer.v1.tar", archive)
    data = b'{"architecture":"amd64","os":"linux"}'
    described = Descriptor.of(mediatype.OCI_CONFIG, data)
    store = MemoryStore()
    store.push_blob(layer, lambda: io.BytesIO(archive))
    store.push_blob(described, lambda: io.BytesIO(data))
    manifest = Manifest(described, (layer,))
    store.push_manifest(manifest.to_bytes(), manifest.media_type, "1")
    return store


def image(files: dict[str, bytes], annotations: dict[str, str] | None = None, outer_config: bytes | None = None):
    """Make an image of any files, under the tag 1."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    data = archive.getvalue()
    store = MemoryStore()
    layer = Descriptor.of(outer.LAYER, data)
    store.push_blob(layer, lambda: io.BytesIO(data))
    configuration = outer_config or outer.config("amd64", layer, "snp", CREATED)
    described = Descriptor.of(mediatype.OCI_CONFIG, configuration)
    store.push_blob(described, lambda: io.BytesIO(configuration))
    manifest = Manifest(described, (layer,), annotations=annotations or {})
    store.push_manifest(manifest.to_bytes(), manifest.media_type, "1")
    return store


def inspected(files: dict[str, bytes], passphrase: bytes | None = None, **how) -> Findings:
    """Inspect an image made of files."""
    return inspection.inspect_image(stored(image(files, **how)), passphrase, NullProgress())


def stored(store: Store, reference: str = "oci:it:1") -> source.Image:
    """An image in a store, under a name."""
    return source.Image(store, parse_reference(reference))


def rules(findings: Findings) -> list[str]:
    """Names of the broken rules."""
    return [str(one.rule) for one in findings.broken]


def body(disk: bytes) -> bytes:
    """A disk without padding and footer, but for what pads it to a sector."""
    size = int.from_bytes(disk[-8:], "little")
    return disk[: len(disk) - krun.TRAILER - size]


def with_footer(disk: bytes, document: bytes) -> bytes:
    """A disk with another footer in place of its own."""
    before = body(disk).rstrip(b"\0")
    return before + bytes(krun.padding(len(before), document)) + krun.footer(document)


def rewritten(disk: bytes, change) -> bytes:
    """A disk whose plain payload was changed by whoever has the passphrase: the header stays."""
    file = io.BytesIO(disk)
    volume = luks.open_volume(file, PASSPHRASE)
    start = len(volume.header)
    sectors = (len(body(disk)) - start) // luks.SECTOR
    plain = bytearray(volume.decrypt(0, disk[start : start + sectors * luks.SECTOR]))
    change(plain)
    return disk[:start] + volume.encrypt(0, bytes(plain)) + disk[start + sectors * luks.SECTOR :]


def the_binding() -> bindings.Binding:
    """The binding of the image made once."""
    return bindings.Binding.parse(parts()[bindings.NAME])

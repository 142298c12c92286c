"""Resolving what other tools really wrote: buildah's index and container disk, and Podman's own bytes."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from functools import partial
from io import BytesIO

import pytest
from tests.support.containers import containers
from tests.support.servers import needs

from haulout.content.layout import LayoutStore
from haulout.errors import NoMatchingDisk, NotFoundError
from haulout.oci import (
    EMPTY,
    Architecture,
    Descriptor,
    Digest,
    Index,
    Manifest,
    Platform,
    mediatype,
    parse_reference,
)
from haulout.resolve import DiskQuery, Role, Shape, inventory, resolve

TITLE = "org.opencontainers.image.title"
GOLDEN = (
    b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":'
    b'"application/vnd.oci.empty.v1+json","digest":'
    b'"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"data":"e30="},"layers":'
    b'[{"mediaType":"application/zstd","digest":'
    b'"sha256:bf53aea26da8c4b2e4ca2d52db138e20fc7e730e6b34b866e9e8e39bcaaa2dc5","size":1059455878,"annotations":'
    b'{"org.opencontainers.image.title":"podman-machine.x86_64.qemu.qcow2.zst"}}]}'
)
"""The manifest of quay.io/podman/machine-os:5.3, x86_64, qemu, as the registry serves it."""
GOLDEN_DIGEST = "dfcb3b199378320640d78121909409599b58b8012ed93320dae48deacde44d45"


@pytest.fixture
def buildah(tmp_path, monkeypatch):
    """Run buildah with its own storage, away from the user's."""
    with containers(tmp_path, monkeypatch) as tools:
        yield partial(tools.run, "buildah")


def test_podmans_own_manifest_in_an_index_is_found_by_its_real_digest(tmp_path):
    with LayoutStore(str(tmp_path / "l"), create=True) as store:
        entry = replace(
            store.push_manifest(GOLDEN, mediatype.OCI_MANIFEST),
            annotations={"disktype": "qemu"},
            platform=Platform("x86_64", "linux"),
        )
        index = Index((entry,))
        store.push_manifest(index.to_bytes(), index.media_type, "5.3")
        reference = parse_reference(f"oci:{tmp_path}/l:5.3")
        found = resolve(store, reference, DiskQuery(Architecture.X86_64, "qemu"))
        assert str(found.pinned) == f"oci:{tmp_path}/l@sha256:{GOLDEN_DIGEST}"
        assert found.stored.data == GOLDEN
        assert found.layer.size == 1059455878
        assert resolve(store, found.pinned, DiskQuery(Architecture.X86_64)).shape is Shape.SINGLE
        with pytest.raises(NoMatchingDisk, match=r"no aarch64/qemu in .*; there is x86_64/qemu"):
            resolve(store, reference, DiskQuery(Architecture.AARCH64))


@pytest.mark.tools
@needs("buildah")
def test_an_index_made_by_buildah_with_disktypes_and_a_container(tmp_path, buildah):
    """Debian's buildah knows no artifacts, so its entries carry image configs: the index is what is tested."""
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    described = Descriptor.of(mediatype.OCI_CONFIG, config)
    source = tmp_path / "source"
    with LayoutStore(str(source), create=True) as store:
        store.push_blob(described, lambda: BytesIO(config))
        for kind, extension in (("qemu", "qcow2"), ("hyperv", "vhdx")):
            with store.ingest() as ingest:
                ingest.write(kind.encode() * 100)
                layer = ingest.commit(mediatype.ZSTD)
            titled = replace(layer, annotations={TITLE: f"m.x86_64.{kind}.{extension}.zst"})
            disk = Manifest(described, (titled,))
            store.push_manifest(disk.to_bytes(), disk.media_type, kind)
    working = buildah("from", "scratch")
    buildah("commit", working, f"oci:{tmp_path}/bootable:1")
    buildah("manifest", "create", "machine")
    buildah("manifest", "add", "machine", f"oci:{tmp_path}/bootable:1")
    for kind in ("hyperv", "qemu"):
        options = ("--annotation", f"disktype={kind}", "--arch", "x86_64", "--os", "linux")
        buildah("manifest", "add", *options, "machine", f"oci:{source}:{kind}")
    buildah("manifest", "push", "--all", "machine", f"oci:{tmp_path}/made:5.0")
    reference = parse_reference(f"oci:{tmp_path}/made:5.0")
    with LayoutStore(str(tmp_path / "made")) as store:
        for kind in ("qemu", "hyperv"):
            found = resolve(store, reference, DiskQuery(Architecture.X86_64, kind))
            assert (found.shape, found.disk_type) == (Shape.INDEX, kind)
            assert found.layer.digest == Digest.of(kind.encode() * 100)
        tree = inventory(store, reference)
        assert tree.shape == "index"
        assert sorted(item.role for item in tree.root.children) == [Role.CONTAINER, Role.DISK, Role.DISK]


@pytest.mark.tools
@needs("buildah")
def test_a_container_disk_made_by_buildah_is_marked_as_one(tmp_path, buildah):
    (tmp_path / "machine.qcow2").write_bytes(b"QFI\xfb" + bytes(1000))
    working = buildah("from", "scratch")
    buildah("copy", working, str(tmp_path / "machine.qcow2"), "/disk/")
    buildah("commit", "--format", "oci", working, f"oci:{tmp_path}/cd:1")
    reference = parse_reference(f"oci:{tmp_path}/cd:1")
    here = Architecture.here()
    other = Architecture.AARCH64 if here is Architecture.X86_64 else Architecture.X86_64
    with LayoutStore(str(tmp_path / "cd")) as store:
        found = resolve(store, reference, DiskQuery(here))
        assert found.container_disk
        assert found.architecture is here
        assert len(found.layers) == 1
        assert store.has_blob(found.layer)
        with pytest.raises(NotFoundError, match=f"there is {here.go} container"):
            resolve(store, reference, DiskQuery(other))
        assert inventory(store, reference).shape == "container"


@pytest.mark.tools
@needs("skopeo")
def test_what_skopeo_mirrors_resolves_to_the_same_digest(tmp_path):
    content = b"disk" * 100
    layer = Descriptor.of(mediatype.ZSTD, content, annotations={TITLE: "m.qcow2.zst"})
    disk = Manifest(EMPTY, (layer,))
    with LayoutStore(str(tmp_path / "a"), create=True) as store:
        for blob, data in ((EMPTY, b"{}"), (layer, content)):
            store.push_blob(blob, partial(BytesIO, data))
        entry = replace(
            store.push_manifest(disk.to_bytes(), disk.media_type),
            annotations={"disktype": "qemu"},
            platform=Platform("x86_64", "linux"),
        )
        store.push_manifest(Index((entry,)).to_bytes(), mediatype.OCI_INDEX, "5.0")
    subprocess.run(
        ["skopeo", "copy", "--all", "--preserve-digests", f"oci:{tmp_path}/a:5.0", f"oci:{tmp_path}/b:5.0"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    with LayoutStore(str(tmp_path / "b")) as store:
        reference = parse_reference(f"oci:{tmp_path}/b:5.0")
        assert resolve(store, reference, DiskQuery(Architecture.X86_64)).digest == entry.digest

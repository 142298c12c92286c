"""What layers, entries and manifests say that they are."""

from __future__ import annotations

import pytest
from tests.support.shapes import ARM, X86, blob, container, disk, entry, find, push, refusal

from haulout.oci import Descriptor, Index, Platform, empty_config_manifest, mediatype, parse_reference
from haulout.resolve import Shape

REFERENCE = parse_reference("quay.io/podman/machine-os:5")
TITLE = "org.opencontainers.image.title"
TAR = "application/vnd.oci.image.layer.v1.tar+gzip"


@pytest.mark.parametrize(("arch", "kind"), [(X86, "qemu"), (ARM, "applehv")])
def test_ironics_names_of_types_are_read(store, arch, kind):
    push(
        store,
        Index((entry(disk(store, "a"), "amd64", "qcow2"), entry(disk(store, "b"), "arm64", "raw"))),
        "5",
    )
    found = find(store, arch, kind)
    assert found.disk_type == kind
    assert found.title == ("a" if arch is X86 else "b")


@pytest.mark.parametrize(
    ("title", "media_type", "kind", "compression"),
    [
        ("d.qcow2.zst", mediatype.ZSTD, "qemu", "zst"),
        ("d.raw.gz", "application/gzip", "applehv", "gz"),
        ("d.vhdx.xz", "application/x-xz", "hyperv", "xz"),
        ("d.vmdk", mediatype.OCTETS, "vmdk", "none"),
        ("d.iso", "application/x-iso9660-image", "iso", "none"),
        ("D.QCOW2", mediatype.OCTETS, "qemu", "none"),
        (None, "application/vnd.lfedge.disk.layer.v1+qcow2", "qemu", "none"),
        (None, "application/vnd.lfedge.disk.layer.v1+vhdx", "hyperv", "none"),
        (None, "application/vnd.kubevirt.disk.raw+zstd", "applehv", "zst"),
        (None, "application/vnd.diskimage.raw.gzip", "applehv", "gz"),
        ("d.qcow2", "application/vnd.oci.image.layer.v1.tar", "qemu", "none"),
        ("d.img.xz", mediatype.OCTETS, None, "xz"),
        ("disk", mediatype.OCTETS, None, None),
        ("disk", mediatype.ZSTD, None, "zst"),
    ],
)
def test_an_index_without_platforms_and_types_is_read_from_its_layers(store, title, media_type, kind, compression):
    layer = blob(b"disk", media_type, title)
    manifest = push(store, empty_config_manifest((layer,), artifact_type="application/vnd.example.machine"))
    push(store, Index((entry(container(store)), entry(manifest))), "5")
    found = find(store)
    assert (found.layer.digest, found.disk_type, found.compression) == (layer.digest, kind, compression)
    assert found.shape is Shape.INDEX
    if kind is not None:
        other = "hyperv" if kind != "hyperv" else "qemu"
        assert "there is unknown" not in refusal(store, X86, other)


def test_of_two_files_nothing_marks_as_disks_none_is_guessed(store):
    two = [push(store, empty_config_manifest((blob(name, "a/b"),), artifact_type="x/y")) for name in (b"1", b"2")]
    push(store, Index(tuple(map(entry, two))), "5")
    assert "it holds no disk" in refusal(store)


def test_an_artifact_type_on_the_entry_is_enough_to_choose_by(store):
    """As Flight Control publishes: one index with the bootable image and disks told apart by artifact type."""
    kinds = ["application/vnd.diskimage.qcow2.gzip", "application/vnd.diskimage.iso"]
    disks = [
        entry(
            push(store, empty_config_manifest((blob(kind.encode(), title="d"),), artifact_type=kind)),
            "amd64",
            artifact_type=kind,
        )
        for kind in kinds
    ]
    push(store, Index((entry(container(store), "amd64"), *disks)), "5")
    assert find(store).digest == disks[0].digest
    assert find(store, X86, "iso").digest == disks[1].digest


def test_a_disk_named_as_go_names_it_and_without_type_is_found_inside(store):
    """As `oras manifest index create` leaves it, or KubeVirt's export: amd64, and nothing else said."""
    made = push(
        store,
        empty_config_manifest(
            (blob(media_type="application/vnd.kubevirt.disk.raw+zstd"),),
            artifact_type="application/vnd.kubevirt.virtualmachine.v1",
        ),
    )
    push(store, Index((entry(container(store, "arm64"), "arm64"), entry(made, "amd64"))), "5")
    found = find(store)
    assert (found.digest, found.disk_type, found.architecture) == (made.digest, "applehv", X86)


def test_attestations_and_signatures_are_never_disks(store):
    attestation = Descriptor(
        mediatype.OCI_MANIFEST,
        container(store, "unknown").digest,
        1,
        {"vnd.docker.reference.type": "attestation-manifest"},
        Platform("unknown", "unknown"),
    )
    signature = entry(
        disk(store, "sig", artifact_type="application/vnd.dev.sigstore.bundle.v0.3+json"),
        artifact_type="application/vnd.dev.sigstore.bundle.v0.3+json",
    )
    push(store, Index((attestation, signature, entry(disk(store), "x86_64", "qemu"))), "5")
    assert find(store).title == "m.x86_64.qemu.qcow2.zst"
    assert store.manifests == 2

"""The inventory of a reference."""

from __future__ import annotations

from tests.support.shapes import blob, container, disk, entry, podman_index, push, several

from haulout.oci import EMPTY, Descriptor, Index, empty_config_manifest, mediatype, parse_reference
from haulout.resolve import Role, inventory

REFERENCE = parse_reference("quay.io/podman/machine-os:5")
TITLE = "org.opencontainers.image.title"
TAR = "application/vnd.oci.image.layer.v1.tar+gzip"


# The inventory


def test_the_inventory_of_podmans_index_shows_the_whole_tree(store):
    podman_index(store)
    target = store.manifest("5").parse("x").manifests[-1]
    toc = empty_config_manifest((blob(b"toc"),), artifact_type="x/toc", subject=target.bare(), annotations={"a": "b"})
    push(store, toc)
    found = inventory(store, REFERENCE)
    assert (found.shape, str(found.reference)) == ("index", "quay.io/podman/machine-os:5")
    assert str(found.pinned).startswith("quay.io/podman/machine-os@sha256:")
    assert [item.role for item in found.root.children] == [Role.CONTAINER] * 2 + [Role.DISK] * 5
    assert [f"{item.architecture}/{item.disk_type}" for item in found.disks] == [
        "aarch64/applehv",
        "x86_64/hyperv",
        "aarch64/hyperv",
        "x86_64/qemu",
        "aarch64/qemu",
    ]
    (attached,) = found.root.children[-1].referrers
    assert (attached.artifact_type, attached.annotations, attached.size) == ("x/toc", {"a": "b"}, 3)
    assert found.root.size == sum(item.size for item in found.root.children) > 0
    assert not any(item.notes for item in found.root.walk())


def test_the_inventory_names_the_shape(store):
    def shape():
        return inventory(store, REFERENCE).shape

    several(store, "a.qcow2", "b.qcow2")
    assert shape() == "single"
    subject = container(store, tag="5")
    assert shape() == "container"
    push(store, Index((entry(subject, "amd64"),)), "5")
    assert shape() == "container"
    disk(store, "d.qcow2", artifact_type="x/y", subject=subject)
    assert shape() == "referrers"
    container(store, tag="5")
    assert shape() == "referrers"
    push(store, Index(()), "5")
    assert shape() == "empty"
    push(store, empty_config_manifest((), artifact_type="a/note"), "6")
    assert inventory(store, parse_reference("quay.io/x:6")).root.layers == (EMPTY,)


def test_the_inventory_survives_oddities_and_notes_them(store):
    good = entry(disk(store), "x86_64", "qemu")
    gone = entry(Descriptor.of(mediatype.OCI_MANIFEST, b"gone"), "aarch64", "qemu")
    short = Descriptor(good.media_type, good.digest, good.size - 1)
    strange = Descriptor.of("application/vnd.strange", b"?")
    push(store, Index((gone, short, strange, good)), "5")
    found = inventory(store, REFERENCE)
    notes = [" ".join(item.notes) for item in found.root.children]
    assert "no manifest" in notes[0]
    assert "wrong size" in notes[1]
    assert notes[2]
    assert not notes[3]
    assert found.root.children[3].layers[0].title == "m.x86_64.qemu.qcow2.zst"


def test_the_inventory_is_bounded(store):
    leaf = entry(disk(store), "x86_64", "qemu")
    for _ in range(9):
        leaf = entry(push(store, Index((leaf,) * 20)))
    push(store, Index((leaf,)), "5")
    found = inventory(store, REFERENCE)
    items = list(found.root.walk())
    assert len(items) < 1100
    assert any(item.notes for item in items)

"""Resolving over every shape people publish, with hand-made data, and what is said when nothing fits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.shapes import ARM, RISCV, X86, blob, container, disk, entry, find, podman_index, push, refusal

from haulout.errors import ContentError, InvalidManifest, NotFoundError, SizeMismatch
from haulout.oci import (
    EMPTY,
    Architecture,
    Descriptor,
    Index,
    Manifest,
    empty_config_manifest,
    mediatype,
    parse_reference,
)
from haulout.oci import annotations as keys
from haulout.resolve import Shape, container_image_error

REFERENCE = parse_reference("quay.io/podman/machine-os:5")
TITLE = "org.opencontainers.image.title"
TAR = "application/vnd.oci.image.layer.v1.tar+gzip"


# Shape 1: an index


@pytest.mark.parametrize("containers_first", [True, False])
@pytest.mark.parametrize(
    ("arch", "kind", "title"),
    [
        (X86, "qemu", "podman-machine.x86_64.qemu.qcow2.zst"),
        (X86, None, "podman-machine.x86_64.qemu.qcow2.zst"),
        (X86, "qcow2", "podman-machine.x86_64.qemu.qcow2.zst"),
        (ARM, "applehv", "podman-machine.aarch64.applehv.raw.zst"),
        (ARM, "raw", "podman-machine.aarch64.applehv.raw.zst"),
        (ARM, "HyperV", "podman-machine.aarch64.hyperv.vhdx.zst"),
        (Architecture.parse("arm64"), "qemu", "podman-machine.aarch64.qemu.qcow2.zst"),
    ],
)
def test_podmans_index_takes_two_requests(store, containers_first, arch, kind, title):
    podman_index(store, containers_first)
    found = find(store, arch, kind)
    assert (found.title, found.shape, found.compression) == (title, Shape.INDEX, "zst")
    assert (found.architecture, found.container_disk) == (arch, False)
    assert found.disk_type in title
    assert str(found.pinned) == f"quay.io/podman/machine-os@{found.digest}"
    assert (found.toc, found.disk) == (None, None)
    assert (store.manifests, store.listings) == (2, 0)


def test_what_is_not_there_is_answered_with_what_is(store):
    podman_index(store)
    assert refusal(store, X86, "applehv") == (
        "no x86_64/applehv in quay.io/podman/machine-os:5; there are aarch64/applehv, x86_64/hyperv, aarch64/hyperv, "
        "x86_64/qemu, aarch64/qemu"
    )
    assert refusal(store, RISCV).startswith("no riscv64/qemu in quay.io/podman/machine-os:5; there are ")


def test_nested_indexes_are_followed_and_give_their_architecture(store):
    inner = push(store, Index((entry(disk(store, "a"), None, "qemu"),)))
    other = push(store, Index((entry(disk(store, "b"), None, "qemu"),)))
    push(store, Index((entry(inner, "amd64"), entry(other, "arm64"))), "5")
    assert (find(store, X86).title, find(store, ARM).title) == ("a", "b")


def test_nesting_has_an_end(store):
    deep = push(store, Index((entry(disk(store), "x86_64", "qemu"),)))
    for _ in range(8):
        deep = push(store, Index((entry(deep),)))
    push(store, Index((entry(deep),)), "5")
    assert "it holds no disk" in refusal(store)
    assert store.manifests < 8


def test_a_thousand_times_the_same_nested_index_is_one(store):
    inner = push(store, Index(tuple(entry(disk(store, "d"), "aarch64", "qemu") for _ in range(1000))))
    middle = push(store, Index(tuple(entry(inner) for _ in range(1000))))
    push(store, Index(tuple(entry(middle) for _ in range(1000))), "5")
    assert refusal(store) == "no x86_64/qemu in quay.io/podman/machine-os:5; there is aarch64/qemu"
    assert store.manifests == 3


def test_entries_that_say_nothing_are_read_within_bounds(store):
    many = [push(store, empty_config_manifest((), artifact_type=f"x/{number}")) for number in range(300)]
    push(store, Index(tuple(map(entry, many))), "5")
    refusal(store)
    assert store.manifests <= 66


# Shape 2: referrers of a bootable container image


@pytest.mark.parametrize("indexed", [True, False])
def test_disks_attached_to_a_container_are_found(store, indexed):
    subject = container(store, "amd64", 60, tag=None if indexed else "5")
    if indexed:
        push(store, Index((entry(container(store, "arm64", 60), "arm64"), entry(subject, "amd64"))), "5")
    disk(store, "sig", artifact_type="application/vnd.dev.cosign.x", subject=subject)
    wanted = disk(store, "d.qcow2.zst", artifact_type="application/vnd.example", subject=subject)
    disk(store, "d.vhdx.zst", artifact_type="application/vnd.example", subject=subject)
    found = find(store)
    assert (found.shape, found.digest) == (Shape.REFERRERS, wanted.digest)
    assert (found.disk_type, found.architecture) == ("qemu", X86)
    assert find(store, X86, "hyperv").title == "d.vhdx.zst"
    assert "there are x86_64/qemu, x86_64/hyperv" in refusal(store, X86, "applehv")


def test_a_disktype_on_the_attached_manifest_needs_no_look_inside(store):
    subject = container(store, "amd64", 60, tag="5")
    disk(store, "a", annotations={"disktype": "hyperv"}, subject=subject)
    wanted = disk(store, "b", annotations={"disktype": "qemu"}, subject=subject)
    assert find(store).digest == wanted.digest
    assert store.manifests == 2


def test_a_list_of_referrers_with_deleted_manifests_still_serves(store):
    subject = container(store, "amd64", 60, tag="5")
    wanted = disk(store, "b.qcow2", artifact_type="x/y", subject=subject)
    gone = Descriptor.of(mediatype.OCI_MANIFEST, b"gone", artifact_type="x/y")
    listed = (gone, Descriptor(wanted.media_type, wanted.digest, wanted.size, artifact_type="x/y"))
    store.referrers = lambda *_: listed
    assert find(store).digest == wanted.digest


# Shape 3: one manifest


@pytest.mark.parametrize("config", ["empty", "own", "image"])
def test_one_artifact_is_its_disk(store, config):
    described = {
        "empty": EMPTY,
        "own": blob(b"{}", "application/vnd.example.config.v1+json"),
        "image": blob(b"{}", mediatype.OCI_CONFIG),
    }[config]
    layer = blob(title="fedora.qcow2.xz")
    pushed = push(store, Manifest(described, (layer,)), "5")
    found = find(store)
    assert (found.shape, found.digest, found.layer.digest) == (Shape.SINGLE, pushed.digest, layer.digest)
    assert (found.disk_type, found.architecture, found.compression) == ("qemu", None, "xz")
    assert store.manifests == 1


def test_a_digest_goes_before_a_tag(store):
    podman_index(store)
    one = disk(store, "d.qcow2")
    reference = parse_reference(f"quay.io/podman/machine-os:5@{one.digest}")
    assert find(store, reference=reference).digest == one.digest


def test_one_artifact_for_another_machine_is_said_to_be_one(store):
    disk(store, "m.aarch64.applehv.raw.zst", tag="5")
    assert refusal(store) == "no x86_64/qemu in quay.io/podman/machine-os:5; there is aarch64/applehv"
    assert "there is aarch64/applehv" in refusal(store, ARM, "hyperv")


def test_an_artifact_without_files_holds_no_disk(store):
    push(store, empty_config_manifest((), artifact_type="a/note"), "5")
    assert "artifact of type a/note and holds no disk" in refusal(store, error=ContentError)


# Containers


@pytest.mark.parametrize("indexed", [True, False])
def test_a_small_container_image_may_be_a_container_disk(store, indexed):
    made = container(store, "amd64", 2, tag=None if indexed else "5")
    if indexed:
        push(store, Index((entry(container(store, "arm64"), "arm64"), entry(made, "amd64"))), "5")
    found = find(store)
    assert found.container_disk
    assert (found.digest, found.architecture, found.disk_type) == (made.digest, X86, None)
    # What a container sees depends on all of them, in their order.
    assert found.layers == store.manifest(made.digest).parse("it").layers
    assert found.layer is found.layers[-1]
    there = "there are arm64 container, amd64 container" if indexed else "there is amd64 container"
    assert refusal(store, RISCV) == f"no riscv64/qemu in quay.io/podman/machine-os:5; {there}"


def test_an_ordinary_container_image_is_called_one(store):
    container(store, layers=0, tag="5")
    message = refusal(store, error=NotFoundError)
    assert message == "quay.io/podman/machine-os:5 is a container image, not a disk, and no disk is attached to it"
    assert message == str(container_image_error(REFERENCE))


def test_containers_beside_disks_are_never_searched_for_disks(store):
    push(store, Index((entry(container(store), "amd64"), entry(disk(store), "x86_64", "qemu"))), "5")
    assert "there is x86_64/qemu" in refusal(store, X86, "hyperv")


def test_a_directory_pushed_by_oras_is_called_one(store):
    folder = Descriptor.of(
        "application/vnd.oci.image.layer.v1.tar+gzip",
        b"tar",
        annotations={keys.TITLE: "images.raw", "io.deis.oras.content.unpack": "true"},
    )
    push(store, empty_config_manifest((folder,), artifact_type="application/vnd.unknown.artifact.v1"), "5")
    for query in ((), (X86, "qemu")):
        assert "is a directory that oras pushed, not a disk" in refusal(store, *query, error=ContentError)


def test_a_container_disk_beside_disks_comes_when_it_is_asked_for(store):
    made = replace(entry(container(store, "amd64"), "amd64"), annotations={keys.DISKTYPE: "container-disk"})
    push(store, Index((made, entry(disk(store), "x86_64", "raw"))), "5")
    assert find(store, X86).disk_type == "applehv"
    found = find(store, X86, "container-disk")
    assert (found.digest, found.container_disk, found.disk_type) == (made.digest, True, "container-disk")
    push(store, Index((made,)), "5")
    assert find(store, X86).digest == made.digest


# Damage


def test_an_empty_index_holds_no_disk(store):
    push(store, Index(()), "5")
    assert refusal(store) == "no x86_64/qemu in quay.io/podman/machine-os:5; it holds no disk"


def test_a_size_lie_about_the_chosen_manifest_is_an_error(store):
    made = disk(store)
    push(store, Index((Descriptor(made.media_type, made.digest, made.size + 1, {"disktype": "qemu"}),)), "5")
    assert "wrong size" in refusal(store, error=SizeMismatch)


def test_an_entry_announced_as_another_type_is_an_error(store):
    inner = push(store, Index((entry(disk(store), "x86_64", "qemu"),)))
    lie = Descriptor(mediatype.OCI_MANIFEST, inner.digest, inner.size, {"disktype": "hyperv"})
    push(store, Index((entry(inner), lie)), "5")
    assert find(store).disk_type == "qemu"
    assert "announced as" in refusal(store, X86, "hyperv", error=InvalidManifest)


def test_damage_met_on_the_way_is_reported_only_if_nothing_fits(store):
    damaged = push(store, empty_config_manifest((blob(),), artifact_type="x/y"))
    lie = Descriptor(damaged.media_type, damaged.digest, damaged.size - 1)
    push(store, Index((lie, entry(disk(store)))), "5")
    assert find(store).title == "m.x86_64.qemu.qcow2.zst"
    assert "wrong size" in refusal(store, ARM, error=SizeMismatch)


def test_a_missing_child_is_only_missed_when_it_is_the_one(store):
    gone = Descriptor.of(mediatype.OCI_MANIFEST, b"gone")
    push(store, Index((entry(gone), entry(gone, "x86_64", "hyperv"), entry(disk(store), "x86_64", "qemu"))), "5")
    assert find(store).disk_type == "qemu"
    assert str(gone.digest) in refusal(store, X86, "hyperv", error=NotFoundError)


def test_a_missing_tag_is_the_stores_own_error(store):
    assert "no tag 5" in refusal(store, error=NotFoundError)

"""Resolving over every shape people publish, with hand-made data, and what is said when nothing fits."""

from __future__ import annotations

import io
import json

import pytest

from haulout.content.memory import MemoryStore
from haulout.errors import ContentError, InvalidManifest, NoMatchingDisk, NotFoundError, SizeMismatch
from haulout.oci import (
    EMPTY,
    Architecture,
    Descriptor,
    Digest,
    Index,
    Manifest,
    Platform,
    SizedDigest,
    empty_config_manifest,
    mediatype,
    parse_reference,
)
from haulout.resolve import DiskQuery, Role, Shape, container_image_error, inventory, resolve

X86, ARM, RISCV = Architecture.X86_64, Architecture.AARCH64, Architecture.RISCV64
REFERENCE = parse_reference("quay.io/podman/machine-os:5")
TITLE = "org.opencontainers.image.title"
TAR = "application/vnd.oci.image.layer.v1.tar+gzip"


class CountingStore(MemoryStore):
    """A store that counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.manifests = 0
        self.listings = 0

    def manifest(self, selector):
        self.manifests += 1
        return super().manifest(selector)

    def referrers(self, subject, artifact_type=None):
        self.listings += 1
        return super().referrers(subject, artifact_type)


@pytest.fixture
def store():
    return CountingStore()


def blob(content: bytes = b"x", media_type=mediatype.ZSTD, title=None) -> Descriptor:
    return Descriptor.of(media_type, content, annotations={TITLE: title} if title else {})


def push(store, manifest, tag=None) -> Descriptor:
    pushed: Descriptor = store.push_manifest(manifest.to_bytes(), manifest.media_type, tag)
    return pushed


def disk(store, title="m.x86_64.qemu.qcow2.zst", tag=None, **more) -> Descriptor:
    return push(store, empty_config_manifest((blob(title.encode(), title=title),), **more), tag)


def container(store, arch="amd64", layers=2, tag=None, subject=None) -> Descriptor:
    config = json.dumps({"architecture": arch, "os": "linux", "rootfs": {"type": "layers"}}).encode()
    described = Descriptor.of(mediatype.OCI_CONFIG, config)
    store.push_blob(described, lambda: io.BytesIO(config))
    tars = tuple(blob(b"layer" * (number + 1) + arch.encode(), TAR) for number in range(layers))
    return push(store, Manifest(described, tars, subject=subject), tag)


def entry(target: Descriptor, arch=None, disktype=None, **more) -> Descriptor:
    return Descriptor(
        target.media_type,
        target.digest,
        target.size,
        {"disktype": disktype} if disktype else {},
        Platform(arch, "linux") if arch else None,
        **more,
    )


def podman_index(store, containers_first=True) -> None:
    """As quay.io/podman/machine-os:5.x is built."""
    bootable = [entry(container(store, arch, 60), arch) for arch in ("amd64", "arm64")]
    disks = [
        entry(disk(store, f"podman-machine.{arch}.{kind}.{extension}.zst"), arch, kind)
        for kind, extension in (("applehv", "raw"), ("hyperv", "vhdx"), ("qemu", "qcow2"))
        for arch in ("x86_64", "aarch64")
        if (kind, arch) != ("applehv", "x86_64")
    ]
    push(store, Index((*bootable, *disks) if containers_first else (*disks, *bootable)), "5")


def find(store, arch=X86, kind=None, title=None, reference=REFERENCE):
    return resolve(store, reference, DiskQuery(arch, kind, title))


def refusal(store, *args, error=NoMatchingDisk, **kwargs) -> str:
    with pytest.raises(error) as caught:
        find(store, *args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


def test_the_first_match_wins(store):
    first, second = disk(store, "1.qcow2.zst"), disk(store, "2.qcow2.zst")
    push(store, Index((entry(first, "x86_64", "qemu"), entry(second, "x86_64", "qemu"))), "5")
    assert find(store).digest == first.digest


def test_an_entry_that_says_its_architecture_goes_before_one_that_does_not(store):
    vague, exact = disk(store, "1.qcow2.zst"), disk(store, "2.qcow2.zst")
    push(store, Index((entry(vague, None, "qemu"), entry(exact, "x86_64", "qemu"))), "5")
    assert find(store).digest == exact.digest
    assert find(store, ARM).digest == vague.digest


def test_one_manifest_may_be_two_types(store):
    both = disk(store, "disk.img.zst")
    push(store, Index((entry(both, "x86_64", "applehv"), entry(both, "x86_64", "hyperv"))), "5")
    assert find(store, X86, "hyperv").disk_type == "hyperv"
    assert find(store, X86, "applehv").disk_type == "applehv"
    assert "x86_64/applehv, x86_64/hyperv" in refusal(store, X86)


def test_without_a_type_the_only_one_is_taken(store):
    only = disk(store, "disk.vhdx.zst")
    push(store, Index((entry(only, "x86_64", "hyperv"), entry(disk(store), "aarch64", "qemu"))), "5")
    assert find(store).disk_type == "hyperv"


def test_without_an_architecture_there_must_be_only_one(store):
    push(store, Index((entry(disk(store), "x86_64", "qemu"), entry(disk(store, "b"), "x86_64", "hyperv"))), "5")
    assert find(store, None).architecture is X86
    podman_index(store)
    assert "without an architecture" in refusal(store, None)


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


def test_a_generic_single_file_is_taken_as_it_is(store):
    push(store, empty_config_manifest((blob(media_type="a/b"),), artifact_type="a/file"), "5")
    found = find(store, X86, "hyperv")
    assert (found.disk_type, found.compression, found.title) == (None, None, None)


def test_one_artifact_for_another_machine_is_said_to_be_one(store):
    disk(store, "m.aarch64.applehv.raw.zst", tag="5")
    assert refusal(store) == "no x86_64/qemu in quay.io/podman/machine-os:5; there is aarch64/applehv"
    assert "there is aarch64/applehv" in refusal(store, ARM, "hyperv")


def several(store, *titles):
    layers = tuple(blob(title.encode(), mediatype.OCTETS, title) for title in titles)
    push(store, empty_config_manifest(layers, artifact_type="a/b"), "5")


def test_of_several_files_the_disk_is_taken(store):
    several(store, "README.md", "SHA256SUMS", "machine.qcow2")
    assert find(store).title == "machine.qcow2"


def test_of_several_disks_the_fitting_one_is_taken(store):
    several(store, "m.x86_64.qcow2", "m.aarch64.qcow2", "m.x86_64.vhdx", "m-arm64.raw.gz")
    assert find(store).title == "m.x86_64.qcow2"
    assert find(store, X86, "vhdx").title == "m.x86_64.vhdx"
    assert find(store, ARM, "raw").title == "m-arm64.raw.gz"
    assert "there are x86_64/qemu, aarch64/qemu, x86_64/hyperv" in refusal(store, X86, "raw")


def test_a_title_settles_it(store):
    several(store, "a.qcow2", "b.qcow2", "notes")
    message = refusal(store, error=NotFoundError)
    assert message == "2 files in quay.io/podman/machine-os:5 may be the disk; there are 'a.qcow2', 'b.qcow2'"
    assert find(store, title="b.qcow2").title == "b.qcow2"
    assert find(store, title="notes").title == "notes"
    assert "no file titled 'c'" in refusal(store, title="c", error=NotFoundError)


def test_a_disk_cut_in_pieces_is_not_one_of_its_pieces(store):
    """As tart and lume publish."""
    pieces = tuple(blob(b"%d" % number, "application/vnd.cirruslabs.tart.disk.v2") for number in range(4))
    push(store, Manifest(blob(b"{}", "application/vnd.cirruslabs.tart.config.v1"), pieces), "5")
    assert "4 layers without titles" in refusal(store, error=NotFoundError)


def test_an_artifact_without_files_holds_no_disk(store):
    push(store, empty_config_manifest((), artifact_type="a/note"), "5")
    assert "artifact of type a/note and holds no disk" in refusal(store, error=ContentError)


def test_our_annotations_are_read_and_must_be_well_formed(store):
    toc, plain = SizedDigest(Digest.of(b"toc"), 3), SizedDigest(Digest.of(b"disk"), 1 << 40)
    keys = {"io.github.haulout.toc": str(toc), "io.github.haulout.disk": str(plain)}
    disk(store, annotations=keys, tag="5")
    found = find(store)
    assert (found.toc, found.disk) == (toc, plain)
    disk(store, annotations=keys | {"io.github.haulout.toc": "sha256:x 1"}, tag="5")
    with pytest.raises(InvalidManifest, match=r"io\.github\.haulout\.toc"):
        _ = find(store).toc


# Containers


@pytest.mark.parametrize("indexed", [True, False])
def test_a_small_container_image_may_be_a_container_disk(store, indexed):
    made = container(store, "amd64", 2, tag=None if indexed else "5")
    if indexed:
        push(store, Index((entry(container(store, "arm64"), "arm64"), entry(made, "amd64"))), "5")
    found = find(store)
    assert found.container_disk
    assert (found.digest, found.architecture, found.disk_type) == (made.digest, X86, None)
    assert [layer.size for layer in found.layers] == sorted((layer.size for layer in found.layers), reverse=True)
    assert found.layer is found.layers[0]
    there = "there are arm64 container, amd64 container" if indexed else "there is amd64 container"
    assert refusal(store, RISCV) == f"no riscv64/qemu in quay.io/podman/machine-os:5; {there}"


def test_an_ordinary_container_image_is_called_one(store):
    container(store, layers=20, tag="5")
    message = refusal(store, error=NotFoundError)
    assert message == "quay.io/podman/machine-os:5 is a container image, not a disk, and no disk is attached to it"
    assert message == str(container_image_error(REFERENCE))


def test_containers_beside_disks_are_never_searched_for_disks(store):
    push(store, Index((entry(container(store), "amd64"), entry(disk(store), "x86_64", "qemu"))), "5")
    assert "there is x86_64/qemu" in refusal(store, X86, "hyperv")


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

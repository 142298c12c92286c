"""One of several disks, and one of several files."""

from __future__ import annotations

from tests.support.shapes import ARM, X86, blob, disk, entry, find, podman_index, push, refusal, several

from haulout.errors import NotFoundError
from haulout.oci import Index, Manifest, empty_config_manifest, parse_reference

REFERENCE = parse_reference("quay.io/podman/machine-os:5")
TITLE = "org.opencontainers.image.title"
TAR = "application/vnd.oci.image.layer.v1.tar+gzip"


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


def test_a_generic_single_file_is_taken_as_it_is(store):
    push(store, empty_config_manifest((blob(media_type="a/b"),), artifact_type="a/file"), "5")
    found = find(store, X86, "hyperv")
    assert (found.disk_type, found.compression, found.title) == (None, None, None)


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

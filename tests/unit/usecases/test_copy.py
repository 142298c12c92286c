"""Copies between layouts and archives, of all disks and of some."""

from __future__ import annotations

import pytest
from tests.support.disks import raw_disk

from haulout import Architecture, copy, delta, inventory, pull, push
from haulout.content import LayoutStore
from haulout.errors import InvalidReference, NoMatchingDisk, NotFoundError, UsageError
from haulout.oci import Index, mediatype, parse_reference
from haulout.usecases.copy import mounts_from


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """Versions 1 and 2 of two architectures, with a delta."""
    place = tmp_path_factory.mktemp("copy")
    old, new = raw_disk(place / "1.raw", data_mib=2, size_mib=8), place / "2.raw"
    data = bytearray(old.read_bytes())
    data[4096:8192] = b"new." * 1024
    new.write_bytes(data)
    for arch in ("x86_64", "aarch64"):
        push(f"oci:{place}/l:1", old, architecture=arch, level=1)
        push(f"oci:{place}/l:2", new, architecture=arch, level=1)
    delta(f"oci:{place}/l:1", f"oci:{place}/l:2", architecture="x86_64")
    return place


def test_a_copy_is_pulled_updated_and_inspected_like_what_it_is_a_copy_of(layout, tmp_path):
    source = f"oci:{layout}/l:2"
    done = copy(source, f"oci-archive:{tmp_path}/a.tar")
    back = copy(f"oci-archive:{tmp_path}/a.tar", f"oci:{tmp_path}/b:2")
    assert done.destination == parse_reference(f"oci-archive:{tmp_path}/a.tar:2"), "the source's tag"
    assert back.pinned.digest == done.pinned.digest == inventory(source).pinned.digest
    assert back.manifests == done.manifests
    assert back.missing == back.blobs
    got = pull(
        f"oci:{tmp_path}/b:2",
        architecture="x86_64",
        disk_type="applehv",
        output=tmp_path / "o",
        seeds=[layout / "1.raw"],
    )
    assert (tmp_path / "o").read_bytes() == (layout / "2.raw").read_bytes()
    assert got.moved.fetched < 4096, "only the difference, by the table of contents"
    kinds = [item.artifact_type for item in inventory(f"oci:{tmp_path}/b:2").root.walk()]
    assert kinds.count(mediatype.DELTA_ARTIFACT) == 1


def test_a_second_copy_sends_nothing_and_a_dry_run_says_so(layout, tmp_path):
    source, target = f"oci:{layout}/l:2", f"oci:{tmp_path}/b:2"
    before = copy(source, target, dry_run=True)
    assert not (tmp_path / "b").exists()
    assert before.missing == before.blobs
    assert before.blobs.count > 4
    done = copy(source, target)
    assert (done.blobs, done.missing, done.pinned) == (before.blobs, before.missing, before.pinned)
    assert copy(source, target).missing.count == 0
    assert copy(source, target, dry_run=True).missing.count == 0


def test_chosen_disks_come_with_what_belongs_to_them(layout, tmp_path):
    done = copy(f"oci:{layout}/l:2", f"oci:{tmp_path}/b:2", architectures=["arm64"])
    held = inventory(f"oci:{tmp_path}/b:2")
    assert [disk.architecture for disk in held.disks] == [Architecture.AARCH64]
    assert done.pinned.digest == held.pinned.digest
    pulled = pull(f"oci:{tmp_path}/b:2", architecture="aarch64", disk_type="applehv", output=tmp_path / "o")
    assert pulled.verified == "frames", "its table of contents came along"
    with LayoutStore(str(tmp_path / "b")) as store:
        index = store.manifest("2").parse("x")
        assert isinstance(index, Index)
        ours = {entry.digest for entry in index.manifests}
        assert done.manifests == 1 + len(ours) + done.attached


def test_disks_that_are_not_there_are_named(layout, tmp_path):
    with pytest.raises(NoMatchingDisk, match=r"no x86_64/hyperv .* there are x86_64/applehv, aarch64/applehv"):
        copy(f"oci:{layout}/l:2", f"oci:{tmp_path}/b:2", architectures=["x86_64"], disk_types=["hyperv"])
    single = inventory(f"oci:{layout}/l:2").disks[0].descriptor.digest
    with pytest.raises(UsageError, match="nothing to choose"):
        copy(f"oci:{layout}/l@{single}", f"oci:{tmp_path}/b:2", architectures=["x86_64"])


def test_without_referrers_only_the_tag_is_copied(layout, tmp_path):
    full = copy(f"oci:{layout}/l:2", f"oci:{tmp_path}/a:2", dry_run=True)
    bare = copy(f"oci:{layout}/l:2", f"oci:{tmp_path}/b:2", referrers=False)
    assert bare.attached == 0
    assert bare.manifests == full.manifests - full.attached < full.manifests


def test_wrong_arguments_are_told_before_anything_is_written(layout, tmp_path):
    digest = inventory(f"oci:{layout}/l:2").pinned.digest
    with pytest.raises(UsageError, match="a digest names existing content"):
        copy(f"oci:{layout}/l:2", f"oci:{tmp_path}/b@{digest}")
    with pytest.raises(NotFoundError, match="no tag 9"):
        copy(f"oci:{layout}/l:9", f"oci-archive:{tmp_path}/a.tar:9")
    with pytest.raises(InvalidReference):
        copy(f"oci:{layout}/l:9", "oci-archive:")
    with pytest.raises(UsageError, match="cannot be changed: an archive is written as a whole"):
        push(f"oci-archive:{tmp_path}/a.tar:1", layout / "1.raw")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "destination", "repository"),
    [
        ("h.example/a:1", "h.example/b:1", "a"),
        ("h.example/a:1", "h.example/a:2", None),
        ("h.example/a:1", "i.example/b:1", None),
        ("oci:l:1", "h.example/b:1", None),
        ("h.example/a:1", "oci-archive:l:1", None),
    ],
)
def test_blobs_are_mounted_within_one_registry(source, destination, repository):
    assert mounts_from(parse_reference(source), parse_reference(destination)) == repository


def test_a_source_that_is_not_there_leaves_no_destination(layout, tmp_path):
    for source in (f"oci:{tmp_path}/none:1", f"oci:{layout}/l:none"):
        for destination in (f"oci:{tmp_path}/new:1", f"oci-archive:{tmp_path}/new.tar"):
            with pytest.raises(NotFoundError):
                copy(source, destination)
    assert list(tmp_path.iterdir()) == []

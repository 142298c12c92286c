"""Tags, tag, delete and prune on real places: docker-registry with and without deletes, and image layouts."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.disks import MIB, raw_disk, sha256
from tests.support.publish import publish_blob, publish_container
from tests.support.servers import docker_registry, find, needs

import haulout
from haulout import (
    ConnectionOptions,
    Digest,
    DiskSource,
    Index,
    Platform,
    RegistryReference,
    parse_reference,
)
from haulout.cli.main import main
from haulout.content import LayoutStore, collect
from haulout.errors import ConflictError, DeletionRefused, NotFoundError, UsageError
from haulout.oci import is_helper_tag
from haulout.registry import Registries

pytestmark = [needs("docker-registry"), pytest.mark.usefixtures("own_places")]
KINDS = [("x86_64", "applehv"), ("aarch64", "applehv")]
VERSIONS = [f"1.{number}" for number in (1, 2, 3, 9, 10, 11)]


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    """One raw disk for each version; half of their content is the same."""
    folder = tmp_path_factory.mktemp("disks")
    made = {}
    for version in VERSIONS:
        made[version] = raw_disk(folder / f"{version}.raw", data_mib=1, size_mib=4, seed="common")
        with made[version].open("r+b") as file:
            file.seek(2 * MIB)
            file.write(os.urandom(MIB))
    return made


def publish(place, disks, versions=VERSIONS, **options):
    for version in versions:
        sources = [DiskSource(disks[version], architecture, kind) for architecture, kind in KINDS]
        haulout.push(f"{place}:{version}", sources, **options)


@pytest.fixture(params=["registry", "layout"])
def place(request, tmp_path):
    if request.param == "layout":
        yield f"oci:{tmp_path}/layout"
    else:
        with docker_registry(tmp_path) as server:
            yield f"{server.host}/machines"


def used(folder):
    return sum(path.lstat().st_size for path in Path(folder).rglob("*") if path.is_file())


def collect_garbage(server):
    config = server.log.parent / "config.yml"
    subprocess.run(
        [str(find("docker-registry")), "garbage-collect", str(config)], check=True, capture_output=True, timeout=60
    )


def blobs_of(folder):
    """Bytes of all blobs of a layout, or of a registry's storage."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file() and "blobs" in path.parts)


def test_versions_come_newest_first_with_their_disks(place, disks):
    publish(place, disks, ["1.9", "1.10", "1.2"])
    haulout.tag(f"{place}:1.10", ["latest", "1"])
    found = haulout.tags(place)
    assert [each.tag for each in found.tags] == ["latest", "1.10", "1.9", "1.2", "1"]
    for each in found.tags:
        assert [(disk.architecture, disk.disk_type) for disk in each.disks] == KINDS
        assert {disk.disk.size for disk in each.disks if disk.disk} == {4 * MIB}
        assert 2 * each.disks[0].size > each.size > each.disks[0].size  # both are the same blob
    everything = haulout.tags(place, helpers=True)
    helpers = [each.tag for each in everything.tags if each.is_helper]
    assert len(helpers) == found.helper_tags
    assert all(is_helper_tag(tag) for tag in helpers)


def test_a_tag_says_what_it_was_and_a_dry_run_writes_nothing(place, disks):
    publish(place, disks, ["1.1", "1.2"])
    first = haulout.tag(f"{place}:1.1", ["latest"])
    assert [(each.status, each.before) for each in first.tags] == [("new", None)]
    look = haulout.tag(f"{place}:1.2", ["latest", "1"], dry_run=True)
    assert [each.status for each in look.tags] == ["moved", "new"]
    assert {each.tag for each in haulout.tags(place).tags} == {"1.1", "1.2", "latest"}
    moved = haulout.tag(f"{place}:1.2", ["latest", "1.2"])
    assert [(each.status, each.before) for each in moved.tags] == [
        ("moved", first.pinned.digest),
        ("present", moved.pinned.digest),
    ]
    assert (
        haulout.resolve(f"{place}:latest", architecture="x86_64").digest
        == haulout.resolve(f"{place}:1.2", architecture="x86_64").digest
    )


@pytest.mark.parametrize("name", ["a/b", "x:y", "haulout.0123456789abcdef.x", f"sha256-{'0' * 64}", "", ".x"])
def test_what_is_no_tag_to_give(tmp_path, disks, name):
    publish(f"oci:{tmp_path}/l", disks, ["1.1"])
    with pytest.raises(UsageError):
        haulout.tag(f"oci:{tmp_path}/l:1.1", [name])


@pytest.mark.parametrize("tools", [False, True], ids=["alone", "with-deltas"])
def test_after_pruning_and_collecting_it_is_as_large_as_a_fresh_one(tmp_path, disks, tools):
    with docker_registry(tmp_path) as server:
        place = f"{server.host}/machines"
        for number, version in enumerate(VERSIONS):
            earlier = [f"{place}:{VERSIONS[number - 1]}"] if tools and number else []
            publish(place, disks, [version], delta_from=earlier)
        look = haulout.prune(place, keep=2, dry_run=True)
        assert [each.name for each in look.versions] == VERSIONS[:-2]
        assert len(haulout.tags(place).tags) == 6
        done = haulout.prune(place, keep=2)
        assert done.removal == look.removal
        assert [each.tag for each in haulout.tags(place).tags] == ["1.11", "1.10"]
        collect_garbage(server)
        assert haulout.prune(place, keep=2).versions == ()
    # Another server: docker-registry keeps what it has read of blobs in memory.
    with docker_registry(tmp_path, root=server.root) as server:
        place = f"{server.host}/machines"
        for version in VERSIONS[-2:]:
            for architecture, kind in KINDS:
                target = tmp_path / f"{version}.{architecture}"
                haulout.pull(f"{place}:{version}", output=target, architecture=architecture, disk_type=kind)
                assert sha256(target) == sha256(disks[version])
        inventory = haulout.inventory(f"{place}:1.11")
        kinds = {each.artifact_type for each in inventory.root.walk()}
        assert any("delta" in str(kind) for kind in kinds) == tools
        assert not [note for each in inventory.root.walk() for note in each.notes]
    if not tools:
        fresh = tmp_path / "fresh"
        fresh.mkdir()
        with docker_registry(fresh) as other:
            publish(f"{other.host}/machines", disks, VERSIONS[-2:])
        now, wanted = blobs_of(server.root), blobs_of(other.root)
        assert now <= 1.02 * wanted, (now, wanted)


def test_a_layout_gives_its_room_back_at_once(tmp_path, disks):
    place, fresh = f"oci:{tmp_path}/a", f"oci:{tmp_path}/b"
    publish(place, disks)
    before = blobs_of(tmp_path / "a")
    assert not haulout.prune(place, keep=2, dry_run=True).refused
    done = haulout.prune(place, keep=2)
    assert done.freed == before - blobs_of(tmp_path / "a")
    assert done.freed == done.removal.frees
    publish(fresh, disks, VERSIONS[-2:])
    assert blobs_of(tmp_path / "a") <= 1.02 * blobs_of(tmp_path / "b")
    for version in VERSIONS[-2:]:
        haulout.pull(f"{place}:{version}", output=tmp_path / version, architecture="x86_64", disk_type="applehv")
        assert sha256(tmp_path / version) == sha256(disks[version])


def test_a_registry_without_deletes_says_so_and_nothing_changes(tmp_path, disks):
    with docker_registry(tmp_path, deletes=False) as server:
        place = f"{server.host}/machines"
        publish(place, disks, ["1.1", "1.2"])
        before = used(server.root)
        for act in (lambda: haulout.prune(place, keep=1), lambda: haulout.delete(f"{place}:1.1")):
            with pytest.raises(DeletionRefused, match="does not delete") as caught:
                act()
            assert "REGISTRY_STORAGE_DELETE_ENABLED=true" in str(caught.value.hint)
        rehearsed = [haulout.prune(place, keep=1, dry_run=True), haulout.delete(f"{place}:1.1", dry_run=True)]
        assert [(done.versions[0].name, done.refused) for done in rehearsed] == [("1.1", True)] * 2
        assert not haulout.prune(place, keep=2, dry_run=True).refused  # nothing is to go: the real one ends well
        assert used(server.root) == before


def test_a_dry_run_says_whether_what_is_attached_can_go(tmp_path, disks, capsys):
    notes = tmp_path / "notes.md"
    notes.write_text("notes")
    for deletes in (True, False):
        with docker_registry(tmp_path, deletes=deletes) as server:
            version = f"{server.host}/machines:1.1"
            publish(f"{server.host}/machines", disks, ["1.1"])
            attached = str(haulout.attach(version, notes, artifact_type="text/markdown").manifest)
            before = used(server.root)
            assert haulout.detach(version, attached, dry_run=True).refused is not deletes
            assert main(["detach", version, attached, "--dry-run"]) == main(["delete", version, "--dry-run"]) == 0
            assert capsys.readouterr().out.count("refused: the registry does not delete") == (0 if deletes else 2)
            assert used(server.root) == before
            assert main(["detach", version, attached]) == (0 if deletes else 7)


def test_other_tags_of_the_same_manifest_stay(place, disks, tmp_path):
    publish(place, disks, ["1.1", "1.2"])
    haulout.tag(f"{place}:1.1", ["stable", "old"])
    done = haulout.delete(f"{place}:1.1")
    assert [(each.name, each.frees) for each in done.versions] == [("1.1", 0)]
    assert done.removal.frees < 4096  # announcements of the push at most
    assert [each.tag for each in haulout.tags(place).tags] == ["old", "stable", "1.2"]
    haulout.pull(f"{place}:stable", output=tmp_path / "x", architecture="x86_64", disk_type="applehv")
    assert sha256(tmp_path / "x") == sha256(disks["1.1"])


def test_what_a_name_that_stays_needs_stays(place, disks, tmp_path):
    publish(place, disks, ["1.1", "1.2", "1.3"])
    haulout.tag(f"{place}:1.1", ["stable"])
    done = haulout.prune(place, keep=1)
    assert [each.name for each in done.versions] == ["1.1", "1.2"]
    assert [each.tag for each in haulout.tags(place).tags] == ["stable", "1.3"]
    haulout.pull(f"{place}:stable", output=tmp_path / "x", architecture="x86_64", disk_type="applehv")
    assert sha256(tmp_path / "x") == sha256(disks["1.1"])


def test_a_digest_takes_consent_and_takes_its_tags(place, disks):
    publish(place, disks, ["1.1", "1.2"])
    haulout.tag(f"{place}:1.1", ["stable"])
    pinned = haulout.tag(f"{place}:1.1", ["stable"]).pinned
    with pytest.raises(UsageError, match=r"with it the tags (1\.1, stable|stable, 1\.1)"):
        haulout.delete(pinned)
    assert len(haulout.tags(place).tags) == 3
    entry = haulout.resolve(f"{place}:1.2", architecture="x86_64").pinned
    with pytest.raises(UsageError, match=r"1\.2 would lose an entry"):
        haulout.delete(entry)
    done = haulout.delete(pinned, force=True)
    assert {each.name for each in done.versions} == {"1.1", "stable"}
    assert [each.tag for each in haulout.tags(place).tags] == ["1.2"]
    with pytest.raises(NotFoundError):
        haulout.delete(f"{place}:1.1")
    with pytest.raises(NotFoundError):
        haulout.delete(pinned, force=True)


def test_an_age_that_is_not_stated_keeps(place, disks):
    publish(place, disks, ["1.1", "1.2"])
    done = haulout.prune(place, older_than=timedelta(hours=1))
    assert done.versions == ()
    assert done.unknown_age == ("1.1",)


@pytest.mark.parametrize("arguments", [{}, {"keep": 0}])
def test_nothing_that_says_what_goes_is_an_error(tmp_path, disks, arguments):
    publish(f"oci:{tmp_path}/l", disks, ["1.1"])
    with pytest.raises(UsageError):
        haulout.prune(f"oci:{tmp_path}/l", **arguments)
    with pytest.raises(UsageError, match="not a repository"):
        haulout.prune(f"oci:{tmp_path}/l:1.1", keep=1)


def test_a_tag_to_delete_is_never_assumed(tmp_path, disks):
    place = f"oci:{tmp_path}/l"
    publish(place, disks, ["1.1"])
    haulout.tag(f"{place}:1.1", ["latest"])
    for reference in (place, "registry.example.com/machines", "localhost:5000/machines"):
        with pytest.raises(UsageError, match="names no tag"):
            haulout.delete(reference)
    haulout.delete(f"{place}:latest")
    assert [each.tag for each in haulout.tags(place).tags] == ["1.1"]


@pytest.mark.parametrize("act", [haulout.tags, lambda place: haulout.prune(place, keep=1)])
def test_a_layout_that_is_not_there_is_not_made(tmp_path, act):
    with pytest.raises(NotFoundError):
        act(f"oci:{tmp_path}/none")
    assert not (tmp_path / "none").exists()


def test_a_collection_waits_for_a_push_and_a_push_for_a_collection(tmp_path, disks):
    place = f"oci:{tmp_path}/l"
    publish(place, disks, ["1.1", "1.2"])
    with (
        LayoutStore(f"{tmp_path}/l", create=True),
        LayoutStore(f"{tmp_path}/l") as reader,
        pytest.raises(ConflictError, match="in use by a push"),
    ):
        collect(reader, {}, (), patience=0.05)
    haulout.prune(place, keep=1)
    assert [each.tag for each in haulout.tags(place).tags] == ["1.2"]


def test_a_disk_is_found_from_any_of_its_digests(place, disks, tmp_path):
    publish(place, disks, ["1.1", "1.2"])
    haulout.tag(f"{place}:1.2", ["latest"])
    found = haulout.resolve(f"{place}:1.2", architecture="aarch64", disk_type="applehv")
    assert found.disk
    assert found.toc
    for digest, what in [
        (found.disk.digest, "disk"),
        (found.blob.digest, "blob"),
        (found.toc.digest, "table of contents"),
    ]:
        matches = haulout.find(digest, place).matches
        assert {(each.is_a, each.architecture, each.disk_type) for each in matches} >= {
            (what, *kind) for kind in KINDS
        }, matches
        assert all(set(each.tags) == {"1.2", "latest"} for each in matches)
    (entry,) = haulout.find(str(found.digest), [place]).matches
    assert (entry.is_a, entry.architecture, entry.manifest) == ("disk manifest", "aarch64", found.digest)
    assert (entry.blob, entry.disk, entry.title) == (found.blob, found.disk, found.title)
    index = haulout.tag(f"{place}:1.2", ["latest"]).pinned.digest
    assert index
    (match,) = haulout.find(index, place).matches
    assert match.is_a == "index"
    assert {(disk.architecture, disk.manifest) for disk in match.disks} >= {("aarch64", found.digest)}
    by_file = haulout.find(disks["1.2"], place)
    assert by_file.digest == found.disk.digest
    assert by_file.files == ()
    haulout.pull(f"{place}:1.2", output=tmp_path / "x", architecture="aarch64", disk_type="applehv")
    assert [each.path for each in haulout.find(found.digest, place).files] == [tmp_path / "x"]
    assert [(each.path, each.unchanged) for each in haulout.find(found.disk.digest).files] == [(tmp_path / "x", True)]
    nothing = haulout.find("0" * 64, place)
    assert (nothing.matches, nothing.files) == ((), ())


def test_the_container_image_beside_a_disk_is_named(tmp_path):
    with docker_registry(tmp_path) as server:
        place = f"{server.host}/machines"
        config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
        publish_container(server, "machines", "image", config)
        publish_blob(server, "machines", "1.0", b"compressed", "m.x86_64.qemu.qcow2.zst", "qemu")
        reference = parse_reference(f"{place}:1.0")
        assert isinstance(reference, RegistryReference)
        with Registries(ConnectionOptions()) as registries, registries.repository(reference, push=True) as store:
            image = store.manifest("image").descriptor
            index = store.manifest("1.0").parse("index")
            assert isinstance(index, Index)
            entry = replace(image, platform=Platform("amd64", "linux"))
            index = replace(index, manifests=(*index.manifests, entry))
            store.push_manifest(index.to_bytes(), index.media_type, "1.0")
        (match,) = haulout.find(Digest.of(b"compressed"), place).matches
        assert (match.is_a, match.containers) == ("blob", (image.digest,))
        (match,) = haulout.find(image.digest, place).matches
        assert (match.is_a, set(match.tags)) == ("container image", {"1.0", "image"})
        assert [disk.disk_type for disk in match.disks] == ["qemu"]


@pytest.mark.parametrize("subject", ["sha256:xyz", "sha512:" + "0" * 128])
def test_what_is_no_digest_to_find(subject):
    with pytest.raises(UsageError, match="not a digest"):
        haulout.find(subject)


def test_a_file_to_find_that_is_not_there():
    with pytest.raises(NotFoundError):
        haulout.find("./none.raw")


def test_what_hung_on_an_index_that_another_tool_deleted_is_found(tmp_path, disks):
    """docker-registry lists no manifests, but the fallback tags stay, and lead to all but what nothing hangs on."""
    note = tmp_path / "notes.md"
    note.write_text("notes")
    with docker_registry(tmp_path) as server:
        place = f"{server.host}/machines"
        publish(place, disks, VERSIONS[:2])
        gone = haulout.resolve(f"{place}:1.1", architecture="x86_64")
        other = haulout.resolve(f"{place}:1.1", architecture="aarch64")
        index = haulout.attach(f"{place}:1.1", note, artifact_type="text/index")
        disk = haulout.attach(f"{place}:1.1", note, artifact_type="text/disk", architecture="x86_64")
        with Registries(ConnectionOptions()) as registries:
            store = registries.repository(RegistryReference(server.host, "machines", "1.1", None), push=True)
            store.delete_manifest(index.subject)
            assert len([tag for tag in store.tags() if is_helper_tag(tag)]) == 2

            looked = haulout.prune(place, untagged=True, dry_run=True).removal
            done = haulout.prune(place, untagged=True).removal
            assert done == looked
            assert {index.manifest, disk.manifest, gone.digest} <= set(done.manifests)
            assert list(store.tags()) == ["1.2"]
            for digest in (index.manifest, disk.manifest, gone.digest):
                with pytest.raises(NotFoundError):
                    store.manifest(digest)
            # Nothing leads to this one: docs/upkeep.md says so.
            assert store.manifest(other.digest).descriptor.digest == other.digest
        haulout.pull(f"{place}:1.2", architecture="x86_64", output=tmp_path / "out.raw")
        assert sha256(tmp_path / "out.raw") == sha256(disks[VERSIONS[1]])

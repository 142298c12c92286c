"""Attaching, discovering, fetching and detaching, over a layout."""

from __future__ import annotations

import io

import pytest
from tests.support.disks import raw_disk
from tests.support.stores import put, put_manifest

from haulout import Architecture, attach, detach, discover, fetch_attached, inventory, push
from haulout.cli.main import main
from haulout.content import LayoutStore
from haulout.errors import ContentError, DigestMismatch, NoMatchingDisk, NotFoundError, UsageError
from haulout.oci import EMPTY, empty_config_manifest

SBOM = "application/spdx+json"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arch in ("x86_64", "aarch64"):
        push("oci:l:1", raw_disk(tmp_path / "d.raw", data_mib=1, size_mib=2), architecture=arch, level=1)
    (tmp_path / "s.json").write_text('{"a": 1}')
    (tmp_path / "n.txt").write_text("notes")
    return tmp_path


def kinds(**rest):
    return [
        (each.artifact_type, each.digest)
        for each in discover("oci:l:1", **rest).attached
        if "haulout" not in each.artifact_type
    ]


def test_what_is_attached_to_the_index_and_to_a_disk_is_found_fetched_and_detached(place):
    index = attach("oci:l:1", "s.json", artifact_type=SBOM)
    disk = attach("oci:l:1", ["s.json", "n.txt"], artifact_type=SBOM, annotations={"k": "v"}, architecture="arm64")
    held = inventory("oci:l:1")
    assert index.subject == held.pinned.digest
    assert [each.descriptor.digest for each in held.disks if each.architecture is Architecture.AARCH64] == [
        disk.subject
    ]
    assert sorted(kinds()) == sorted([(SBOM, index.manifest), (SBOM, disk.manifest)])
    assert kinds(architecture="aarch64") == [(SBOM, disk.manifest)]
    with pytest.raises(NotFoundError, match=r"are attached to oci:l:1: [0-9a-f]{12}, [0-9a-f]{12}"):
        fetch_attached("oci:l:1", artifact_type=SBOM)
    done = fetch_attached("oci:l:1", artifact_type=SBOM, digest=index.manifest.hex[:8], output="got.json")
    assert [path.read_text() for path in done.files] == ['{"a": 1}']
    (place / "out").mkdir()
    done = fetch_attached("oci:l:1", artifact_type=SBOM, architecture="aarch64", output="out")
    assert [path.name for path in done.files] == ["s.json", "n.txt"]
    assert (place / "out/n.txt").read_text() == "notes"
    with pytest.raises(UsageError, match="2 files"):
        fetch_attached("oci:l:1", artifact_type=SBOM, architecture="aarch64", output="one")
    assert detach("oci:l:1", index.manifest).detached == (index.manifest,)
    assert kinds() == [(SBOM, disk.manifest)]
    with pytest.raises(NotFoundError, match="nothing of"):
        detach("oci:l:1", index.manifest)


def test_attaching_the_same_again_changes_nothing(place):
    first = attach("oci:l:1", "s.json", artifact_type=SBOM)
    before = (place / "l/index.json").read_bytes()
    assert attach("oci:l:1", "s.json", artifact_type=SBOM).manifest == first.manifest
    assert (place / "l/index.json").read_bytes() == before


def test_dry_runs_tell_the_same_and_change_nothing(place):
    before = (place / "l/index.json").read_bytes()
    said = attach("oci:l:1", "s.json", artifact_type=SBOM, dry_run=True)
    assert (place / "l/index.json").read_bytes() == before
    done = attach("oci:l:1", "s.json", artifact_type=SBOM)
    assert (said.manifest, said.files) == (done.manifest, done.files)
    assert detach("oci:l:1", done.manifest, dry_run=True).detached == (done.manifest,)
    assert kinds() == [(SBOM, done.manifest)]


def test_what_is_attached_to_it_goes_with_it_and_the_depth_bounds_what_is_shown(place):
    first = attach("oci:l:1", "s.json", artifact_type=SBOM)
    second = attach(f"oci:l@{first.manifest}", "n.txt", artifact_type="x/signature")
    assert kinds(depth=1) == [(SBOM, first.manifest)]
    assert kinds() == [(SBOM, first.manifest), ("x/signature", second.manifest)]
    assert [kind for kind, _ in kinds(artifact_type="x/signature")] == [SBOM, "x/signature"], "with what leads to it"
    assert kinds(artifact_type="x/other") == []
    assert detach("oci:l:1", first.manifest.hex[:6]).detached == (second.manifest, first.manifest)
    assert kinds() == []


def test_signatures_under_cosigns_tags_are_found(place):
    root = inventory("oci:l:1").root.descriptor.digest
    with LayoutStore("l", create=True) as store:
        layer = put(store, b"{}", "application/vnd.dev.cosign.simplesigning.v1+json")
        store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
        made = put_manifest(store, empty_config_manifest((layer,)), f"sha256-{root.hex}.sig")
    (found,) = [each for each in discover("oci:l:1").attached if each.tag]
    assert (found.digest, found.tag) == (made.digest, f"sha256-{root.hex}.sig")
    assert found.artifact_type == "application/vnd.dev.cosign.simplesigning.v1+json"


@pytest.mark.parametrize("title", ["../x", "/etc/x", ".hidden", "a/b", "", "a\nb", "-" * 300])
def test_titles_are_never_paths(place, title):
    with LayoutStore("l", create=True) as store:
        layer = put(store, b"evil", "a/b")
        layer = type(layer)(layer.media_type, layer.digest, layer.size, {"org.opencontainers.image.title": title})
        store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
        subject = store.manifest("1").descriptor.bare()
        put_manifest(store, empty_config_manifest((layer,), artifact_type="x/evil", subject=subject))
    before = sorted(place.rglob("*"))
    with pytest.raises(ContentError, match="not a plain file name"):
        fetch_attached("oci:l:1", artifact_type="x/evil")
    assert sorted(place.rglob("*")) == before
    done = fetch_attached("oci:l:1", artifact_type="x/evil", output="named")
    assert done.files[0].read_bytes() == b"evil"


def test_damage_leaves_what_was_there(place):
    made = attach("oci:l:1", "s.json", artifact_type=SBOM)
    (place / "l/blobs/sha256" / made.files[0].digest.hex).write_text('{"a": 2}')
    (place / "s.json").write_text("mine")
    with pytest.raises(DigestMismatch):
        fetch_attached("oci:l:1", artifact_type=SBOM)
    assert (place / "s.json").read_text() == "mine"
    assert sorted(path.name for path in place.iterdir()) == ["d.raw", "l", "n.txt", "s.json"]


def test_wrong_usage_is_told_in_one_line(place):
    with pytest.raises(UsageError, match="not a media type"):
        attach("oci:l:1", "s.json", artifact_type="sbom")
    with pytest.raises(UsageError, match="no file"):
        attach("oci:l:1", [], artifact_type=SBOM)
    with pytest.raises(NotFoundError, match="no such file"):
        attach("oci:l:1", "none", artifact_type=SBOM)
    with pytest.raises(UsageError, match="is a directory"):
        attach("oci:l:1", ".", artifact_type=SBOM)
    with pytest.raises(NotFoundError, match="no tag 2"):
        attach("oci:l:2", "s.json", artifact_type=SBOM)
    with pytest.raises(NoMatchingDisk):
        attach("oci:l:1", "s.json", artifact_type=SBOM, architecture="s390x")
    with pytest.raises(UsageError, match="which of"):
        fetch_attached("oci:l:1")
    with pytest.raises(UsageError, match="not a digest"):
        detach("oci:l:1", "xyz")
    with pytest.raises(NotFoundError, match="nothing of x/y is attached"):
        fetch_attached("oci:l:1", artifact_type="x/y")


def test_a_file_is_not_written_to_a_pipe(place, capsys):
    assert main(["fetch", "oci:l:1", "--type", SBOM, "-o", "-"]) == 2
    assert "cannot be written to a pipe" in capsys.readouterr().err
    assert not (place / "-").exists()


def test_of_several_files_all_appear_or_none(place):
    made = attach("oci:l:1", ["s.json", "n.txt"], artifact_type="application/vnd.example.both")
    (place / "l/blobs/sha256" / made.files[1].digest.hex).write_bytes(bytes(made.files[1].size))
    (place / "out").mkdir()
    (place / "out/s.json").write_text("mine")
    with pytest.raises(DigestMismatch):
        fetch_attached("oci:l:1", artifact_type="application/vnd.example.both", output="out")
    assert [(path.name, path.read_text()) for path in (place / "out").iterdir()] == [("s.json", "mine")]

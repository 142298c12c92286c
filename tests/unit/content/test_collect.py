"""Collecting the garbage of a layout: killed at any step, beside a push, over what other tools left."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import time
from functools import partialmethod

import pytest
from tests.support.stores import put, put_manifest

from haulout.content import Collected, LayoutStore, collect
from haulout.content.collect import GRACE
from haulout.content.folder import Folder
from haulout.errors import ConflictError, ContentError
from haulout.oci import Descriptor, Index, Manifest, empty_config_manifest


def version(store, number, **options):
    """Publish a version of one blob of its own and one shared one, with something attached to it."""
    layers = (put(store, b"%d" % number * 1000), put(store, b"shared" * 500))
    disk = put_manifest(store, empty_config_manifest(layers, artifact_type="x/disk"))
    put(store, b"{}", "application/vnd.oci.empty.v1+json")
    index = put_manifest(store, Index((disk,)), f"1.{number}", **options)
    signature = (put(store, b"signature %d" % number),)
    attached = put_manifest(store, empty_config_manifest(signature, artifact_type="x/sig", subject=disk))
    return index, disk, attached, layers[0], signature[0]


@pytest.fixture
def layout(tmp_path):
    with LayoutStore(str(tmp_path / "layout"), create=True) as store:
        made = [version(store, number) for number in range(3)]
    return tmp_path / "layout", made


def blobs(folder):
    return {path.name for path in (folder / "blobs/sha256").iterdir()}


def whole(folder):
    """Check all that the layout reaches, and return its tags."""
    with LayoutStore(str(folder)) as store:
        for name in blobs(folder):
            if not name.startswith(".partial"):
                assert hashlib.sha256((folder / "blobs/sha256" / name).read_bytes()).hexdigest() == name
        for tag in store.tags():
            index = store.manifest(tag).parse(tag)
            assert isinstance(index, Index)
            for entry in index.manifests:
                manifest = store.manifest(entry.digest).parse("entry")
                assert isinstance(manifest, Manifest)
                assert all(store.has_blob(layer) for layer in (manifest.config, *manifest.layers))
                for referrer in store.referrers(entry.digest):
                    attached = store.manifest(referrer.digest).parse("attached")
                    assert isinstance(attached, Manifest)
                    assert all(store.has_blob(layer) for layer in attached.layers)
        return list(store.tags())


def going(made):
    return frozenset(each.digest for each in made)


def collected(folder, made, **options):
    with LayoutStore(str(folder)) as store:
        return collect(store, {"1.0": made[0][0].digest}, going(made[0]), **options)


def test_a_version_goes_with_all_that_only_it_needs(layout):
    folder, made = layout
    before = blobs(folder)
    size = sum((folder / "blobs/sha256" / each.digest.hex).stat().st_size for each in made[0])
    assert collected(folder, made) == Collected(len(made[0]), size)
    assert before - blobs(folder) == {each.digest.hex for each in made[0]}
    assert whole(folder) == ["1.1", "1.2"]
    assert collected(folder, made) == Collected(0, 0)


@pytest.mark.parametrize("step", range(8))
def test_killed_at_any_step_it_is_valid_and_the_next_one_finishes(layout, step):
    folder, made = layout
    fresh = folder.with_name("fresh")
    shutil.copytree(folder, fresh)
    collected(fresh, made)
    child = os.fork()
    if child == 0:
        left = [step]

        def counted(folder, method, *arguments):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return method(folder, *arguments)

        for name in ("rename", "remove"):
            setattr(Folder, name, partialmethod(counted, getattr(Folder, name)))
        try:
            collected(folder, made)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert whole(folder) in (["1.0", "1.1", "1.2"], ["1.1", "1.2"])
    collected(folder, made)
    assert whole(folder) == ["1.1", "1.2"]
    assert blobs(folder) == blobs(fresh)


def test_what_a_push_has_found_there_stays_until_it_is_done(layout):
    folder, made = layout
    with LayoutStore(str(folder), create=True) as pushing:
        assert pushing.has_blob(made[0][3])
        with pytest.raises(ConflictError, match="in use by a push"):
            collected(folder, made, patience=0.05)
        put_manifest(pushing, empty_config_manifest((made[0][3],), artifact_type="x/disk"), "again")
    collected(folder, made)
    with LayoutStore(str(folder)) as store:
        assert store.has_blob(made[0][3])
        assert list(store.tags()) == ["1.1", "1.2", "again"]


def test_a_tag_that_moved_meanwhile_stays(layout):
    folder, made = layout
    with LayoutStore(str(folder), create=True) as store:
        store.push_manifest(store.manifest("1.1").data, made[1][0].media_type, "1.0")
    collected(folder, made)
    assert whole(folder) == ["1.0", "1.1", "1.2"]


def test_a_blob_that_nothing_needed_stays_for_an_hour_and_strange_files_for_ever(layout):
    folder, made = layout
    names = {"fresh": b"fresh", "old": b"old"}
    paths = {name: folder / "blobs/sha256" / hashlib.sha256(data).hexdigest() for name, data in names.items()}
    for name, path in paths.items():
        path.write_bytes(names[name])
    os.utime(paths["old"], (time.time() - GRACE - 60,) * 2)
    (folder / "blobs/sha256/notes.txt").write_text("mine")
    collected(folder, made)
    assert paths["fresh"].exists()
    assert not paths["old"].exists()
    assert (folder / "blobs/sha256/notes.txt").exists()


def test_entries_without_a_name_go_only_when_asked(layout):
    folder, made = layout
    with LayoutStore(str(folder), create=True) as store:
        lone = put_manifest(store, empty_config_manifest((put(store, b"lone"),), artifact_type="x/y"), "lone")
        store.push_manifest(store.manifest("1.2").data, made[2][0].media_type, "lone")
        index = store.entries()
        assert all(entry.digest != lone.digest for entry in index.manifests)
        # As oras lists it.
        bare = Descriptor(lone.media_type, lone.digest, lone.size)
        store.relist(type(index)((*index.manifests, bare)))
    collected(folder, made)
    assert lone.digest.hex in blobs(folder)
    collected(folder, made, untagged=True)
    with LayoutStore(str(folder)) as store:
        assert all(entry.digest != lone.digest for entry in store.entries().manifests)
        # What is attached to a tag's disk stays, though it has no name either.
        assert len(store.referrers(made[1][1].digest)) == 1
    assert whole(folder) == ["1.1", "1.2", "lone"]


def test_where_it_cannot_be_said_what_a_tag_needs_nothing_goes(layout):
    folder, made = layout
    path = folder / "blobs/sha256" / made[1][1].digest.hex
    path.write_bytes(b"x" * made[1][1].size)
    before = blobs(folder)
    with pytest.raises(ContentError, match="nothing is deleted"):
        collected(folder, made)
    assert blobs(folder) == before


def test_a_part_that_is_missing_hinders_nothing(layout):
    folder, made = layout
    (folder / "blobs/sha256" / made[1][1].digest.hex).unlink()
    collected(folder, made)
    with LayoutStore(str(folder)) as store:
        assert list(store.tags()) == ["1.1", "1.2"]

"""The layout on disk: what its files look like, whose names count, and what is refused there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.stores import put, put_manifest

from haulout.content import naming
from haulout.content.layout import LayoutStore
from haulout.content.verify import read_blob
from haulout.errors import (
    ConflictError,
    ContentError,
    DigestMismatch,
    HauloutError,
    InvalidManifest,
    NotFoundError,
    StorageError,
)
from haulout.oci import Descriptor, Digest, Index, empty_config_manifest, mediatype

REF = "org.opencontainers.image.ref.name"
MANIFEST = empty_config_manifest((), artifact_type="a/b")


@pytest.fixture
def layout(tmp_path):
    with LayoutStore(str(tmp_path / "l"), create=True) as store:
        yield store


def push(store, number=0, tag=None):
    manifest = empty_config_manifest((), artifact_type=f"a/{number}")
    return store.push_manifest(manifest.to_bytes(), manifest.media_type, tag)


def names_in(directory):
    return sorted(path.name for path in Path(directory).iterdir())


def index_of(store):
    return json.loads(Path(store.directory, "index.json").read_bytes())


def write_index(store, entries, **more):
    Path(store.directory, "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries} | more))


def blob_path(store, digest):
    return Path(store.directory, "blobs/sha256", digest.hex)


def test_the_files_are_those_of_the_specification(layout):
    pushed = push(layout, tag="5.0")
    assert names_in(layout.directory) == ["blobs", "index.json", "index.lock", "oci-layout"]
    assert Path(layout.directory, "oci-layout").read_text() == '{"imageLayoutVersion":"1.0.0"}'
    assert names_in(f"{layout.directory}/blobs/sha256") == [pushed.digest.hex]
    assert index_of(layout) == {
        "schemaVersion": 2,
        "mediaType": mediatype.OCI_INDEX,
        "manifests": [
            {
                "mediaType": mediatype.OCI_MANIFEST,
                "digest": str(pushed.digest),
                "size": pushed.size,
                "annotations": {REF: "5.0"},
                "artifactType": "a/0",
            }
        ],
    }


def test_opening_again_finds_everything_and_changes_nothing(layout):
    pushed = push(layout, tag="5.0")
    before = Path(layout.directory, "index.json").stat().st_mtime_ns
    for create in (False, True):
        with LayoutStore(layout.directory, create=create) as again:
            assert again.manifest("5.0").descriptor.digest == pushed.digest
            push(again, tag="5.0")
    assert Path(layout.directory, "index.json").stat().st_mtime_ns == before


def test_what_others_wrote_into_the_index_stays(layout):
    pushed = push(layout)
    foreign = {
        "mediaType": "application/vnd.example.other+json",
        "digest": f"sha256:{'c' * 64}",
        "size": 7,
        "urls": ["https://elsewhere.test/"],
        "annotations": {REF: "theirs", "k": "v"},
        "platform": {"architecture": "sparc", "os": "plan9", "os.version": "4"},
        "x-more": {"deep": [1, None]},
    }
    write_index(layout, [foreign], annotations={"top": "1"}, mine=True)
    push(layout, tag="5.0")
    written = index_of(layout)
    assert written["manifests"][0] == foreign
    assert written["manifests"][1]["digest"] == str(pushed.digest)
    assert written["annotations"] == {"top": "1"}
    assert written["mine"] is True


def entry(store, number, **annotations):
    pushed = push(store, number)
    return pushed.to_json() | ({"annotations": annotations} if annotations else {})


def test_of_several_entries_with_one_name_the_first_counts(layout):
    entries = [entry(layout, number, **{REF: "5.0", "n": str(number)}) for number in range(3)]
    write_index(layout, entries)
    assert str(layout.manifest("5.0").descriptor.digest) == entries[0]["digest"]
    new = push(layout, 9, tag="5.0")
    assert layout.manifest("5.0").descriptor.digest == new.digest
    # The shadowed ones lose the name, or other tools would still see it on them.
    assert [(item["digest"], item["annotations"].get(REF)) for item in index_of(layout)["manifests"]] == [
        (str(new.digest), "5.0"),
        (entries[1]["digest"], None),
        (entries[2]["digest"], None),
    ]


def test_a_full_name_answers_to_its_tag(layout):
    first = entry(layout, 1, **{REF: "quay.io/x/disk:5.0"})
    second = entry(layout, 2, **{REF: "main", "io.containerd.image.name": "docker.io/library/y:6.0"})
    write_index(layout, [first, second])
    assert str(layout.manifest("5.0").descriptor.digest) == first["digest"]
    assert str(layout.manifest("6.0").descriptor.digest) == second["digest"]
    assert str(layout.manifest("main").descriptor.digest) == second["digest"]
    assert list(layout.tags()) == ["5.0", "6.0", "main"]
    exact = push(layout, 3, tag="5.0")
    assert layout.manifest("5.0").descriptor.digest == exact.digest


def test_full_names_that_disagree_about_a_tag_are_ambiguous(layout):
    write_index(layout, [entry(layout, number, **{REF: f"quay.io/x{number}:5.0"}) for number in range(2)])
    with pytest.raises(ContentError, match=r"2 manifests whose names end in :5\.0") as caught:
        layout.manifest("5.0")
    assert "sha256:" in (caught.value.hint or "")


def test_latest_is_the_only_entry_if_that_has_no_name(layout):
    only = entry(layout, 1)
    write_index(layout, [only])
    assert str(layout.manifest("latest").descriptor.digest) == only["digest"]
    with pytest.raises(NotFoundError, match="it has no tags"):
        layout.manifest("5.0")
    write_index(layout, [only, entry(layout, 2)])
    with pytest.raises(NotFoundError):
        layout.manifest("latest")


def test_a_missing_tag_is_answered_with_those_there_are(layout):
    for number in range(12):
        push(layout, number, tag=f"v{number:02}")
    with pytest.raises(NotFoundError, match=r"no tag 5\.9 in oci:.*; there are v00, .*, v07, …"):
        layout.manifest("5.9")


def test_referrers_in_the_shapes_other_tools_write_are_found(layout):
    subject = push(layout)
    oras, regctl = (
        empty_config_manifest((), artifact_type=kind, subject=subject.bare()) for kind in ("x/oras", "x/regctl")
    )
    by_oras = layout.push_manifest(oras.to_bytes(), oras.media_type)
    fallback = Index((Descriptor.of(mediatype.OCI_MANIFEST, regctl.to_bytes()),))
    blob_path(layout, Digest.of(regctl.to_bytes())).write_bytes(regctl.to_bytes())
    tagged = layout.push_manifest(fallback.to_bytes(), fallback.media_type, f"sha256-{subject.digest.hex}")
    write_index(
        layout,
        [by_oras.to_json(), tagged.to_json() | {"annotations": {REF: f"sha256-{subject.digest.hex}"}}],
    )
    assert [item.artifact_type for item in layout.referrers(subject.digest)] == ["x/oras", "x/regctl"]


def test_damaged_and_missing_manifests_do_not_hide_the_referrers_of_others(layout):
    subject = push(layout)
    good = empty_config_manifest((), artifact_type="x/good", subject=subject.bare())
    kept = layout.push_manifest(good.to_bytes(), good.media_type)
    damaged = push(layout, 5)
    blob_path(layout, damaged.digest).write_bytes(b"{}")
    missing = Descriptor.of(mediatype.OCI_MANIFEST, b"never stored")
    write_index(layout, [damaged.to_json(), missing.to_json(), kept.to_json()])
    assert [item.digest for item in layout.referrers(subject.digest)] == [kept.digest]


def damage(store, kind, pushed):
    path = blob_path(store, pushed.digest)
    if kind == "flipped":
        data = bytearray(path.read_bytes())
        data[10] ^= 1
        path.write_bytes(data)
    elif kind == "cut":
        os.truncate(path, 10)
    else:
        path.unlink()
        if kind == "symlink":
            path.symlink_to("/etc/passwd")
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "directory":
            path.mkdir()


@pytest.mark.parametrize("kind", ["flipped", "cut", "missing", "symlink", "fifo", "directory"])
def test_a_damaged_manifest_is_refused_at_once_and_mended_by_pushing_again(layout, kind):
    pushed = push(layout, tag="5.0")
    damage(layout, kind, pushed)
    began = time.monotonic()
    with pytest.raises(ContentError) as caught:
        layout.manifest("5.0")
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 5
    if kind in {"flipped", "cut", "missing"}:
        push(layout, tag="5.0")
        assert layout.manifest("5.0").parse("x")


@pytest.mark.parametrize("kind", ["cut", "symlink", "fifo", "directory"])
def test_a_blob_that_is_no_plain_whole_file_is_refused(layout, kind):
    with layout.ingest() as ingest:
        ingest.write(b"x" * 100)
        blob = ingest.commit("a/b")
    damage(layout, kind, blob)
    assert not layout.has_blob(blob)
    with pytest.raises(ContentError):
        layout.open_blob(blob)


def test_a_flipped_bit_in_a_blob_is_caught_by_its_reader(layout):
    with layout.ingest() as ingest:
        ingest.write(b"x" * 100)
        blob = ingest.commit("a/b")
    damage(layout, "flipped", blob)
    with pytest.raises(DigestMismatch):
        read_blob(layout, blob, 1000, "it")


def test_a_layout_whose_blobs_lie_behind_a_link_is_refused(layout, tmp_path):
    pushed = push(layout, tag="5.0")
    blobs = Path(layout.directory, "blobs")
    blobs.rename(tmp_path / "elsewhere")
    blobs.symlink_to(tmp_path / "elsewhere")
    with LayoutStore(layout.directory) as again:
        with pytest.raises(StorageError):
            again.manifest(pushed.digest)
        with pytest.raises(StorageError):
            push(again, 7)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, ContentError),
        (b"", InvalidManifest),
        (b"<html>", InvalidManifest),
        (b'{"schemaVersion":2,"manifests":[],"manifests":[]}', InvalidManifest),
        (b'{"schemaVersion":2,"manifests":[{"digest":"sha256:../x"}]}', InvalidManifest),
        (b" " * 5_000_000, ContentError),
    ],
)
def test_a_damaged_index_is_one_clear_line_and_never_overwritten(layout, content, error):
    path = Path(layout.directory, "index.json")
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    for attempt in (
        lambda: layout.manifest("5.0"),
        lambda: list(layout.tags()),
        lambda: push(layout, 1, tag="5.0"),
        lambda: layout.referrers(Digest.of(b"")),
    ):
        with pytest.raises(error) as caught:
            attempt()
        assert "\n" not in str(caught.value)
        assert layout.directory in str(caught.value)
    assert content is None or path.read_bytes() == content


def test_places_that_are_no_layout(tmp_path):
    with pytest.raises(NotFoundError, match=r"layout .*missing does not exist") as caught:
        LayoutStore(str(tmp_path / "missing"))
    assert "oci:" in str(caught.value.hint)
    with pytest.raises(NotFoundError, match="not an OCI image layout"):
        LayoutStore(str(tmp_path))
    (tmp_path / "file").write_text("x")
    for create in (False, True):
        with pytest.raises(StorageError):
            LayoutStore(str(tmp_path / "file"), create=create)
        with pytest.raises(StorageError):
            LayoutStore("no\0name", create=create)
    with pytest.raises(StorageError, match="holds other things"):
        LayoutStore(str(tmp_path), create=True)
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "marker", ["", "[]", "{}", '{"imageLayoutVersion":2}', '{"imageLayoutVersion":"9.0"}', "<html>"]
)
def test_a_marker_file_of_something_else_is_refused(tmp_path, marker):
    (tmp_path / "oci-layout").write_text(marker)
    for create in (False, True):
        with pytest.raises(ContentError):
            LayoutStore(str(tmp_path), create=create)


def test_a_creation_cut_short_is_completed(tmp_path):
    for left in ([], ["index.lock"], ["index.lock", "index.json"]):
        directory = tmp_path / f"l{len(left)}"
        directory.mkdir()
        for name in left:
            (directory / name).write_text('{"schemaVersion":2,"manifests":[]}' if name == "index.json" else "")
        with LayoutStore(str(directory), create=True) as store:
            assert push(store, tag="5.0") == store.manifest("5.0").descriptor


def test_a_layout_from_another_tool_needs_no_blobs_directory_yet(tmp_path):
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (tmp_path / "index.json").write_text('{"schemaVersion":2,"manifests":null}')
    with LayoutStore(str(tmp_path)) as store:
        with pytest.raises(NotFoundError):
            store.manifest("latest")
        with pytest.raises(NotFoundError):
            store.open_blob(Descriptor.of("a/b", b"x"))
        assert not store.has_blob(Descriptor.of("a/b", b"x"))
        assert push(store, tag="5.0") == store.manifest("5.0").descriptor


def test_a_closed_store_says_so_instead_of_touching_anything(tmp_path):
    store = LayoutStore(str(tmp_path / "l"), create=True)
    store.close()
    store.close()
    for attempt in (lambda: store.manifest("x"), lambda: push(store), lambda: list(store.tags())):
        with pytest.raises(HauloutError):
            attempt()


# Several at once


def test_threads_lose_no_tag(layout):
    def work(first):
        for number in range(first, first + 10):
            push(layout, number, tag=f"t{number:02}")

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(layout.tags()) == [f"t{number:02}" for number in range(30)]


def test_a_lock_held_for_too_long_is_a_conflict_and_reading_goes_on(layout):
    push(layout, tag="5.0")
    with LayoutStore(layout.directory, patience=0.1) as other, layout.exclusive():
        assert list(other.tags()) == ["5.0"]
        with pytest.raises(ConflictError, match=r"held by another writer for 0\.1 s"):
            push(other, 2, tag="6.0")
    push(layout, 2, tag="6.0")


def test_a_record_lock_as_podman_takes_it_is_respected(layout):
    """Podman's artifact store locks index.lock with fcntl(F_SETLK), which is not flock."""
    code = "import fcntl,sys; f=open(sys.argv[1],'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, f"{layout.directory}/index.lock"]
    with (
        LayoutStore(layout.directory, patience=0.1) as store,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder,
    ):
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(ConflictError):
            push(store, 3, tag="7.0")
        holder.stdin.close()
        holder.wait(10)
        push(store, 3, tag="7.0")


def test_what_a_killed_writer_left_goes_and_what_a_living_one_writes_stays(layout):
    push(layout)
    dead = Path(layout.directory, "blobs/sha256/.partial-dead")
    dead.write_bytes(b"half a disk")
    with layout.ingest() as ingest:
        ingest.write(b"x" * 10)
        with LayoutStore(layout.directory) as other:
            push(other, 4)
        assert not dead.exists()
        blob = ingest.commit("a/b")
    assert read_blob(layout, blob, 100, "it") == b"x" * 10
    assert not [name for name in names_in(f"{layout.directory}/blobs/sha256") if name.startswith(".")]


# Names, as pure decisions

_NAMES = st.sampled_from(["5.0", "5.1", "quay.io/x:5.0", "latest", ""])
_ENTRIES = st.lists(
    st.builds(
        lambda number, name, more: Descriptor(
            mediatype.OCI_MANIFEST, Digest.of(b"%d" % number), number, ({REF: name} if name else {}) | more
        ),
        st.integers(0, 5),
        _NAMES,
        st.dictionaries(st.sampled_from(["a", "b"]), st.text(max_size=3), max_size=2),
    ),
    max_size=6,
)


@settings(max_examples=200)
@given(_ENTRIES, st.sampled_from(["5.0", "5.1", "new"]), st.integers(0, 6))
def test_writing_a_tag_gives_it_one_meaning_and_leaves_the_rest(entries, tag, number):
    index = Index(tuple(entries))
    target = Descriptor(mediatype.OCI_MANIFEST, Digest.of(b"%d" % number), number)
    changed = naming.with_tag(index, tag, target, frozenset())
    bearers = [item for item in changed.manifests if naming.bears(item, tag)]
    assert [item.digest for item in bearers] == [target.digest]
    found = naming.find(changed, tag, "x")
    assert found is not None
    assert found.digest == target.digest
    strangers = [item for item in index.manifests if not naming.bears(item, tag)]
    # In their order, among others: a former bearer may have become just like one of them.
    remaining = iter(changed.manifests)
    assert all(item in remaining for item in strangers)
    assert changed == naming.with_tag(changed, tag, target, frozenset())


# -- referrers, names and limits -------------------------------------------------------------------------------------------


def test_a_lone_referrer_is_not_latest(tmp_path):
    with LayoutStore(str(tmp_path / "l"), create=True) as store:
        disk = put_manifest(store, empty_config_manifest((put(store),)))
        put_manifest(store, empty_config_manifest((), artifact_type="x/toc", subject=disk.bare()))
        with pytest.raises(NotFoundError, match="no tag latest"):
            store.manifest("latest")
        put_manifest(store, Index((disk,)), "latest")
        assert store.manifest("latest").parse("x") == Index((disk,))


def listed(store) -> list[str | None]:
    return [entry.annotations.get(REF) for entry in store.entries().manifests]


def version(store, seed: bytes, tag: str) -> Descriptor:
    """A disk with a delta and the delta's signature, under a tag: as ``copy`` writes it, what is attached first."""
    disk = put_manifest(store, empty_config_manifest((put(store, seed),)))
    delta = put_manifest(store, empty_config_manifest((), artifact_type="x/delta", subject=disk.bare()))
    put_manifest(store, empty_config_manifest((), artifact_type="x/signature", subject=delta.bare()))
    return put_manifest(store, Index((disk,)), tag)


@pytest.mark.parametrize("how", ["moves", "is deleted", "goes with its manifest"])
def test_what_is_attached_goes_from_the_index_with_what_no_tag_reaches(tmp_path, how):
    with LayoutStore(str(tmp_path / "l"), create=True) as store:
        old = version(store, b"old" * 99, "5.0")
        other = version(store, b"other" * 99, "6.0")
        assert listed(store) == [None, None, "5.0", None, None, "6.0"]
        if how == "moves":
            version(store, b"new" * 99, "5.0")
            assert listed(store) == ["5.0", None, None, "6.0", None, None]
        elif how == "is deleted":
            store.delete_tag("5.0")
            assert listed(store) == [None, None, "6.0"]
        else:
            store.delete_manifest(old.digest)
            assert listed(store) == [None, None, "6.0"]
        assert store.manifest("6.0").descriptor == other


def test_what_another_tag_reaches_stays_attached(tmp_path):
    with LayoutStore(str(tmp_path / "l"), create=True) as store:
        version(store, b"same" * 99, "5.0")
        version(store, b"same" * 99, "5.1")
        version(store, b"new" * 99, "5.0")
        assert listed(store).count(None) == 4
        store.delete_tag("5.1")
        assert listed(store).count(None) == 2


def test_an_image_without_a_name_stays(tmp_path):
    with LayoutStore(str(tmp_path / "l"), create=True) as store:
        stranger = put_manifest(store, empty_config_manifest((put(store, b"x" * 99),)))
        index = Index((stranger,))
        (tmp_path / "l/index.json").write_bytes(index.to_bytes())
        version(store, b"old" * 99, "5.0")
        version(store, b"new" * 99, "5.0")
        assert store.entries().manifests[0].digest == stranger.digest


def test_more_entries_than_a_registry_may_send_are_written_and_read(tmp_path):
    with LayoutStore(str(tmp_path / "l"), create=True) as store:
        described = put_manifest(store, empty_config_manifest((put(store),)))
        many = tuple(replace(described, annotations={REF: f"v{number}"}) for number in range(6000))
        (tmp_path / "l/index.json").write_bytes(Index(many).to_bytes())
        put_manifest(store, Index((described,)), "5.0")
        assert len(store.entries().manifests) == 6001
        assert store.manifest("v5999").descriptor.digest == described.digest
        assert store.referrers(described.digest) == ()


def test_an_index_too_large_to_be_read_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("haulout.content.index_file.MAX_BYTES", 2000)
    with LayoutStore(str(tmp_path / "l"), create=True) as store:
        described = put_manifest(store, empty_config_manifest((put(store),)), "a")

        def push_many():
            for number in range(40):
                put_manifest(store, Index((described,), annotations={"n": str(number)}), f"t{number}")

        with pytest.raises(ContentError, match=r"would have .* bytes") as caught:
            push_many()
        assert "prune" in (caught.value.hint or "")
        assert store.manifest("a").descriptor == described

"""Archives of layouts: written whole, read in place, and hostile ones refused."""

from __future__ import annotations

import io
import os
import tarfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from tests.support.stores import put, put_manifest

from haulout.content.archive import ArchiveStore, replacing_archive
from haulout.content.copy import CopyOptions, copy
from haulout.content.memory import MemoryStore
from haulout.content.tar import MAX_MEMBERS
from haulout.content.verify import read_blob
from haulout.errors import ContentError, DigestMismatch, NotFoundError, StorageError, UsageError
from haulout.oci import EMPTY, Descriptor, Index, empty_config_manifest


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def image(store, text=b"disk", tag="5.0", signed=True):
    layer = put(store, text)
    store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
    disk = put_manifest(store, empty_config_manifest((layer,)))
    if signed:
        put_manifest(store, empty_config_manifest((), artifact_type="x/sig", subject=disk.bare()))
    return put_manifest(store, Index((disk,)), tag), disk, layer


@pytest.fixture
def archive(tmp_path):
    path = str(tmp_path / "a.tar")
    store = MemoryStore()
    root, disk, layer = image(store)
    with replacing_archive(path) as writer:
        copy(store, "5.0", writer, "5.0", CopyOptions(jobs=4))
    return path, root, disk, layer


def test_an_archive_holds_what_was_copied_and_any_tar_program_unpacks_it(archive, tmp_path):
    path, root, disk, layer = archive
    with ArchiveStore(path) as store:
        assert store.manifest("5.0").descriptor == store.manifest("").descriptor == root
        assert list(store.tags()) == ["5.0"]
        assert read_blob(store, layer, 100, "x") == b"disk"
        assert [each.artifact_type for each in store.referrers(disk.digest)] == ["x/sig"]
        with store.open_blob(layer, 1, 3) as stream:
            assert stream.read(10) == b"is"
    with tarfile.open(path) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    assert (tmp_path / "out/blobs/sha256" / layer.digest.hex).read_bytes() == b"disk"
    assert names(tmp_path) == ["a.tar", "out"]


def test_copying_into_an_archive_keeps_its_other_images_and_fetches_no_blob_twice(archive, monkeypatch):
    path, root, disk, _ = archive
    store = MemoryStore()
    newer, *_ = image(store, signed=False, tag="6.0")
    monkeypatch.setattr(store, "open_blob", None)
    with replacing_archive(path) as writer:
        copy(store, "6.0", writer, "6.0")
    with ArchiveStore(path) as held:
        assert held.manifest("5.0").descriptor == root
        assert held.manifest("6.0").descriptor == newer
        assert len(held.referrers(disk.digest)) == 1
        with pytest.raises(NotFoundError, match=r"holds 1 images|holds 2 images|5\.0, 6\.0"):
            held.manifest("7.0")


def test_a_damaged_blob_of_the_old_archive_is_fetched_anew(archive):
    path, _, _, layer = archive
    with Path(path).open("r+b") as file:
        data = file.read()
        file.seek(data.index(b"disk"))
        file.write(b"Disk")
    with ArchiveStore(path) as store, pytest.raises(DigestMismatch):
        read_blob(store, layer, 100, "x")
    fresh = MemoryStore()
    image(fresh)
    with replacing_archive(path) as writer:
        copy(fresh, "5.0", writer, "5.0")
    with ArchiveStore(path) as held:
        assert read_blob(held, layer, 100, "x") == b"disk"


def test_a_copy_that_fails_leaves_the_old_archive_and_nothing_else(archive, tmp_path):
    path, *_ = archive
    before = (tmp_path / "a.tar").read_bytes()
    store = MemoryStore()
    image(store, b"other", "6.0")
    with pytest.raises(NotFoundError), replacing_archive(path) as writer:
        copy(store, "6.0", writer, "6.0").plan.tags or copy(store, "7.0", writer)
    assert (tmp_path / "a.tar").read_bytes() == before
    assert names(tmp_path) == ["a.tar"]


def test_what_is_no_archive_is_not_replaced(tmp_path):
    (tmp_path / "notes.txt").write_text("mine\n" * 300)
    with pytest.raises(ContentError, match="not a tar archive"), replacing_archive(str(tmp_path / "notes.txt")):
        pass
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(tmp_path / "notes.txt", "notes.txt")
    with pytest.raises(NotFoundError, match="not an OCI image layout"), replacing_archive(str(tmp_path / "other.tar")):
        pass
    assert names(tmp_path) == ["notes.txt", "other.tar"]


def test_several_images_need_a_name(archive):
    path, *_ = archive
    store = MemoryStore()
    image(store, b"other", "6.0")
    with replacing_archive(path) as writer:
        copy(store, "6.0", writer, "6.0")
    with ArchiveStore(path) as held, pytest.raises(NotFoundError, match=r"holds 2 images: 5\.0, 6\.0"):
        held.manifest("")


def test_an_archive_is_read_only(archive):
    with ArchiveStore(archive[0]) as store, pytest.raises((UsageError, StorageError)):
        put(store, b"more")


@pytest.mark.parametrize(
    ("name", "magic"),
    [("gunzip", b"\x1f\x8b"), ("unzstd", b"\x28\xb5\x2f\xfd"), ("unxz", b"\xfd7zXZ\x00"), ("bunzip2", b"BZh")],
)
def test_a_compressed_archive_is_named_with_the_way_out(tmp_path, name, magic):
    (tmp_path / "a").write_bytes(magic + b"x" * 2000)
    with pytest.raises(ContentError, match="compressed") as found:
        ArchiveStore(str(tmp_path / "a"))
    assert name in str(found.value.hint)


def with_members(path, *members):
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))


def member(name, data=b"", **rest):
    made = tarfile.TarInfo(name)
    made.size = len(data)
    for key, value in rest.items():
        setattr(made, key, value)
    return made, data


LAYOUT = member("./oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
INDEX = member("./index.json", Index(()).to_bytes())


def test_members_with_a_dot_and_extended_headers_are_read(tmp_path):
    path = tmp_path / "a"
    with_members(
        path,
        member("./blobs", type=tarfile.DIRTYPE),
        LAYOUT,
        member("./index.json", INDEX[1], pax_headers={"mtime": "1.5"}),
    )
    with ArchiveStore(str(path)) as store:
        assert list(store.tags()) == []


def cut(path, size):
    with_members(path, LAYOUT, INDEX)
    os.truncate(path, size)


HOSTILE = {
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(10240)),
    "noise": lambda path: path.write_bytes(os.urandom(10240)),
    "cut in a member": lambda path: cut(path, 520),
    "cut before the end": lambda path: cut(path, 2048),
    "a link as the index": lambda path: with_members(
        path, LAYOUT, member("index.json", type=tarfile.SYMTYPE, linkname="/etc/passwd")
    ),
    "a device as the index": lambda path: with_members(path, LAYOUT, member("index.json", type=tarfile.CHRTYPE)),
    "a huge size": lambda path: (with_members(path, LAYOUT, INDEX, member("x", pax_headers={"size": str(1 << 62)})),),
    "a negative size": lambda path: with_members(path, LAYOUT, INDEX, member("x", pax_headers={"size": "-5"})),
    "a size of many digits": lambda path: with_members(
        path, LAYOUT, INDEX, member("x", pax_headers={"size": "9" * 5000})
    ),
    "a sparse index": lambda path: with_members(
        path, LAYOUT, member("index.json", INDEX[1], pax_headers={"GNU.sparse.major": "1"})
    ),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_hostile_archives_are_refused_in_one_line(tmp_path, how):
    path = tmp_path / "a"
    HOSTILE[how](path)
    with pytest.raises((ContentError, NotFoundError)) as found, ArchiveStore(str(path)) as store:
        store.manifest("")
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 400


def test_the_last_of_two_members_counts_as_for_who_unpacks_it(tmp_path):
    path = tmp_path / "a"
    broken = member("index.json", b"{")
    with_members(path, LAYOUT, broken, INDEX)
    with ArchiveStore(str(path)) as store:
        assert list(store.tags()) == []


def test_members_without_end_are_not_counted_for_ever(tmp_path):
    path = tmp_path / "a"
    block = tarfile.TarInfo("x").tobuf()
    path.write_bytes(block * (MAX_MEMBERS + 1))
    with pytest.raises(ContentError, match="members"):
        ArchiveStore(str(path))


def test_a_pipe_is_no_archive(tmp_path):
    os.mkfifo(tmp_path / "p")
    with pytest.raises(StorageError, match="not an archive"):
        ArchiveStore(str(tmp_path / "p"))


def test_a_blob_that_is_another_is_not_written(tmp_path):
    path = str(tmp_path / "a")
    blob = Descriptor.of("x/y", b"12345")
    for wrong in (b"1234", b"123456"):
        with pytest.raises(ContentError), ExitStack() as stack:
            stack.enter_context(replacing_archive(path)).push_blob(blob, partial(io.BytesIO, wrong))
    assert names(tmp_path) == []

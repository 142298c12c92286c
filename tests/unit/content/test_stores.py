"""Both local stores keep the same promises: what goes in comes out, verified; what is wrong never gets in."""

from __future__ import annotations

import io
import json as stdlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.content.copy import copy
from haulout.content.layout import LayoutStore
from haulout.content.memory import MemoryStore
from haulout.content.verify import VerifiedReader, read_blob
from haulout.errors import ContentError, DigestMismatch, InvalidManifest, NotFoundError, SizeMismatch
from haulout.oci import EMPTY, Descriptor, Digest, Index, Manifest, empty_config_manifest, mediatype
from haulout.progress import NullProgress

if TYPE_CHECKING:
    from haulout.content.ports import Store

BLOB = b"0123456789" * 100


@pytest.fixture(params=["memory", "layout"])
def store(request, tmp_path):
    place: Store = MemoryStore() if request.param == "memory" else LayoutStore(str(tmp_path / "l"), create=True)
    with place:
        yield place


def put(store: Store, data: bytes = BLOB, media_type: str = mediatype.ZSTD) -> Descriptor:
    with store.ingest() as ingest:
        half = len(data) // 2
        ingest.write(data[:half])
        ingest.write(memoryview(data)[half:])
        return ingest.commit(media_type)


def put_manifest(store: Store, manifest: Manifest | Index, tag: str | None = None) -> Descriptor:
    return store.push_manifest(manifest.to_bytes(), manifest.media_type, tag)


def parsed(store: Store, selector: str | Digest) -> Any:
    return store.manifest(selector).parse("x")


class Counted:
    """A task that counts."""

    def __init__(self) -> None:
        self.done = 0

    def advance(self, amount: int) -> None:
        self.done += amount

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None: ...


def test_a_blob_comes_back_whole_and_in_parts(store):
    blob = put(store)
    assert store.has_blob(blob)
    assert blob == Descriptor.of(mediatype.ZSTD, BLOB)
    assert read_blob(store, blob, 10_000, "x") == BLOB
    with store.open_blob(blob, 5, 15) as stream:
        assert (stream.start, stream.stop) == (5, 15)
        assert stream.read(4) == BLOB[5:9]
        assert stream.read(100) == BLOB[9:15]
        assert stream.read(1) == b""
    with store.open_blob(blob, 1000) as stream:
        assert stream.read(1) == b""


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 4), (0, 1001), (1001, None)])
def test_a_range_outside_the_blob_is_refused(store, start, stop):
    blob = put(store)
    with pytest.raises(SizeMismatch):
        store.open_blob(blob, start, stop)


def test_what_is_absent_is_said_to_be_absent(store):
    stranger = Descriptor.of("a/b", b"never stored")
    assert not store.has_blob(stranger)
    with pytest.raises(NotFoundError, match=str(stranger.digest)):
        store.open_blob(stranger)
    with pytest.raises(NotFoundError, match=str(stranger.digest)):
        store.manifest(stranger.digest)
    with pytest.raises(NotFoundError, match="no tag 1"):
        store.manifest("1")


def test_a_discarded_ingest_leaves_nothing(store):
    with store.ingest() as ingest:
        ingest.write(BLOB)
    assert not store.has_blob(Descriptor.of("a/b", BLOB))


def test_pushing_a_known_blob_reads_the_source_only_once(store):
    blob, task, opened = Descriptor.of("a/b", BLOB), Counted(), []

    def source():
        opened.append(1)
        return io.BytesIO(BLOB)

    store.push_blob(blob, source, task)
    store.push_blob(blob, source, task)
    assert len(opened) == 1
    assert task.done == 2 * len(BLOB)
    assert read_blob(store, blob, 10_000, "x") == BLOB


@pytest.mark.parametrize(
    ("data", "error"),
    [(BLOB[:-1], SizeMismatch), (BLOB + b"x", SizeMismatch), (BLOB[:-1] + b"x", DigestMismatch), (b"", SizeMismatch)],
)
def test_a_source_that_lies_stores_nothing(store, data, error):
    blob = Descriptor.of("a/b", BLOB)
    with pytest.raises(error):
        store.push_blob(blob, lambda: io.BytesIO(data))
    assert not store.has_blob(blob)


def test_a_blob_of_another_size_than_announced_is_refused_before_it_is_read(store):
    blob = put(store)
    with pytest.raises(SizeMismatch):
        store.open_blob(Descriptor(blob.media_type, blob.digest, blob.size + 1))


def test_tags_move_and_digests_stay(store):
    first = put_manifest(store, empty_config_manifest((put(store),), artifact_type="a/1"), "5.0")
    second = put_manifest(store, empty_config_manifest((put(store),), artifact_type="a/2"), "5.0")
    put_manifest(store, Index((first, second)), "5.1")
    assert store.manifest("5.0").descriptor.digest == second.digest
    assert store.manifest(first.digest).parse("x").artifact_type == "a/1"
    assert list(store.tags()) == ["5.0", "5.1"]
    assert list(store.tags("5.1")) == ["5.1"]
    assert store.manifest("5.1").descriptor.media_type == mediatype.OCI_INDEX


def test_a_manifest_is_stored_with_its_exact_bytes(store):
    spaced = stdlib.dumps(stdlib.loads(empty_config_manifest(()).to_bytes()), indent=3).encode()
    described = store.push_manifest(spaced, mediatype.OCI_MANIFEST, "t")
    assert store.manifest("t").data == spaced
    assert described == store.manifest(Digest.of(spaced)).descriptor


def test_what_is_no_manifest_is_not_stored(store):
    with pytest.raises(InvalidManifest):
        store.push_manifest(b"<html>", mediatype.OCI_MANIFEST, "t")
    with pytest.raises(InvalidManifest):
        put_manifest(store, Index((), media_type=mediatype.OCI_MANIFEST), "t")
    assert not list(store.tags())


def test_referrers_are_found_by_subject_and_artifact_type(store):
    disk = put_manifest(store, empty_config_manifest((put(store),)))
    put_manifest(store, Index((disk,)), "5.0")
    toc = empty_config_manifest((), artifact_type="x/toc", subject=disk.bare(), annotations={"k": "v"})
    signature = empty_config_manifest((), artifact_type="x/signature", subject=disk.bare())
    put_manifest(store, toc)
    put_manifest(store, toc)
    put_manifest(store, signature, "named")
    found = store.referrers(disk.digest)
    assert sorted(item.artifact_type for item in found) == ["x/signature", "x/toc"]
    (only,) = store.referrers(disk.digest, "x/toc")
    assert only.digest == Digest.of(toc.to_bytes())
    assert only.annotations == {"k": "v"}
    assert store.referrers(only.digest) == ()
    assert store.referrers(Digest.of(b"nothing")) == ()


def test_a_referrer_whose_tag_moved_on_is_still_found(store):
    disk = put_manifest(store, empty_config_manifest((put(store),)))
    put_manifest(store, empty_config_manifest((), artifact_type="x/1", subject=disk), "mark")
    assert len(store.referrers(disk.digest)) == 1
    put_manifest(store, empty_config_manifest((), artifact_type="x/2", subject=disk), "mark")
    assert sorted(item.artifact_type for item in store.referrers(disk.digest)) == ["x/1", "x/2"]


def test_a_store_counts_no_traffic_and_may_be_held_alone(store):
    assert store.traffic.requests == 0
    with store.exclusive() as alone, store.exclusive() as still:
        assert alone
        assert still
        put_manifest(store, Index(()), "inside")
    assert list(store.tags()) == ["inside"]


# The verifying reader


class Stream:
    """A blob stream that may lie."""

    def __init__(self, data: bytes, start: int = 0) -> None:
        self._file = io.BytesIO(data)
        self.start, self.stop = start, start + len(data)
        self.closed = False

    def read(self, amount: int) -> bytes:
        return self._file.read(amount)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.closed = True


@given(st.binary(max_size=300), st.lists(st.integers(1, 90), max_size=12))
def test_reading_in_any_steps_yields_the_verified_bytes(data, steps):
    out = b""
    with VerifiedReader(Stream(data), Descriptor.of("a/b", data), "it") as reader:
        for step in [*steps, 300]:
            out += reader.read(step)
        assert reader.read(5) == b""
    assert out == data


@given(st.binary(min_size=1, max_size=50), st.binary(max_size=50), st.integers(1, 60))
def test_bytes_that_are_not_the_announced_never_come_out_whole(announced, actual, step):
    if announced == actual:
        return
    stream = Stream(actual)
    out = b""
    with pytest.raises(ContentError), VerifiedReader(stream, Descriptor.of("a/b", announced), "it") as reader:  # noqa: PT012
        while part := reader.read(step):
            out += part
    assert len(out) < len(announced)
    assert stream.closed


def test_stopping_early_is_an_error_unless_one_is_under_way():
    blob = Descriptor.of("a/b", BLOB)
    with pytest.raises(ContentError, match="not read to its end"), VerifiedReader(Stream(BLOB), blob, "it") as reader:
        reader.read(10)
    with pytest.raises(ZeroDivisionError), VerifiedReader(Stream(BLOB), blob, "it") as reader:
        raise ZeroDivisionError


def test_an_empty_blob_must_have_the_empty_digest():
    with VerifiedReader(Stream(b""), Descriptor.of("a/b", b""), "it"):
        pass
    with (
        pytest.raises(DigestMismatch),
        VerifiedReader(Stream(b""), Descriptor("a/b", Digest.of(b"x"), 0), "it"),
    ):
        pass


def test_a_stream_that_begins_elsewhere_is_refused():
    with (
        pytest.raises(SizeMismatch, match="beginning at byte 3"),
        VerifiedReader(Stream(BLOB, start=3), Descriptor.of("a/b", BLOB), "it") as reader,
    ):
        reader.read(1)


def test_small_blobs_have_a_limit_and_embedded_ones_need_no_store(store):
    blob = put(store)
    with pytest.raises(ContentError, match="1000 bytes; at most 999"):
        read_blob(store, blob, 999, "it")
    assert read_blob(store, EMPTY, 10, "it") == b"{}"


# Copies


def published(store: Store) -> Descriptor:
    entries = []
    for number in range(3):
        layer = put(store, b"disk %d" % number)
        config = put(store, b"{}", mediatype.OCI_EMPTY)
        assert config.digest == EMPTY.digest
        disk = put_manifest(store, empty_config_manifest((layer,)))
        toc = empty_config_manifest((put(store, b"toc %d" % number),), artifact_type="x/toc", subject=disk)
        put_manifest(store, empty_config_manifest((), artifact_type="x/sig", subject=put_manifest(store, toc)))
        entries.append(Descriptor(disk.media_type, disk.digest, disk.size, {"disktype": str(number)}))
    inner = put_manifest(store, Index((entries[2],)))
    store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
    return put_manifest(store, Index((entries[0], entries[1], inner)), "5.0")


def test_a_copy_is_the_same_to_the_last_referrer(store):
    target = MemoryStore()
    root = published(store)
    assert copy(store, "5.0", target, "6.0", progress=NullProgress()) == root
    assert target.manifest("6.0").data == store.manifest("5.0").data
    disks = parsed(store, "5.0").manifests[:2]
    for disk in disks:
        (toc,) = target.referrers(disk.digest)
        assert toc.artifact_type == "x/toc"
        layer = parsed(target, toc.digest).layers[0]
        assert read_blob(target, layer, 100, "x").startswith(b"toc")
        assert [item.artifact_type for item in target.referrers(toc.digest)] == ["x/sig"]
    assert copy(target, root.digest, store, "7.0") == root


def test_a_copy_without_referrers_leaves_them(store):
    target = MemoryStore()
    published(store)
    copy(store, "5.0", target, referrers=False)
    first = parsed(store, "5.0").manifests[0]
    assert target.manifest(first.digest).data == store.manifest(first.digest).data
    assert target.referrers(first.digest) == ()
    assert not list(target.tags())


def test_a_copy_of_some_entries_is_another_index_of_the_same_manifests(store):
    target = MemoryStore()
    root = published(store)

    def unwanted(entry: Descriptor) -> bool:
        return entry.annotations.get("disktype") not in {"0", "2"}

    pushed = copy(store, "5.0", target, "5.0", select=unwanted)
    assert pushed.digest != root.digest
    kept, nested = parsed(target, "5.0").manifests
    assert kept.annotations == {"disktype": "1"}
    assert parsed(target, nested.digest).manifests == ()
    assert target.referrers(kept.digest)


def test_a_copy_of_damage_fails_before_anything_has_a_name(tmp_path):
    with LayoutStore(str(tmp_path / "l"), create=True) as source:
        published(source)
        victim = Descriptor.of("a/b", b"disk 1")
        (tmp_path / "l/blobs/sha256" / victim.digest.hex).write_bytes(b"Disk 1")
        target = MemoryStore()
        with pytest.raises(DigestMismatch):
            copy(source, "5.0", target, "5.0")
        assert not list(target.tags())
        assert not target.has_blob(victim)


def test_a_chain_of_referrers_without_end_is_not_followed(store):
    link = put_manifest(store, empty_config_manifest(()), "start")
    store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
    for number in range(10):
        link = put_manifest(store, empty_config_manifest((), artifact_type=f"x/{number}", subject=link))
    with pytest.raises(ContentError, match="levels deep"):
        copy(store, "start", MemoryStore(), "t")


def test_a_copy_of_one_disk_listed_twice_sends_it_once(store):
    layer = put(store, b"disk")
    disk = put_manifest(store, empty_config_manifest((layer, layer)))
    store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
    put_manifest(store, Index((disk, disk)), "5.0")
    target = MemoryStore()
    assert copy(store, "5.0", target, "5.0") == store.manifest("5.0").descriptor
    assert target.has_blob(layer)
    assert copy(store, "5.0", target, "5.0").digest == target.manifest("5.0").descriptor.digest


def test_a_copy_refuses_an_entry_of_another_size(store):
    disk = put_manifest(store, empty_config_manifest(()))
    store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
    put_manifest(store, Index((replace(disk, size=disk.size + 1),)), "5.0")
    with pytest.raises(SizeMismatch):
        copy(store, "5.0", MemoryStore(), "5.0")

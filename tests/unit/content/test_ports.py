"""What every store does: one contract, run over the store in memory and the layout."""

from __future__ import annotations

import io
import json as stdlib
from typing import Self

import pytest
from tests.support.stores import put, put_manifest

from haulout.content.verify import read_blob
from haulout.errors import DigestMismatch, InvalidManifest, NotFoundError, SizeMismatch
from haulout.oci import Descriptor, Digest, Index, empty_config_manifest, fallback_tag, mediatype

BLOB = b"0123456789" * 100


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


def test_a_deleted_manifest_takes_its_tags_with_it(store):
    gone = put_manifest(store, empty_config_manifest((put(store),), artifact_type="a/1"), "5.0")
    put_manifest(store, empty_config_manifest((put(store),), artifact_type="a/1"), "5.1")
    stays = put_manifest(store, empty_config_manifest((put(store),), artifact_type="a/2"), "6.0")
    assert store.can_delete()
    store.delete_manifest(gone.digest)
    assert list(store.tags()) == ["6.0"]
    assert store.manifest("6.0").descriptor == stays
    for absent in (gone.digest, "5.0"):
        with pytest.raises(NotFoundError):
            store.manifest(absent)
    with pytest.raises(NotFoundError):
        store.delete_manifest(gone.digest)


def test_a_deleted_tag_leaves_its_manifest_and_other_tags(store):
    described = put_manifest(store, empty_config_manifest((put(store),), artifact_type="a/1"), "5.0")
    put_manifest(store, empty_config_manifest((put(store),), artifact_type="a/1"), "5.1")
    store.delete_tag("5.0")
    assert list(store.tags()) == ["5.1"]
    assert store.manifest(described.digest).descriptor == described
    with pytest.raises(NotFoundError):
        store.delete_tag("5.0")


def test_a_deleted_referrer_leaves_the_lists(store):
    disk = put_manifest(store, empty_config_manifest((put(store),)), "5.0")
    one, other = (
        put_manifest(store, empty_config_manifest((), artifact_type=f"x/{number}", subject=disk.bare()))
        for number in range(2)
    )
    listed = fallback_tag(disk.digest)
    put_manifest(store, Index((one, other)), listed)
    store.delete_manifest(one.digest)
    assert store.manifest(listed).parse("the list") == Index((other,))
    assert [entry.digest for entry in store.referrers(disk.digest)] == [other.digest]
    store.delete_manifest(other.digest)
    assert list(store.tags()) == ["5.0"]
    assert store.referrers(disk.digest) == ()

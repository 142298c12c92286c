"""A store that remembers: what cannot change is fetched once, and nothing wrong is ever kept."""

from __future__ import annotations

import io
from collections import Counter

import pytest

from haulout.content.memory import MemoryStore
from haulout.content.remember import Remembered, RememberingStore
from haulout.content.verify import read_blob
from haulout.errors import DigestMismatch, NotFoundError, RegistryError
from haulout.local import scratch
from haulout.oci import EMPTY, Descriptor, Index, empty_config_manifest, mediatype

TABLE = b"a table" * 100_000


class Asked(MemoryStore):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.damaged = False

    def manifest(self, selector):
        self.asked["manifest"] += 1
        return super().manifest(selector)

    def open_blob(self, blob, start=0, stop=None):
        self.asked["blob"] += 1
        stream = super().open_blob(blob, start, stop)
        if self.damaged:
            self.damaged = False
            read = stream.read
            stream.read = lambda amount: bytes(len(read(amount)))  # type: ignore[method-assign]
        return stream

    def has_blob(self, blob):
        self.asked["has"] += 1
        return super().has_blob(blob)

    def push_blob(self, blob, source, task=None, *, mount_from=None):
        before = self.asked["has"]
        super().push_blob(blob, source, task, mount_from=mount_from)
        self.asked.update(push=1, has=before - self.asked["has"])

    def referrers(self, subject, artifact_type=None):
        self.asked["referrers"] += 1
        return super().referrers(subject, artifact_type)


class Advanced:
    """A task that adds up."""

    amount = 0

    def advance(self, amount):
        self.amount += amount

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


@pytest.fixture
def inner():
    return Asked()


@pytest.fixture
def known():
    known = Remembered()
    yield known
    known.close()


@pytest.fixture
def store(inner, known):
    return RememberingStore(inner, known)


def put(store, data=TABLE, media_type=mediatype.TOC):
    blob = Descriptor.of(media_type, data)
    store.push_blob(blob, lambda: io.BytesIO(data))
    store.asked.clear()
    return blob


def test_a_manifest_is_read_once_by_digest_and_each_time_by_tag(store, inner):
    data = empty_config_manifest((EMPTY,)).to_bytes()
    described = inner.push_manifest(data, mediatype.OCI_MANIFEST, "1")
    assert [store.manifest(selector).data for selector in ("1", described.digest, "1", described.digest)] == [data] * 4
    assert inner.asked["manifest"] == 2


def test_what_is_written_need_not_be_read(store, inner):
    described = store.push_manifest(Index(()).to_bytes(), mediatype.OCI_INDEX, "1")
    assert store.manifest(described.digest).descriptor == described
    assert inner.asked["manifest"] == 0


def test_manifests_take_a_bounded_room(store, inner, monkeypatch):
    monkeypatch.setattr("haulout.content.remember._MOST_MANIFESTS", 10)
    small = RememberingStore(inner, Remembered())
    described = small.push_manifest(Index(()).to_bytes(), mediatype.OCI_INDEX)
    assert small.manifest(described.digest) == small.manifest(described.digest)
    assert inner.asked["manifest"] == 2


def test_a_table_is_fetched_once_also_in_parts(store, inner):
    blob = put(inner)
    assert [read_blob(store, blob, 1 << 20, "table") for _ in range(3)] == [TABLE] * 3
    with store.open_blob(blob, 5, 300_000) as stream:
        assert (stream.start, stream.stop) == (5, 300_000)
        assert stream.read(10) == TABLE[5:15]
        assert stream.read(1 << 20) == TABLE[15:300_000]
        assert stream.read(1) == b""
    assert inner.asked["blob"] == 1


def test_it_is_known_to_be_there_unless_it_may_have_come_from_a_mirror(store, inner, known):
    blob = put(inner)
    mirrored = RememberingStore(inner, known, mirrored=True)
    read_blob(mirrored, blob, 1 << 20, "table")
    assert known.blobs == set()
    other = put(inner, TABLE[:-1])
    read_blob(store, other, 1 << 20, "table")
    store.push_blob(other, lambda: io.BytesIO(TABLE[:-1]))
    assert store.has_blob(other)
    assert inner.asked["push"] + inner.asked["has"] == 0


@pytest.mark.parametrize("why", ["a disk", "a part", "not to its end"])
def test_what_is_large_or_incomplete_is_not_kept(store, inner, known, why):
    blob = put(inner, media_type=mediatype.ZSTD if why == "a disk" else mediatype.TOC)
    with store.open_blob(blob, 1 if why == "a part" else 0) as stream:
        stream.read(100 if why == "not to its end" else blob.size)
    assert known.tables == {}


def test_damage_is_reported_and_not_kept(store, inner, known):
    blob = put(inner)
    inner.damaged = True
    with pytest.raises(DigestMismatch):
        read_blob(store, blob, 1 << 20, "table")
    assert known.tables == {}
    assert read_blob(store, blob, 1 << 20, "table") == TABLE


def test_where_nothing_can_be_kept_it_is_fetched_again(store, inner, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    blob = put(inner)
    monkeypatch.setattr(scratch, "nameless_file", full)
    assert [read_blob(store, blob, 1 << 20, "table") for _ in range(2)] == [TABLE] * 2
    assert inner.asked["blob"] == 2


def test_blobs_are_pushed_and_looked_for_once(store, inner):
    blob = Descriptor.of(mediatype.OCTETS, b"x")
    assert not store.has_blob(blob)
    task = Advanced()
    for _ in range(3):
        store.push_blob(blob, lambda: io.BytesIO(b"x"), task)
    assert store.has_blob(blob)
    assert (inner.asked["push"], inner.asked["has"]) == (1, 1)
    assert task.amount == 3


def test_after_a_refused_manifest_blobs_are_looked_for_again(store, inner, monkeypatch):
    store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))

    def refuse(*_):
        raise RegistryError("no", status=400)

    monkeypatch.setattr(inner, "push_manifest", refuse)
    with pytest.raises(RegistryError):
        store.push_manifest(Index(()).to_bytes(), mediatype.OCI_INDEX)
    store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
    assert inner.asked["push"] == 2


def test_referrers_are_listed_again_after_a_write(store, inner):
    subject = store.push_manifest(Index(()).to_bytes(), mediatype.OCI_INDEX)
    assert [store.referrers(subject.digest) for _ in range(2)] == [(), ()]
    attached = empty_config_manifest((EMPTY,), artifact_type="a/b", subject=subject)
    store.push_manifest(attached.to_bytes(), mediatype.OCI_MANIFEST)
    assert len(store.referrers(subject.digest)) == 1
    assert inner.asked["referrers"] == 2


def test_the_rest_passes_through(store, inner):
    store.push_manifest(Index(()).to_bytes(), mediatype.OCI_INDEX, "5.0")
    assert list(store.tags()) == ["5.0"]
    with store.ingest() as sink:
        sink.write(b"x")
        blob = sink.commit(mediatype.OCTETS)
    assert inner.has_blob(blob)
    with store.exclusive() as alone:
        assert alone
    assert store.traffic == inner.traffic
    with pytest.raises(NotFoundError), store:
        store.manifest("6.0")

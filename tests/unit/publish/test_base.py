"""Which tag is the one before, and whether fetching pays: pure. And frames of a registry that fails while they come."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import pytest
from tests.support.base_tables import packed_disk

from haulout.errors import NotFoundError
from haulout.frames.base import Base
from haulout.frames.survey import has_frames
from haulout.oci import Descriptor
from haulout.publish.speeds import PROBE_BYTES, PROBES, Speeds
from haulout.publish.stored_frames import LocalFrames, RemoteFrames
from haulout.resolve.versions import earlier_tags, version


@pytest.mark.parametrize(
    ("tags", "tag", "expected"),
    [
        (["5.9", "5.10", "5.8.7"], "5.11", ["5.10", "5.9", "5.8.7"]),
        (["5.10", "5.9", "5.11"], "5.10.1", ["5.10", "5.9"]),
        (["5.10-rc1", "5.10-rc2", "5.10.0"], "5.10", ["5.10-rc2", "5.10-rc1"]),
        (["v5.8", "5.9"], "v5.10", ["5.9", "v5.8"]),
        (["next-5.9", "latest", "5.8"], "5.10", ["5.8", "latest"]),
        (["20260101", "20251224"], "20260102", ["20260101", "20251224"]),
        (["fedora-41", "debian-12", "fedora-40"], "fedora-42", ["fedora-41", "fedora-40"]),
        (["5.9", "5.10", "stable"], "latest", ["5.10", "5.9", "stable"]),
        (["haulout.0123456789abcdef.x86_64.qemu", "sha256-" + "a" * 64, "1.0"], "2.0", ["1.0"]),
        (["2.0", "1.0"], "1.0", []),
        ([], "1.0", []),
    ],
)
def test_the_likeliest_earlier_tag_comes_first(tags, tag, expected):
    assert earlier_tags(tags, tag) == expected
    assert earlier_tags([*tags, tag, *tags], tag) == expected


def test_versions_are_ordered_as_people_mean_them():
    right = ["5.9", "5.10-alpha", "5.10-beta2", "5.10-beta10", "5.10", "5.10-1", "5.10.1", "5.11", "10.0"]
    assert all(version(earlier) < version(later) for earlier, later in pairwise(right))


def probed(speeds, seconds):
    for number in range(PROBES):
        speeds.begin(number * seconds)
        speeds.end((number + 1) * seconds, PROBE_BYTES // PROBES + 1)
    return speeds


def test_a_quick_network_pays_and_a_slow_one_does_not():
    assert probed(Speeds(3.0, jobs=2), 0.0001).fetching_pays(0)
    assert not probed(Speeds(3.0, jobs=2), 1.0).fetching_pays(0)


def test_the_quicker_compressing_is_the_less_fetching_pays():
    speeds = probed(Speeds(3.0, jobs=2), 0.002)
    speeds.compressed(10_000_000, 1.0)
    assert speeds.fetching_pays(0)
    speeds.compressed(100_000_000_000, 1.0)
    assert not speeds.fetching_pays(0)


def test_the_network_is_looked_at_again_now_and_then():
    speeds = probed(Speeds(3.0, jobs=2), 1.0)
    assert 1 <= sum(speeds.fetching_pays(0) for _ in range(200)) <= 4


def test_little_is_asked_before_speeds_are_known():
    speeds = Speeds(3.0, jobs=2)
    assert speeds.fetching_pays(0)
    for _ in range(4):
        speeds.begin(0.0)
    assert not speeds.fetching_pays(0)


class Blobs:
    """One blob that may stall, fail, or not come in parts."""

    def __init__(self, data):
        self.data = data
        self.requests = []
        self.stall = threading.Event()
        self.stall.set()
        self.fails_after = 10**9
        self.whole = False

    def open_blob(self, blob, start=0, stop=None):
        self.requests.append((start, stop))
        self.stall.wait(20)
        if len(self.requests) > self.fails_after:
            raise NotFoundError("the blob has gone")
        return Stream(self.data, 0 if self.whole else start, stop)


class Stream:
    def __init__(self, data, start, stop):
        self.start, self.stop, self._data, self._at = start, stop, data, start

    def read(self, amount):
        part = self._data[self._at : min(self._at + amount, self.stop)]
        self._at += len(part)
        return part

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "d"
    path.write_bytes(b"".join(bytes([n % 251 + 1]) * 2048 + n.to_bytes(2, "big") * 1024 for n in range(6000)))
    blob, toc, hints, _ = packed_disk(path)
    return blob, Base(toc, hints)


def frames_of(base):
    return range(len(base.toc.data_frames))


@pytest.mark.parametrize("kind", [LocalFrames, RemoteFrames])
def test_expected_frames_come_exactly(stored, kind):
    blob, base = stored
    blobs = Blobs(blob)
    notes: list[str] = []
    descriptor = Descriptor.of("a/b", blob)
    frames = list(frames_of(base))
    if kind is LocalFrames:
        coming = [(n, LocalFrames(blobs, descriptor, base, notes.append).expect(n)) for n in frames]
        got = [(n, answer()) for n, answer in coming]
    else:
        with RemoteFrames(blobs, descriptor, base, 2, notes.append) as source:
            coming = [(n, source.expect(n)) for n in frames]
            got = [(n, answer()) for n, answer in coming]
        assert len(blobs.requests) <= 2, "neighbours come together"
    for number, frame in got:
        start, stop = base.place(number)
        assert frame == blob[start:stop]
    assert notes == []


@pytest.mark.parametrize("kind", [LocalFrames, RemoteFrames])
def test_a_blob_that_vanishes_midway_costs_one_note(stored, kind):
    blob, base = stored
    blobs = Blobs(blob)
    notes: list[str] = []
    blobs.fails_after = 1
    frames = list(frames_of(base))[::2]
    source = kind(blobs, Descriptor.of("a/b", blob), base, *(() if kind is LocalFrames else (2,)), notes.append)
    with source if kind is RemoteFrames else threading.Lock():
        got = [source.expect(n)() for n in frames]
    assert got[0] is not None
    assert got[-1] is None
    assert len(notes) == 1
    assert "gone" in notes[0]


def test_a_registry_that_hangs_is_not_waited_for(stored):
    blob, base = stored
    blobs = Blobs(blob)
    notes: list[str] = []
    blobs.stall.clear()
    began = time.monotonic()
    with RemoteFrames(blobs, Descriptor.of("a/b", blob), base, 2, notes.append) as source:
        # One by one, so that each is a range of its own.
        got = [source.expect(n)() for n in frames_of(base)]
    blobs.stall.set()
    assert set(got) == {None}
    assert time.monotonic() - began < 5
    assert notes == ["no more frames are reused from the base: its registry is too slow"]


def test_a_registry_that_does_not_send_parts_is_not_asked_again(stored):
    blob, base = stored
    blobs = Blobs(blob)
    notes: list[str] = []
    blobs.whole = True
    with RemoteFrames(blobs, Descriptor.of("a/b", blob), base, 2, notes.append) as source:
        got = [source.expect(n)() for n in list(frames_of(base))[1:]]
    assert set(got) == {None}
    assert len(notes) == 1
    assert "does not send parts" in notes[0]


def test_another_disk_is_told_at_its_first_frame(tmp_path):
    path = tmp_path / "d"
    path.write_bytes(b"".join(bytes([n % 251 + 1]) * 4096 for n in range(2000)) + bytes(1 << 20) + b"end")
    _, toc, _, _ = packed_disk(path)
    for at, same in ((None, True), (0, False), (9, False), (path.stat().st_size - 1, False)):
        content = bytearray(path.read_bytes())
        if at is not None:
            content[at] ^= 1
        (tmp_path / "other").write_bytes(content)
        with (tmp_path / "other").open("rb") as file:
            assert has_frames(file.fileno(), toc) is same
    (tmp_path / "other").write_bytes(b"short")
    with (tmp_path / "other").open("rb") as file:
        assert not has_frames(file.fileno(), toc)

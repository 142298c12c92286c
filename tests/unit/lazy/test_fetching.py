"""Frames brought by need: nothing wrong is ever served, whatever the source does; a registry that comes back is used."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.support.lazy_disks import LazyDisk

from haulout.frames import BLOCK


def read(disk, image, fetcher, offset, length):
    """What a client gets: bytes, or None for an I/O error."""
    if not fetcher.wait_for(offset, length):
        return None
    return os.pread(image.fd, length, offset)


def test_random_reads_by_many_are_what_the_disk_holds(tmp_path):
    disk = LazyDisk(tmp_path)
    with disk.opened() as (image, fetcher):
        wrong = []

        def client(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(40):
                offset = chance.randrange(len(disk.plain) - 1)
                length = min(chance.choice([1, 512, 4096, 70_000, 3 << 20]), len(disk.plain) - offset)
                if read(disk, image, fetcher, offset, length) != disk.plain[offset : offset + length]:
                    wrong.append((offset, length))

        clients = [threading.Thread(target=client, args=(seed,)) for seed in range(4)]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
        assert not wrong
    fetched = sum((stop or 0) - start for start, stop in disk.source.asked)
    assert fetched <= disk.blob.size, "nothing is fetched twice"


def test_what_is_here_is_hashed_before_it_is_served_again(tmp_path):
    disk = LazyDisk(tmp_path)
    with disk.opened() as (image, fetcher):
        assert fetcher.wait_for(0, len(disk.plain))
    asked = len(disk.source.asked)
    frame = disk.toc.data_frames[2]
    offset = disk.toc.disk_offsets[frame]
    with disk.partial.open("r+b") as file:
        # As a power cut may leave it.
        file.seek(offset + 100)
        file.write(b"torn")
        zero = next(each for each, kind in enumerate(disk.toc.kinds) if kind)
        file.seek(disk.toc.disk_offsets[zero])
        file.write(b"not zero")
    with disk.opened() as (image, fetcher):
        assert read(disk, image, fetcher, 0, len(disk.plain)) == disk.plain
    assert len(disk.source.asked) == asked + 1


def test_a_flipped_byte_is_an_error_for_its_frame_alone(tmp_path):
    disk = LazyDisk(tmp_path, patience=3.0)
    bad = disk.toc.data_frames[3]
    disk.source.flipped.add(disk.toc.blob_offsets[bad] + disk.toc.compressed[bad] // 2)
    with disk.opened() as (image, fetcher):
        for frame in disk.toc.data_frames:
            offset, length = disk.toc.disk_offsets[frame], disk.toc.plain_size(frame)
            found = read(disk, image, fetcher, offset, length)
            assert found == (None if frame == bad else disk.plain[offset : offset + length]), frame
        disk.source.flipped.clear()
        offset = disk.toc.disk_offsets[bad]
        assert read(disk, image, fetcher, offset, BLOCK) == disk.plain[offset : offset + BLOCK], "asked again"
    assert len([line for line in disk.said if "does not match" in line]) == 2, "when it came, and of the read"


def test_damaged_bytes_are_asked_for_again(tmp_path):
    disk = LazyDisk(tmp_path)
    bad = disk.toc.data_frames[3]
    disk.source.flipped.add(disk.toc.blob_offsets[bad] + 30)
    with disk.opened() as (image, fetcher):
        threading.Timer(1.0, disk.source.flipped.clear).start()
        offset = disk.toc.disk_offsets[bad]
        assert read(disk, image, fetcher, offset, BLOCK) == disk.plain[offset : offset + BLOCK]


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), RuntimeError("can't start new thread")])
def test_no_failure_ends_a_thread_that_reads_wait_for(tmp_path, fault):
    disk = LazyDisk(tmp_path)
    disk.source.fault = fault
    disk.source.away.set()
    with disk.opened() as (image, fetcher):
        threading.Timer(1.5, disk.source.away.clear).start()
        assert read(disk, image, fetcher, 0, len(disk.plain)) == disk.plain


def test_a_full_disk_takes_no_notes_and_ends_nothing():
    program = "from haulout.lazy.__main__ import _Notes; _Notes().note('x')"
    with Path("/dev/full").open("wb") as full:
        assert subprocess.run([sys.executable, "-c", program], stderr=full, check=False).returncode == 0


def test_a_registry_that_comes_back_is_asked_again(tmp_path):
    disk = LazyDisk(tmp_path)
    disk.source.away.set()
    with disk.opened() as (image, fetcher):
        assert fetcher.waits == (0.0, "")
        reading = threading.Thread(target=read, args=(disk, image, fetcher, 0, 4 << 20))
        reading.start()
        deadline = time.monotonic() + 60
        while fetcher.waits[1] != "the registry is away":
            assert time.monotonic() < deadline
        assert 0 < fetcher.waits[0] < 60
        disk.source.away.clear()
        reading.join()
        assert fetcher.waits == (0.0, "")
        assert read(disk, image, fetcher, 0, 4 << 20) == disk.plain[: 4 << 20]
    assert disk.said == ["the registry is away; asking again", "the registry answers again"]


def test_patience_ends(tmp_path):
    disk = LazyDisk(tmp_path, patience=0.5)
    disk.source.away.set()
    with disk.opened() as (image, fetcher):
        offset = disk.toc.disk_offsets[disk.toc.data_frames[0]]
        assert read(disk, image, fetcher, offset, BLOCK) is None
        disk.source.away.clear()
        deadline = time.monotonic() + 60
        while (found := read(disk, image, fetcher, offset, BLOCK)) is None:
            assert time.monotonic() < deadline
        assert found == disk.plain[offset : offset + BLOCK]


def test_what_is_expected_comes_in_few_requests_without_being_read(tmp_path):
    disk = LazyDisk(tmp_path)
    expected = disk.toc.data_frames[::-1]
    with disk.opened() as (image, fetcher):
        fetcher.prefetch([*expected, *expected])
        deadline = time.monotonic() + 60
        while not all(image.is_right(frame) for frame in expected):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        asked = len(disk.source.asked)
        assert asked <= 1 + disk.blob.size // (1 << 20) + 1
        assert fetcher.require(0, len(disk.plain), lambda _ok: None), "nothing is waited for"


def test_a_registry_that_hangs_is_not_waited_for_at_the_end(tmp_path):
    disk = LazyDisk(tmp_path)
    disk.source.answers.clear()
    came: list[bool] = []
    with disk.opened() as (_, fetcher):
        assert not fetcher.require(0, BLOCK, came.append)
        while not fetcher._in_flight:
            time.sleep(0.01)
        assert not fetcher.close(), "a thread is left"
        assert came == [False]
        disk.source.answers.set()
        assert fetcher.close()

"""Seeds: blocks are found wherever they lie, guesses are never taken for truth, and plans are pure."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.disks import noise

from haulout.disk.sparse import Extent
from haulout.errors import StorageError
from haulout.frames.blocks import BLOCK, ZERO_HINT, hash_blocks
from haulout.frames.codec import FrameCompressor
from haulout.frames.pack import pack
from haulout.frames.pieces import MISSING, ZEROS, Piece, fill, read_pieces, stored_parts
from haulout.frames.plan import hint_ranges, slices
from haulout.frames.rebuild import Rebuilder, Rebuilding
from haulout.frames.seeds import SeedIndex, Wanted, join_blocks, join_groups, known_parts, same_frames, scan
from haulout.progress import NullProgress

TASK = NullProgress().task("", None)
MIB = 1 << 20


def block(name: object) -> bytes:
    return noise(f"block {name}", BLOCK)


def hints(*blocks: bytes):
    return np.asarray(hash_blocks(memoryview(b"".join(blocks))))


@contextmanager
def opened(path, data: bytes):
    path.write_bytes(data)
    fd = os.open(path, os.O_RDWR)
    try:
        yield fd
    finally:
        os.close(fd)


def find(fds, wanted):
    index = SeedIndex([scan(fd, Wanted(wanted), TASK) for fd in fds])
    return index, index.locate(wanted)


def test_a_scan_keeps_only_what_is_wanted(tmp_path):
    data = [block(number) for number in range(600)]  # more than one step
    with opened(tmp_path / "seed", b"".join(data)) as fd:
        found = scan(fd, Wanted(hints(data[3], data[599], block("elsewhere"))), TASK)
        assert found.numbers.tolist() == [3, 599]
        assert found.hints.tolist() == hints(data[3], data[599]).tolist()
        assert stored_parts(fd) == [Extent(0, 600 * BLOCK)]


def test_holes_are_not_read_and_zeros_need_no_seed(tmp_path):
    path = tmp_path / "seed"
    with path.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 39)
        file.write(block("far"))
    fd = os.open(path, os.O_RDONLY)
    try:
        assert stored_parts(fd) == [Extent(1 << 39, BLOCK)]
        index, places = find([fd], hints(bytes(BLOCK), block("far"), bytes(BLOCK), bytes(BLOCK)))
        assert (places == ZEROS).tolist() == [True, False, True, True]
        pieces = index.pieces(places)
        assert pieces == [Piece(ZEROS, 0, BLOCK), Piece(0, 1 << 39, BLOCK), Piece(ZEROS, 0, 2 * BLOCK)]
        assert read_pieces(pieces, [fd], 4 * BLOCK) == bytes(BLOCK) + block("far") + bytes(2 * BLOCK)
    finally:
        os.close(fd)


def test_of_equal_blocks_the_one_that_continues_is_taken(tmp_path):
    same, first, last = block("same"), block("first"), block("last")
    # "same" occurs early, alone, and again between the two others.
    with opened(tmp_path / "seed", same + block("x") + first + same + same + last) as fd:
        index, places = find([fd], hints(first, same, same, last))
        assert index.pieces(places) == [Piece(0, 2 * BLOCK, 4 * BLOCK)]


@given(st.lists(st.lists(st.tuples(st.sampled_from([ZEROS, 0, 1]), st.integers(0, 5)), max_size=6), max_size=6))
def test_pieces_of_many_groups_are_those_of_each(groups):
    def columns(blocks):
        seeds, numbers = [seed for seed, _ in blocks], [number for _, number in blocks]
        return np.array(seeds, np.int16), np.array(numbers, np.int64)

    seeds, numbers = columns([block for group in groups for block in group])
    joined = join_groups(seeds, numbers, [len(group) for group in groups])
    assert joined == [join_blocks(*columns(group)) for group in groups]
    for group, pieces in zip(groups, joined, strict=True):
        blocks = [(piece.seed, piece.offset + at) for piece in pieces for at in range(0, piece.length, BLOCK)]
        expected = [(seed, number * BLOCK if seed >= 0 else None) for seed, number in group]
        assert [(seed, offset if seed >= 0 else None) for seed, offset in blocks] == expected


def test_what_seeds_lack_is_read_as_zeros_whatever_was_there_before(tmp_path):
    with opened(tmp_path / "a", block("one") + b"short") as fd:
        view = bytearray(b"\xaa" * 5 * BLOCK)
        fill(
            memoryview(view),
            [Piece(0, BLOCK, BLOCK), Piece(ZEROS, 0, BLOCK), Piece(0, 0, BLOCK), Piece(0, 9 * BLOCK, BLOCK)],
            [fd],
        )
        assert view == b"short".ljust(2 * BLOCK, b"\0") + block("one") + bytes(2 * BLOCK)
        pipe, other = os.pipe()
        with pytest.raises(StorageError):
            fill(memoryview(view), [Piece(0, 0, BLOCK)], [pipe])
        os.close(pipe)
        os.close(other)


def test_pieces_never_join_over_two_files(tmp_path):
    with opened(tmp_path / "a", block(1)) as one, opened(tmp_path / "b", block("x") + block(2)) as two:
        index, places = find([one, two], hints(block(1), block(2)))
        assert index.pieces(places) == [Piece(0, 0, BLOCK), Piece(1, BLOCK, BLOCK)]


def test_nothing_is_found_where_there_is_nothing():
    index = SeedIndex([])
    wanted = hints(block(1), bytes(BLOCK))
    assert index.locate(wanted).tolist() == [MISSING, ZEROS]
    assert index.pieces(index.locate(hints(bytes(BLOCK), bytes(BLOCK)))) == [Piece(ZEROS, 0, 2 * BLOCK)]
    assert index.pieces(index.locate(wanted[:0])) == []
    assert len(Wanted()) == 0
    assert not Wanted().among(wanted).any()
    assert len(Wanted(np.array([ZERO_HINT]))) == 0


def test_what_a_seed_no_longer_has_reads_as_zeros(tmp_path):
    with opened(tmp_path / "seed", block(1)) as fd:
        os.ftruncate(fd, 100)
        data = read_pieces([Piece(0, 0, BLOCK), Piece(0, 5 * BLOCK, BLOCK)], [fd], 2 * BLOCK)
        assert data == block(1)[:100] + bytes(2 * BLOCK - 100)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=40), st.lists(st.integers(0, 8), min_size=1, max_size=40))
def test_located_blocks_read_back_as_what_they_were_found_for(tmp_path_factory, seed, wanted):
    """Block 0 is zeros; with few different blocks every repetition occurs."""

    def content(number):
        return bytes(BLOCK) if number == 0 else block(number)

    with opened(tmp_path_factory.mktemp("s") / "seed", b"".join(map(content, seed))) as fd:
        target = [content(number) for number in wanted]
        index, places = find([fd], hints(*target))
        missing = [number not in {0, *seed} for number in wanted]
        assert (places == MISSING).tolist() == missing
        kept = [each for each, gone in zip(target, missing, strict=True) if not gone]
        pieces = index.pieces(places[places != MISSING])
        assert read_pieces(pieces, [fd], len(kept) * BLOCK) == b"".join(kept)
        assert sum(piece.length for piece in pieces) == len(kept) * BLOCK


# Frames


class Bytes(bytearray):
    def write(self, data):
        self += data


def packed(path, data: bytes):
    with opened(path, data) as fd:
        blob = Bytes()
        with pack(fd, blob, level=1, jobs=1, task=TASK) as result, result.hints() as stream:
            return result.toc, bytes(blob), np.frombuffer(stream.read(), "<u8")


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    data = noise("one", 3 * MIB) + bytes(MIB) + noise("two", 2 * MIB) + noise("end", 1000)
    return data, *packed(tmp_path_factory.mktemp("disk") / "d", data)


def test_frames_of_a_known_disk_are_found_by_digest(disk, tmp_path):
    _, toc, _, _ = disk
    moved, _, _ = packed(tmp_path / "m", noise("other", 2 * MIB) + bytes(MIB) + noise("one", 3 * MIB))
    data_frames = toc.data_frames
    assert (same_frames(toc, data_frames, toc) == [toc.disk_offsets[frame] for frame in data_frames]).all()
    places = same_frames(toc, data_frames, moved)
    assert (places != MISSING).any(), "content-defined cuts fall into step again"
    assert (places == MISSING).any()
    for frame, place in zip(data_frames, places.tolist(), strict=True):
        if place != MISSING:
            # What was at 0 lies behind 2 MiB of others and 1 MiB of zeros there.
            assert place == toc.disk_offsets[frame] + 3 * MIB
    assert same_frames(toc, [], moved).tolist() == []


def test_of_a_known_disk_only_what_the_other_lacks_is_searched(disk, tmp_path):
    data, toc, _, _ = disk
    assert known_parts(toc, toc, shared=False) == []
    changed = bytearray(data)
    changed[5 * MIB] ^= 1
    other, _, _ = packed(tmp_path / "m", bytes(changed))
    parts = known_parts(toc, other, shared=False)
    assert any(part.offset <= 5 * MIB < part.end for part in parts)
    assert sum(part.length for part in parts) < 2 * MIB
    nothing, _, _ = packed(tmp_path / "n", noise("nothing alike", MIB))
    assert sum(part.length for part in known_parts(toc, nothing, shared=False)) == toc.hints.size // 8 * BLOCK


def rebuilt(toc, hint_values, seeds, out, *, spoil=lambda: None):
    frames = toc.data_frames
    index = SeedIndex([scan(fd, Wanted(hint_values), TASK) for fd in seeds])
    places = index.locate(hint_values)

    def pieces(frames):
        edges = np.asarray(toc.hint_offsets) // 8
        return [index.pieces(places[edges[frame] : edges[frame + 1]]) for frame in frames]

    spoil()
    os.ftruncate(out, toc.disk.size)
    rebuilder = Rebuilder(toc, out)
    for seed in seeds:
        rebuilder.add_seed(seed)
    with Rebuilding(rebuilder, 2, TASK) as rebuilding:
        rebuilding.add(frames[:3], pieces)
        rebuilding.add(frames[3:], pieces)
        failed = rebuilding.finish()
    return failed, rebuilder


def test_a_disk_is_rebuilt_from_shuffled_parts_of_two_files(disk, tmp_path):
    data, toc, _, values = disk
    front = noise("unrelated", 64 * BLOCK) + data[4 * MIB :].ljust(-(-len(data) // BLOCK) * BLOCK - 4 * MIB, b"\0")
    with (
        opened(tmp_path / "a", front) as one,
        opened(tmp_path / "b", data[: 4 * MIB]) as two,
        opened(tmp_path / "out", b"") as out,
    ):
        failed, rebuilder = rebuilt(toc, values, [one, two], out)
        assert failed == []
        assert os.pread(out, len(data) + 1, 0) == data
        assert rebuilder.used[1] == 3 * MIB
        assert rebuilder.used[0] == -(-(len(data) - 4 * MIB) // BLOCK) * BLOCK


def test_a_seed_that_changes_under_us_gives_nothing_wrong(disk, tmp_path):
    data, toc, _, values = disk
    with opened(tmp_path / "a", data) as seed, opened(tmp_path / "out", b"") as out:

        def spoil():
            os.pwrite(seed, b"\xff", 2 * MIB)
            os.ftruncate(seed, 5 * MIB)

        failed, _ = rebuilt(toc, values, [seed], out, spoil=spoil)
        assert 0 < len(failed) < len(toc)
        for frame in toc.data_frames:
            start = toc.disk_offsets[frame]
            ours = os.pread(out, toc.plain_size(frame), start)
            assert (ours == data[start : start + toc.plain_size(frame)]) == (frame not in failed)


def test_work_that_is_left_begins_nothing_more(disk, tmp_path):
    data, toc, _, _ = disk
    begun = []

    def pieces(group):
        begun.append(group)
        time.sleep(0.2)
        return [[] for _ in group]

    with opened(tmp_path / "a", data) as seed, opened(tmp_path / "out", b"") as out:
        os.ftruncate(out, toc.disk.size)
        rebuilder = Rebuilder(toc, out)
        rebuilder.add_seed(seed)
        frames = toc.data_frames
        with Rebuilding(rebuilder, 2, TASK) as rebuilding:
            for _ in range(8):
                rebuilding.add(frames, pieces)
        assert len(begun) <= 2
        assert os.fstat(out).st_blocks == 0


def test_what_came_over_the_network_goes_before_what_waits(disk, tmp_path):
    data, toc, _, _ = disk
    frames, asked, begun, added = toc.data_frames, [], Event(), Event()

    def pieces(group):
        begun.set()
        assert added.wait(10)
        asked.append(tuple(group))
        return [[Piece(0, toc.disk_offsets[frame], toc.plain_size(frame))] for frame in group]

    with opened(tmp_path / "a", data) as seed, opened(tmp_path / "out", b"") as out:
        os.ftruncate(out, toc.disk.size)
        rebuilder = Rebuilder(toc, out)
        rebuilder.add_seed(seed)
        with Rebuilding(rebuilder, 1, TASK) as rebuilding:
            rebuilding.add(frames[:1], pieces)
            assert begun.wait(10)
            rebuilding.add(frames[1:2], pieces)
            rebuilding.add(frames[2:], pieces, first=True)
            added.set()
            assert rebuilding.finish() == []
        assert [frame for group in asked for frame in group] == [frames[0], *frames[2:], frames[1]]
        assert os.pread(out, len(data) + 1, 0) == data


# Plans


def test_slices_cover_what_is_wanted_and_no_more_than_their_gaps(disk):
    _, toc, _, _ = disk
    frames = toc.data_frames
    assert slices(toc, []) == []
    whole = slices(toc, frames)
    assert [frame for piece in whole for frame in piece.frames] == frames
    lonely = slices(toc, frames[::2], gap=0)
    assert sum(piece.stop - piece.start for piece in lonely) == toc.blob_bytes(frames[::2])
    verified = bytearray(len(toc))
    verified[frames[1]] = 1
    apart = slices(toc, [frames[0], frames[2]], verified=verified, gap=1 << 40, most_gaps=0)
    assert [piece.frames for piece in apart] == [(frames[0],), (frames[2],)], "what is verified is not fetched again"
    few = slices(toc, frames[::2], gap=0, most_gaps=1)
    assert len(few) == 2
    assert [frame for piece in few for frame in piece.frames] == frames[::2]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_choice_of_frames_is_sliced_in_order_without_overlap(disk, data):
    _, toc, _, _ = disk
    every = toc.data_frames
    frames = sorted(data.draw(st.sets(st.sampled_from(every), min_size=1)))
    gap, most, size = (data.draw(st.integers(0, 2 * MIB)) for _ in range(3))
    found = slices(toc, frames, gap=gap, most_gaps=most, slice_bytes=size)
    assert [frame for piece in found for frame in piece.frames] == frames
    offsets = toc.blob_offsets
    for piece, following in zip(found, [*found[1:], None], strict=True):
        assert (piece.start, piece.stop) == (offsets[piece.frames[0]], offsets[piece.frames[-1] + 1])
        assert following is None or piece.stop <= following.start
    ranges = hint_ranges(toc, frames)
    assert len(ranges) <= 4
    assert [at for first, stop in ranges for at in range(first, stop)] == list(range(len(frames)))


def test_compressed_sizes_decide_what_counts_as_a_gap(disk):
    _, toc, _, _ = disk
    assert FrameCompressor(1).compress(bytes(BLOCK)) != b""
    frames = toc.data_frames
    joined = slices(toc, [frames[0], frames[2]], gap=int(toc.compressed[frames[1]]))
    # A gap as large as what is wanted is waste, however slow the link.
    assert len(joined) == (1 if toc.compressed[frames[1]] * 4 <= toc.blob_bytes([frames[0], frames[2]]) else 2)

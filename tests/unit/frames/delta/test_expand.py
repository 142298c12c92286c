"""Expanding deltas that are damaged, stale or hostile, and with stock zstd instead of Haulout."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import zstandard
from tests.support.deltas import TASK, Sink, delta_between, expanded, opened, rebuilt, sized, toc_of
from tests.support.disks import noise
from tests.support.sandbox import ROOT
from tests.support.servers import needs

from haulout.errors import ContentError, InvalidDelta
from haulout.frames.blocks import BLOCK, hash_blocks
from haulout.frames.delta.expand import decode_segment, expand
from haulout.frames.delta.index import MAX_REFERENCE_BLOCKS, MAX_REFERENCE_RATIO, MAX_SEGMENT_BLOCKS, DeltaIndex
from haulout.frames.delta.make import SEGMENT_BLOCKS, compress_segment, make_delta
from haulout.frames.delta.map import Map
from haulout.frames.delta.runs import Runs
from haulout.frames.seeds import Blocks, SeedIndex, Wanted, scan
from haulout.progress import NullProgress

MIB = 1 << 20


def changed(plain: bytes, every: int = BLOCK) -> bytes:
    """The same with a byte in each block changed: all of it is new, and all of it resembles the old."""
    data = bytearray(plain)
    for place in range(100, len(data), every):
        data[place] ^= 0xFF
    return bytes(data)


@pytest.fixture(scope="module")
def pair():
    """An old and a new disk with two segments of changed blocks, and one of blocks that resemble nothing."""
    old = noise("old", 2 * SEGMENT_BLOCKS * BLOCK)
    return old, changed(old) + noise("new", SEGMENT_BLOCKS * BLOCK // 2)


@pytest.fixture(scope="module")
def delta(pair, tmp_path_factory):
    made = delta_between(tmp_path_factory.mktemp("delta"), *pair)
    assert made is not None
    assert len(made.index.segments) == 3
    return made


def test_what_resembles_the_old_costs_little_and_the_rest_its_size(delta):
    sizes = [segment.stop - segment.start for segment in delta.index.segments]
    assert max(sizes[:2]) < 64 * 1024
    assert 4 * MIB < sizes[2] < 4 * MIB + 1024
    assert delta.index.segments[2].reference == 0


def test_neighbours_are_fetched_in_one_request(delta, pair, tmp_path):
    store, blob = delta.store()
    asked = []

    class Counting:
        def open_blob(self, blob, start=0, stop=None):
            asked.append((start, stop))
            return store.open_blob(blob, start, stop)

    with opened(tmp_path / "held", pair[0]) as fd, opened(tmp_path / "out", b"") as out:
        located = delta.located(SeedIndex([scan(fd, Wanted(delta.reference_hints), TASK)]))
        assert expand(delta.index, [2, 1, 0, 1], Counting(), blob, located.pieces, [fd], out, TASK) == 20 * MIB
        assert asked == [(0, blob.size)]
        asked.clear()
        expand(delta.index, [0, 2], Counting(), blob, located.pieces, [fd], out, TASK)
        assert asked == [(s.start, s.stop) for s in (delta.index.segments[0], delta.index.segments[2])]


def test_a_server_that_ignores_ranges_is_read_once(delta, pair, tmp_path):
    store, blob = delta.store()
    asked = []

    class Whole:
        def open_blob(self, blob, start=0, stop=None):
            asked.append((start, stop))
            return store.open_blob(blob)

    with opened(tmp_path / "held", pair[0]) as fd, opened(tmp_path / "out", b"") as out:
        located = delta.located(SeedIndex([scan(fd, Wanted(delta.reference_hints), TASK)]))
        expand(delta.index, [1, 2], Whole(), blob, located.pieces, [fd], out, TASK)
        got = np.asarray(hash_blocks(memoryview(os.pread(out, 32 * MIB, 0))))
    assert len(asked) == 1
    assert got.tolist() == delta.expected([1, 2]).tolist()


def test_the_old_disk_is_found_in_any_file_and_in_several(delta, pair, tmp_path):
    """Blocks in another order, with strangers between them, and half of them in a second file."""
    blocks = [pair[0][at : at + BLOCK] for at in range(0, len(pair[0]), BLOCK)]
    first = b"".join(blocks[2048:][::-1]) + noise("stranger", 3 * BLOCK)
    second = bytes(BLOCK) + b"".join(blocks[:2048])
    store, blob = delta.store()
    with (
        opened(tmp_path / "first", first) as one,
        opened(tmp_path / "second", second) as two,
        opened(tmp_path / "out", b"") as out,
    ):
        wanted = Wanted(delta.reference_hints)
        located = delta.located(SeedIndex([scan(one, wanted, TASK), scan(two, wanted, TASK)]))
        assert located.usable() == [0, 1, 2]
        expand(delta.index, [0, 1, 2], store, blob, located.pieces, [one, two], out, TASK)
        assert hash_blocks(memoryview(os.pread(out, 32 * MIB, 0))).tolist() == delta.expected().tolist()


def test_another_base_makes_only_what_needs_none(delta, tmp_path):
    usable, out = expanded(tmp_path, delta, noise("another machine", 4 * MIB))
    assert usable == [2]
    assert hash_blocks(memoryview(out)).tolist() == delta.expected([2]).tolist()
    assert expanded(tmp_path, delta, b"")[0] == [2]


def test_a_segment_whose_reference_changed_a_little_gives_the_rest(delta, pair, tmp_path):
    held = bytearray(pair[0])
    for number in (3, 500, 501):
        held[number * BLOCK] ^= 1
    usable, out = expanded(tmp_path, delta, bytes(held))
    assert usable == [0, 1, 2]
    wrong = np.asarray(hash_blocks(memoryview(out))) != delta.expected()
    assert 1 <= wrong.sum() <= 12
    assert not wrong[SEGMENT_BLOCKS:].any()


def test_a_segment_whose_reference_is_gone_is_not_fetched(delta, pair, tmp_path):
    held = bytes(SEGMENT_BLOCKS * BLOCK // 4) + pair[0][SEGMENT_BLOCKS * BLOCK // 4 :]
    usable, out = expanded(tmp_path, delta, held)
    assert usable == [1, 2]
    assert hash_blocks(memoryview(out)).tolist() == delta.expected([1, 2]).tolist()


def test_a_seed_that_changes_after_the_scan_spoils_blocks_and_no_more(delta, pair, tmp_path):
    store, blob = delta.store()
    with opened(tmp_path / "held", pair[0]) as fd, opened(tmp_path / "out", b"") as out:
        located = delta.located(SeedIndex([scan(fd, Wanted(delta.reference_hints), TASK)]))
        os.pwrite(fd, noise("booted", MIB), MIB)
        os.ftruncate(fd, 15 * MIB)
        assert expand(delta.index, [0, 1, 2], store, blob, located.pieces, [fd], out, TASK) == 20 * MIB
        wrong = np.asarray(hash_blocks(memoryview(os.pread(out, 32 * MIB, 0)))) != delta.expected()
    assert 256 <= wrong.sum() <= 600


def test_a_lying_hint_spoils_blocks_and_no_more(delta, pair, tmp_path):
    """The file says of a block what it is not, as two blocks of one hint would."""
    store, blob = delta.store()
    with opened(tmp_path / "held", pair[0]) as fd, opened(tmp_path / "out", b"") as out:
        found = scan(fd, Wanted(delta.reference_hints), TASK)
        numbers = found.numbers.copy()
        numbers[:10] = numbers[500:510]
        located = delta.located(SeedIndex([Blocks(found.hints, numbers)]))
        expand(delta.index, [0, 1, 2], store, blob, located.pieces, [fd], out, TASK)
        wrong = np.asarray(hash_blocks(memoryview(os.pread(out, 32 * MIB, 0)))) != delta.expected()
    assert 1 <= wrong.sum() <= 40


def test_a_blob_cut_short_gives_what_came(delta, pair, tmp_path):
    store, blob = delta.store()
    cut = delta.index.segments[2].start + 5000

    class Cut:
        def open_blob(self, blob, start=0, stop=None):
            return store.open_blob(blob, start, min(stop, cut))

    with opened(tmp_path / "held", pair[0]) as fd, opened(tmp_path / "out", b"") as out:
        located = delta.located(SeedIndex([scan(fd, Wanted(delta.reference_hints), TASK)]))
        assert expand(delta.index, [0, 1, 2], Cut(), blob, located.pieces, [fd], out, TASK) == 16 * MIB


def test_a_blob_that_is_not_there_gives_nothing(delta, pair, tmp_path):
    store, blob = delta.store(b"another")
    blob = replace(blob, digest=sized(b"gone").digest)
    with opened(tmp_path / "held", pair[0]) as fd, opened(tmp_path / "out", b"") as out:
        located = delta.located(SeedIndex([scan(fd, Wanted(delta.reference_hints), TASK)]))
        assert expand(delta.index, [0, 1, 2], store, blob, located.pieces, [fd], out, TASK) == 0
        assert os.fstat(out).st_size == 0


@pytest.mark.parametrize("place", [0, 5, 200, -1])
def test_damage_costs_its_segment(delta, pair, tmp_path, place):
    data = bytearray(delta.data)
    data[delta.index.segments[1].start + place if place >= 0 else delta.index.segments[1].stop - 1] ^= 0xFF
    _, out = expanded(tmp_path, delta, pair[0], data=bytes(data))
    got, expected = hash_blocks(memoryview(out)).tolist(), delta.expected().tolist()
    assert set(delta.expected([0, 2]).tolist()) <= set(got)
    assert len(got) <= len(expected)


def bombs():
    size = 8 * BLOCK
    plain = bytes(size)

    def compressor(**options):
        return zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters.from_level(3, **options))

    unstated = compressor(write_content_size=False).compressobj()
    yield "no content size", unstated.compress(plain) + unstated.flush()
    yield "more", compressor().compress(plain + b"\0")
    yield "less", compressor().compress(plain[1:])
    wide = compressor(window_log=27).compressobj(size=size)
    yield "a window of 128 MiB", b"\x28\xb5\x2f\xfd\x80\x88" + size.to_bytes(4, "little") + wide.flush()[6:]
    lying = bytearray(compressor().compress(bytes(1 << 30)))
    yield "a gigabyte", bytes(lying)
    # A frame header that states 8 blocks and goes on with a run of 128 KiB.
    yield (
        "a lie",
        b"\x28\xb5\x2f\xfd\xa0" + size.to_bytes(4, "little") + (((1 << 17) << 3) | 3).to_bytes(3, "little") + b"\0",
    )
    yield "two frames", compressor().compress(plain) * 2
    yield "behind it", compressor().compress(plain) + b"x"
    yield "nothing", b""
    trained = zstandard.ZstdCompressionDict(noise("dictionary", 4096), dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    framed = zstandard.ZstdCompressor(dict_data=trained).compress(plain)
    yield "a dictionary's number", framed[:4] + bytes([framed[4] | 1]) + b"\7" + framed[5:]


@pytest.mark.parametrize(("name", "frame"), list(bombs()), ids=[name for name, _ in bombs()])
def test_a_frame_that_is_not_what_the_index_says_is_refused(name, frame):
    with pytest.raises(InvalidDelta):
        decode_segment(frame, b"", 8)


@pytest.mark.tools
@needs("zstd")
@pytest.mark.parametrize("level", [1, 9, 12, 19])
def test_stock_zstd_decodes_a_segment_whose_reference_is_larger_than_its_window(tmp_path, level):
    """All of the reference stays within reach until a window's worth has been decoded, its first block included."""
    reference = noise("reference", 16 * MIB)
    plain = (
        changed(reference[: 128 * 1024])
        + changed(reference[8 * MIB : 8 * MIB + 256 * 1024])
        + changed(reference[: 64 * 1024])
    )
    frame = compress_segment(plain, reference, level)
    assert len(frame) < len(plain) // 20, "both ends of the reference were used"
    assert zstandard.get_frame_parameters(frame).window_size <= 512 * 1024
    (tmp_path / "reference").write_bytes(reference)
    (tmp_path / "segment.zst").write_bytes(frame)
    done = subprocess.run(
        ["zstd", "-q", "-d", f"--patch-from={tmp_path}/reference", "--memory=64MB", tmp_path / "segment.zst", "-c"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == plain == decode_segment(frame, reference, len(plain) // BLOCK)


@pytest.mark.tools
@needs("zstd")
def test_stock_zstd_decodes_a_whole_delta(delta, pair, tmp_path):
    """With nothing but the documents: numbers of old blocks, ``zstd -d --patch-from``, blocks in order."""
    old_hints = hash_blocks(memoryview(pair[0])).tolist()
    out = b""
    for number, segment in enumerate(delta.index.segments):
        places = delta.index.reference[delta.index.reference_of(number)].tolist()
        assert [old_hints[p] for p in places] == delta.reference_hints[delta.index.reference_of(number)].tolist()
        (tmp_path / "reference").write_bytes(b"".join(pair[0][p * BLOCK : (p + 1) * BLOCK] for p in places))
        (tmp_path / "segment.zst").write_bytes(delta.data[segment.start : segment.stop])
        patch = [f"--patch-from={tmp_path}/reference"] if places else []
        done = subprocess.run(
            ["zstd", "-q", "-d", *patch, tmp_path / "segment.zst", "-c"], capture_output=True, timeout=60, check=True
        )
        out += done.stdout
    assert hash_blocks(memoryview(out)).tolist() == delta.expected().tolist()
    assert rebuilt(delta.toc, delta.hints, pair[0], out) == pair[1]


def test_the_same_disks_give_the_same_delta_whatever_the_threads(pair, delta, tmp_path):
    again = delta_between(tmp_path, *pair, jobs=1)
    assert again is not None
    assert (again.data, again.index.encode()) == (delta.data, delta.index.encode())


def test_a_disk_that_is_not_the_one_published_is_refused(pair, tmp_path):
    toc, _ = toc_of(tmp_path, pair[1])
    wrong = bytearray(pair[1])
    wrong[5 * MIB] ^= 1
    with (
        opened(tmp_path / "old", pair[0]) as old,
        opened(tmp_path / "new", bytes(wrong)) as new,
        pytest.raises(ContentError, match="not the disk that was published"),
    ):
        make_delta(old, new, sized(pair[0]), toc, Sink(), level=1, jobs=1, progress=NullProgress())


def test_a_disk_that_changes_while_the_delta_is_made_is_noticed(pair, tmp_path):
    toc, _ = toc_of(tmp_path, pair[1])

    class Meddling(NullProgress):
        """Changes the old disk once it has been looked through, before it is compressed against."""

        def task(self, name, total, **_):
            if name == "compressing what is new":
                os.pwrite(old, b"x", 6 * MIB + 1)
            return TASK

    with (
        opened(tmp_path / "old", pair[0]) as old,
        opened(tmp_path / "new", pair[1]) as new,
        pytest.raises(ContentError, match="changed while the delta was made"),
    ):
        make_delta(old, new, sized(pair[0]), toc, Sink(), level=1, jobs=1, progress=Meddling())


def test_the_limits_of_the_format_are_kept_where_everything_resembles_everything(tmp_path):
    """Many old blocks share content with few new ones: the reference is cut to what the format grants."""
    words = [noise(f"word {n}", 1024) for n in range(80)]
    order = np.random.default_rng(1)
    old = b"".join(words[n] for n in order.integers(0, 80, 4 * 3000))
    new = b"".join(words[n] for n in order.integers(0, 80, 4 * 20))
    delta = delta_between(tmp_path, old, new)
    assert delta is not None
    assert all(segment.reference <= MAX_REFERENCE_RATIO * segment.blocks for segment in delta.index.segments)
    assert len(DeltaIndex.decode(delta.index.encode()).segments) == len(delta.index.segments)
    _, out = expanded(tmp_path, delta, old)
    assert rebuilt(delta.toc, delta.hints, old, out) == new


WATCHED = """
import os
import numpy as np
from haulout.frames.delta.index import DeltaIndex
from haulout.frames.delta.expand import Located, expand
from haulout.frames.seeds import SeedIndex, Wanted, scan
from haulout.content.memory import MemoryStore
from haulout.progress import NullProgress
task = NullProgress().task("", None)
index = DeltaIndex.decode(open("index", "rb").read())
store = MemoryStore()
with store.ingest() as sink:
    sink.write(open("data", "rb").read())
    blob = sink.commit("x")
old, out = os.open("old", os.O_RDONLY), os.open("out", os.O_RDWR | os.O_CREAT)
hints = np.fromfile("hints", "<u8")
located = Located.of(index, hints, SeedIndex([scan(old, Wanted(hints), task)]))
numbers = range(len(index.segments))
print(expand(index, numbers, store, blob, located.pieces, [old], out, task))
# Not getrusage(2), which begins with what the parent had.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""


def test_the_largest_segments_the_format_grants_are_expanded_in_bounded_memory(tmp_path):
    """8 MiB of new blocks each, after a reference of 32 MiB each, in a process of its own."""
    old = noise("large", MAX_REFERENCE_BLOCKS * BLOCK)
    new = [changed(old[: MAX_SEGMENT_BLOCKS * BLOCK], every) for every in (4096, 2048)]
    frames = [compress_segment(each, old, 6) for each in new]
    numbers = np.arange(2 * MAX_SEGMENT_BLOCKS)
    index = DeltaIndex(
        sized(old),
        sized(b"".join(new)),
        np.array([len(frame) for frame in frames], np.uint32),
        Runs.of([np.arange(MAX_REFERENCE_BLOCKS)] * 2, restart=True),
        Runs.of(np.split(numbers, 2), restart=False),
        Runs.of([np.arange(MAX_REFERENCE_BLOCKS)], restart=True),
        Map.of(np.empty(0, np.uint8), np.empty(0, np.int64)),
    )
    (tmp_path / "hints").write_bytes(hash_blocks(memoryview(old)).tobytes())
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "index").write_bytes(index.encode())
    (tmp_path / "data").write_bytes(b"".join(frames))
    done = subprocess.run(
        [sys.executable, "-c", WATCHED],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    written, most = map(int, done.stdout.split())
    assert written == 2 * MAX_SEGMENT_BLOCKS * BLOCK
    assert (tmp_path / "out").read_bytes() == b"".join(new)
    assert most < 160 * 1024


def test_a_seed_that_cannot_be_read_gives_nothing_and_is_nobodys_error(delta, pair, tmp_path):
    store, blob = delta.store()
    with opened(tmp_path / "held", pair[0]) as fd, opened(tmp_path / "out", b"") as out:
        located = delta.located(SeedIndex([scan(fd, Wanted(delta.reference_hints), TASK)]))
        unreadable = os.open(tmp_path, os.O_RDONLY)
        try:
            written = expand(delta.index, [0, 1, 2], store, blob, located.pieces, [unreadable], out, TASK)
            alone = sum(part.blocks for part in delta.index.segments if not part.reference)
            assert written == alone * BLOCK < delta.index.new_blocks * BLOCK
        finally:
            os.close(unreadable)

"""dm-verity: bit for bit what veritysetup makes, and every changed block found."""

from __future__ import annotations

import io
import struct
import subprocess
import tracemalloc
from uuid import UUID

import pytest
from tests.support.disks import noise
from tests.support.servers import needs
from tests.support.workloads import with_hashes

from haulout.workload import verity

BLOCK = 4096
IDENTITY = UUID("00112233-4455-6677-8899-aabbccddeeff")
COUNTS = [1, 2, 3, 127, 128, 129, 1000, 128 * 128, 128 * 128 + 1]


def data_of(blocks):
    return noise("verity", BLOCK * min(blocks, 300)) * (blocks // 300 + 1)


def hashed(data, salt, step=BLOCK * 100):
    return with_hashes(data, salt, IDENTITY, step)


def run(*arguments):
    env = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
    return subprocess.run([str(part) for part in arguments], capture_output=True, text=True, check=False, env=env)


@pytest.fixture(scope="module")
def whole():
    data = data_of(300)[: 300 * BLOCK]
    return hashed(data, b"salt")


@pytest.mark.tools
@needs("veritysetup")
@pytest.mark.parametrize("salt", [noise("salt", 32), b"", noise("salt", 256)], ids=["32", "none", "256"])
@pytest.mark.parametrize("blocks", COUNTS)
def test_it_is_what_veritysetup_makes(tmp_path, blocks, salt):
    data = data_of(blocks)[: blocks * BLOCK]
    image, hashes = hashed(data, salt)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_bytes(image)
    theirs.write_bytes(data)
    options = ["--uuid", IDENTITY, "--salt", salt.hex() or "-", "--hash-offset", len(data), "--data-blocks", blocks]
    made = run("veritysetup", "format", theirs, theirs, *options)
    assert made.returncode == 0, made.stderr
    assert f"Root hash:      \t{hashes.root.hex()}" in made.stdout
    # Where there is no tree, veritysetup leaves the rest of the superblock's block unwritten.
    assert theirs.read_bytes().ljust(ours.stat().st_size, b"\0") == ours.read_bytes()
    checked = run("veritysetup", "verify", ours, ours, hashes.root.hex(), "--hash-offset", len(data))
    assert checked.returncode == 0, checked.stderr
    with theirs.open("rb") as file:
        if blocks > 1:
            verity.check(file, len(data), hashes.root)
            assert verity.read_superblock(file, len(data)) == verity.Superblock(IDENTITY, blocks, salt)


@pytest.mark.parametrize("blocks", COUNTS)
def test_sizes_are_known_beforehand_and_chunks_do_not_matter(blocks):
    data = data_of(blocks)[: blocks * BLOCK]
    image, hashes = hashed(data, b"salt")
    assert len(image) == len(data) + verity.size_for(blocks)
    assert hashes.data_blocks == blocks
    assert (image, hashes) == hashed(data, b"salt", BLOCK * 7)
    verity.check(io.BytesIO(image), len(data), hashes.root)


@pytest.mark.parametrize("block", [0, 1, 127, 128, 298, 299])
def test_a_changed_block_is_named(whole, block):
    image, hashes = whole
    for place in (0, 2000, 4095):
        changed = bytearray(image)
        changed[block * BLOCK + place] ^= 1
        with pytest.raises(verity.VerityMismatch) as caught:
            verity.check(io.BytesIO(changed), 300 * BLOCK, hashes.root)
        assert (caught.value.level, caught.value.block) == (None, block)


def test_the_first_of_several_is_named(whole):
    image, hashes = whole
    changed = bytearray(image)
    for block in (250, 40, 41):
        changed[block * BLOCK] ^= 1
    with pytest.raises(verity.VerityMismatch, match="block 40 "):
        verity.check(io.BytesIO(changed), 300 * BLOCK, hashes.root)


def test_blocks_that_changed_places_are_named(whole):
    image, hashes = whole
    changed = image[:BLOCK] + image[2 * BLOCK : 3 * BLOCK] + image[BLOCK : 2 * BLOCK] + image[3 * BLOCK :]
    with pytest.raises(verity.VerityMismatch) as caught:
        verity.check(io.BytesIO(changed), 300 * BLOCK, hashes.root)
    assert caught.value.block == 1


@pytest.mark.parametrize(("place", "level", "block"), [(0, 1, 0), (1, 0, 0), (2, 0, 1), (3, 0, 2)])
def test_a_changed_hash_is_named(whole, place, level, block):
    image, hashes = whole
    changed = bytearray(image)
    # The last byte is padding, of the third leaf block too: it is hashed as well.
    changed[(301 + place) * BLOCK + BLOCK - 1] ^= 1
    with pytest.raises(verity.VerityMismatch) as caught:
        verity.check(io.BytesIO(changed), 300 * BLOCK, hashes.root)
    assert (caught.value.level, caught.value.block) == (level, block)


def test_another_root_another_salt_and_fewer_data_are_found(whole):
    image, hashes = whole
    with pytest.raises(verity.VerityMismatch):
        verity.check(io.BytesIO(image), 300 * BLOCK, bytes(32))
    with pytest.raises(verity.RefusedVerity):
        verity.check(io.BytesIO(image), 300 * BLOCK, hashes.root[:16])
    for salt, blocks in ((b"tlas", 300), (b"salt", 128), (b"salt", 1)):
        fake = verity.Superblock(IDENTITY, blocks, salt).pack()
        changed = image[: 300 * BLOCK] + fake + image[301 * BLOCK :]
        with pytest.raises(verity.VerityMismatch):
            verity.check(io.BytesIO(changed), 300 * BLOCK, hashes.root)


@pytest.mark.parametrize(
    ("offset", "form", "value", "rule"),
    [
        (0, "8s", b"veritas\0", "signature"),
        (8, "<I", 2, "version"),
        (12, "<I", 0, "version"),
        (32, "32s", b"sha1", "algorithm"),
        (32, "32s", b"crc32", "algorithm"),
        (64, "<I", 512, "block-size"),
        (68, "<I", 1024, "block-size"),
        (72, "<Q", 0, "data-blocks"),
        (72, "<Q", 301, "data-blocks"),
        (72, "<Q", 2**64 - 1, "data-blocks"),
        (80, "<H", 257, "salt"),
        (80, "<H", 65535, "salt"),
    ],
)
def test_an_odd_superblock_is_refused(whole, offset, form, value, rule):
    image, hashes = whole
    changed = bytearray(image)
    struct.pack_into(form, changed, 300 * BLOCK + offset, value)
    with pytest.raises(verity.RefusedVerity) as caught:
        verity.check(io.BytesIO(changed), 300 * BLOCK, hashes.root)
    assert caught.value.rule == rule
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("size", [0, 300 * BLOCK, 300 * BLOCK + 511, 301 * BLOCK, 305 * BLOCK - 1])
def test_a_file_that_ends_early_is_refused(whole, size):
    image, hashes = whole
    with pytest.raises(verity.RefusedVerity) as caught:
        verity.check(io.BytesIO(image[:size]), 300 * BLOCK, hashes.root)
    assert caught.value.rule == "truncated"


def test_what_cannot_be_hashed():
    def put(offset, block):
        raise AssertionError(f"a block at {offset}: {block[:8]}")

    with pytest.raises(ValueError, match="whole blocks"):
        verity.Tree(2, b"", put).feed(b"x")
    with pytest.raises(ValueError, match="no data"):
        verity.Tree(0, b"", put)
    with pytest.raises(ValueError, match="256"):
        verity.Tree(1, bytes(257), put)
    with pytest.raises(ValueError, match="0 blocks came where 2"):
        verity.Tree(2, b"", put).finish()
    with pytest.raises(ValueError, match="3 blocks come where 2"):
        verity.Tree(2, b"", put).feed(bytes(3 * BLOCK))


def test_a_tree_keeps_no_more_than_a_block_of_each_level():
    tree = verity.Tree(1 << 20, b"", lambda offset, block: None)
    tracemalloc.start()
    for _ in range(64):
        tree.feed(bytes(BLOCK * 128))
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()

"""dm-verity trees: bit for bit what veritysetup makes."""

from __future__ import annotations

import io
import subprocess
import tracemalloc
from uuid import UUID

import pytest
from tests.support.disks import noise
from tests.support.servers import needs
from tests.support.verity_images import data_of, hashed

from haulout.workload import verity

BLOCK = 4096
IDENTITY = UUID("00112233-4455-6677-8899-aabbccddeeff")
COUNTS = [1, 2, 3, 127, 128, 129, 1000, 128 * 128, 128 * 128 + 1]


def run(*arguments):
    env = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
    return subprocess.run([str(part) for part in arguments], capture_output=True, text=True, check=False, env=env)


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

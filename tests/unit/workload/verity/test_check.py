"""Every changed block is found, and named."""

from __future__ import annotations

import io
from uuid import UUID

import pytest

from haulout.workload import verity

BLOCK = 4096
IDENTITY = UUID("00112233-4455-6677-8899-aabbccddeeff")


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


@pytest.mark.parametrize("size", [0, 300 * BLOCK, 300 * BLOCK + 511, 301 * BLOCK, 305 * BLOCK - 1])
def test_a_file_that_ends_early_is_refused(whole, size):
    image, hashes = whole
    with pytest.raises(verity.RefusedVerity) as caught:
        verity.check(io.BytesIO(image[:size]), 300 * BLOCK, hashes.root)
    assert caught.value.rule == "truncated"

"""Superblocks that are refused."""

from __future__ import annotations

import io
import struct
from uuid import UUID

import pytest

from haulout.workload import verity

BLOCK = 4096
IDENTITY = UUID("00112233-4455-6677-8899-aabbccddeeff")


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

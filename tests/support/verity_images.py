"""Data followed by its dm-verity hashes."""

from __future__ import annotations

from uuid import UUID

from tests.support.disks import noise
from tests.support.workloads import with_hashes

BLOCK = 4096
IDENTITY = UUID("00112233-4455-6677-8899-aabbccddeeff")


def data_of(blocks):
    return noise("verity", BLOCK * min(blocks, 300)) * (blocks // 300 + 1)


def hashed(data, salt, step=BLOCK * 100):
    return with_hashes(data, salt, IDENTITY, step)

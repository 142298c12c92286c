"""The checksums of ext4."""

from __future__ import annotations

from haulout.disk.formats.vhdx import crc32c as plain_crc32c
from haulout.workload.ext4.crc32c import ONES, crc32c, crc32c_rows


def test_checksums_are_those_of_rfc_3720():
    data = bytes(range(256)) * 40
    for size in (4, 5, 1020, 4096, 4097, 5000, 8192):
        assert crc32c(ONES, data[:size]) == plain_crc32c(data[:size]) ^ ONES
    import numpy as np

    rows = np.frombuffer(data[:4096], dtype=np.uint8).reshape(4, 1024)
    assert crc32c_rows(ONES, rows).tolist() == [crc32c(ONES, row.tobytes()) for row in rows]

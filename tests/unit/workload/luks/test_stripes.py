"""Anti-forensic stripes."""

from __future__ import annotations

from tests.support.disks import noise

from haulout.workload.luks import stripes


def test_all_stripes_but_the_last_are_random():
    key = noise("key", 64)
    one, other = stripes.split(key, 4000, "sha256"), stripes.split(key, 4000, "sha256")
    assert len(one) == 256_000
    assert stripes.merge(one, 64, "sha256") == stripes.merge(other, 64, "sha256") == key
    pieces = [one[start : start + 64] for start in range(0, len(one), 64)]
    assert len(set(pieces)) == 4000
    assert bytes(64) not in pieces
    for place in (0, 128_000, len(one) - 1):
        damaged = bytearray(one)
        damaged[place] ^= 1
        assert stripes.merge(bytes(damaged), 64, "sha256") != key

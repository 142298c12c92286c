"""The anti-forensic splitter: key material blown up so that losing any part of it loses the key.

Source: LUKS1 On-Disk Format Specification, section 2.4. All stripes but the last are random, each as long as the key;
the last one is the key, exclusive-ored with the running hash of all the others.
"""

from __future__ import annotations

import hashlib
import secrets


def split(key: bytes, stripes: int, hash_name: str) -> bytes:
    """Return ``stripes * len(key)`` bytes, of which all are needed to get the key back."""
    random = secrets.token_bytes(len(key) * (stripes - 1))
    return random + _xor(_gather(random, len(key), hash_name), key)


def merge(material: bytes, size: int, hash_name: str) -> bytes:
    """Return the key of ``size`` bytes that ``material`` was split from."""
    return _xor(_gather(material[:-size], size, hash_name), material[-size:])


def _gather(stripes: bytes, size: int, hash_name: str) -> bytes:
    value = bytes(size)
    for start in range(0, len(stripes), size):
        value = _diffuse(_xor(value, stripes[start : start + size]), hash_name)
    return value


def _diffuse(value: bytes, hash_name: str) -> bytes:
    width = hashlib.new(hash_name).digest_size
    parts = (
        hashlib.new(hash_name, number.to_bytes(4, "big") + value[start : start + width]).digest()
        for number, start in enumerate(range(0, len(value), width))
    )
    # A last part that is shorter than the hash keeps its length.
    return b"".join(parts)[: len(value)]


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one) ^ int.from_bytes(other)).to_bytes(len(one))

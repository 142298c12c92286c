"""A volume, its content, and the ways to change it."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from tests.support.disks import noise

MIB = 1 << 20
PLAIN = noise("luks", 3 * MIB + 512)


def sector_by_sector(key, first, data):
    pieces = []
    for start in range(0, len(data), 512):
        tweak = (first + start // 512).to_bytes(16, "little")
        pieces.append(Cipher(algorithms.AES(key), modes.XTS(tweak)).encryptor().update(data[start : start + 512]))
    return b"".join(pieces)

"""AES-XTS of whole buffers of sectors, vectorised: what dm-crypt calls ``aes-xts-plain64``.

Source: IEEE 1619-2007. The tweak of a sector's first 16-byte block is its encrypted number, those after it are
doublings in GF(2^128). A cipher object for each sector takes ten times as long as all this: one call encrypts the
numbers of many sectors, numpy doubles their tweaks all at once, and one more call runs AES over the lot.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from haulout.extras import require
from haulout.workload.luks.header import SECTOR

require("cryptography", "numpy")

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.ciphers import CipherContext
    from typing_extensions import Buffer

_BLOCKS: Final = SECTOR // 16
_WORDS: Final = SECTOR // 8
_SLICE: Final = 512
"""Sectors worked on at a time: 256 KiB, so that what is made in between stays in the processor's cache."""
_LITTLE: Final = np.dtype("<u8")
_SHIFT: Final = tuple(np.uint64(bits) for bits in range(65))
_POLYNOMIAL: Final = (1, 2, 7)
"""x^128 = x^7 + x^2 + x + 1: what overflows comes back at these places, and at 0."""

Words = npt.NDArray[np.uint64]


class _Scratch:
    """Room for one slice: 32 rows of the lower and the upper halves of tweaks, a column for each sector."""

    def __init__(self) -> None:
        self.numbers = np.zeros((_SLICE, 2), _LITTLE)
        # AES may ask for a block more than it writes.
        self.first = np.empty(_SLICE * 2 + 2, _LITTLE)
        self.lower = np.empty((_BLOCKS, _SLICE), _LITTLE)
        self.upper = np.empty((_BLOCKS, _SLICE), _LITTLE)
        self.over = np.empty((_BLOCKS // 2, _SLICE), _LITTLE)
        self.back = np.empty((_BLOCKS // 2, _SLICE), _LITTLE)
        self.tweaks = np.empty((_SLICE, _BLOCKS, 2), _LITTLE)
        self.ciphered = np.empty(_SLICE * _WORDS + 2, _LITTLE)


class Xts:
    """Encrypts and decrypts sectors with one key. Safe from several threads, which work at the same time.

    Args:
        key: 32 or 64 bytes, for AES-128 or AES-256: half for the data, half for the tweaks.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) not in {32, 64}:
            raise ValueError(f"a key of AES-XTS must have 32 or 64 bytes (got {len(key)})")
        half = len(key) // 2
        # XTS is built of single blocks; the tweaks hide what ECB would show.
        self._data = Cipher(algorithms.AES(key[:half]), modes.ECB())  # noqa: S305
        self._tweak = Cipher(algorithms.AES(key[half:]), modes.ECB())  # noqa: S305
        self._idle: deque[_Scratch] = deque()

    def encrypt(self, first_sector: int, plain: Buffer) -> bytes:
        """Return whole sectors, of which the first has the number ``first_sector``, encrypted."""
        return self._run(self._data.encryptor, first_sector, plain)

    def decrypt(self, first_sector: int, cipher: Buffer) -> bytes:
        """Return whole sectors, of which the first has the number ``first_sector``, decrypted."""
        return self._run(self._data.decryptor, first_sector, cipher)

    def _run(self, context: Callable[[], CipherContext], first: int, data: Buffer) -> bytes:
        size = memoryview(data).nbytes
        if size % SECTOR:
            raise ValueError(f"{size} bytes are not whole sectors of {SECTOR}")
        if first < 0 or first + size // SECTOR > 1 << 64:
            raise ValueError(f"sectors are out of range: {size // SECTOR} from {first} on")
        if not size:
            return b""
        source: Words = np.frombuffer(memoryview(data), _LITTLE)
        result = np.empty(len(source), _LITTLE)
        try:
            scratch = self._idle.pop()
        except IndexError:
            scratch = _Scratch()
        for start in range(0, len(source), _SLICE * _WORDS):
            out = result[start : start + _SLICE * _WORDS]
            tweaks = self._tweaks(scratch, first + start // _WORDS, len(out) // _WORDS)
            np.bitwise_xor(source[start : start + len(out)], tweaks, out=out)
            context().update_into(_bytes_of(out), _bytes_of(scratch.ciphered))
            np.bitwise_xor(scratch.ciphered[: len(out)], tweaks, out=out)
        self._idle.append(scratch)
        return result.tobytes()

    def _tweaks(self, scratch: _Scratch, first: int, count: int) -> Words:
        """Return the tweaks of all blocks of ``count`` sectors, as words in the order of the data."""
        numbers = scratch.numbers[:count]
        numbers[:, 0] = np.arange(count, dtype=np.uint64)
        numbers[:, 0] += np.uint64(first)
        self._tweak.encryptor().update_into(_bytes_of(numbers), _bytes_of(scratch.first))
        lower, upper = scratch.lower[:, :count], scratch.upper[:, :count]
        lower[0] = scratch.first[: 2 * count : 2]
        upper[0] = scratch.first[1 : 2 * count : 2]
        known = 1
        while known < _BLOCKS:
            # Times x^known turns the known tweaks of each sector into as many new ones.
            over, back = scratch.over[:known, :count], scratch.back[:known, :count]
            low, high = lower[known : 2 * known], upper[known : 2 * known]
            np.right_shift(lower[:known], _SHIFT[64 - known], out=over)
            np.left_shift(upper[:known], _SHIFT[known], out=high)
            np.bitwise_or(high, over, out=high)
            np.right_shift(upper[:known], _SHIFT[64 - known], out=over)
            np.left_shift(lower[:known], _SHIFT[known], out=low)
            np.bitwise_xor(low, over, out=low)
            for place in _POLYNOMIAL:
                np.left_shift(over, _SHIFT[place], out=back)
                np.bitwise_xor(low, back, out=low)
            known *= 2
        tweaks = scratch.tweaks[:count]
        tweaks[:, :, 0] = lower.T
        tweaks[:, :, 1] = upper.T
        return tweaks.reshape(-1)


def _bytes_of(words: Words) -> memoryview:
    return words.data.cast("B")

"""Volumes: made with a passphrase, or opened with one."""

from __future__ import annotations

import hashlib
import hmac
import io
import secrets
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

from haulout.errors import RefusedLuks, UsageError, WrongPassphrase
from haulout.workload.luks import stripes
from haulout.workload.luks.header import (
    ALIGNMENT,
    DIGEST_BYTES,
    HEADER_BYTES,
    MAX_WORK,
    MIN_ITERATIONS,
    SECTOR,
    SLOTS,
    STRIPES,
    LuksHeader,
    LuksKeySlot,
    Rule,
    material_bytes,
    read_header,
)
from haulout.workload.luks.xts import Xts

if TYPE_CHECKING:
    from typing import BinaryIO

    from typing_extensions import Buffer

    from haulout.oci import Digest

_HASH: Final = "sha256"
_KEY_BYTES: Final = 64
_KEY_ITERATIONS: Final = 4000
"""As in buildah's mkcw. The master key is random, so more would not make it harder to guess."""
_MAX_ITERATIONS: Final = (MAX_WORK - _KEY_ITERATIONS) // 2
_PROBE: Final = 1 << 14


@dataclass(frozen=True)
class Volume:
    """An open volume. Safe from several threads.

    Attributes:
        layout: the header, taken apart.
    """

    layout: LuksHeader
    _cipher: Xts = field(repr=False)

    @property
    def header(self) -> bytes:
        """Everything before the payload."""
        return self.layout.raw

    @property
    def header_digest(self) -> Digest:
        """The SHA-256 of everything before the payload."""
        return self.layout.digest

    def encrypt(self, first_sector: int, plain: Buffer) -> bytes:
        """Return whole sectors of 512 bytes encrypted; the payload's first one has the number 0."""
        return self._cipher.encrypt(first_sector, plain)

    def decrypt(self, first_sector: int, cipher: Buffer) -> bytes:
        """Return whole sectors of 512 bytes decrypted; the payload's first one has the number 0."""
        return self._cipher.decrypt(first_sector, cipher)


def create(
    passphrase: bytes,
    *,
    iteration_ms: int = 1000,
    iterations: int | None = None,
    master_key: bytes | None = None,
    uuid: UUID | None = None,
) -> Volume:
    """Make a new volume, exactly as buildah's mkcw lays it out: AES-256, one passphrase, in slot 0.

    Args:
        passphrase: not empty; as many bytes as are wanted.
        iteration_ms: how long trying a passphrase is to take on this machine, in milliseconds.
        iterations: instead, how often it is hashed.
        master_key: 64 bytes with different halves. Random by default, which only tests have a reason to change.
        uuid: random by default.

    Raises:
        UsageError: a value is out of range.
    """
    if not passphrase:
        raise UsageError("an empty passphrase protects nothing")
    if iterations is None:
        iterations = _iterations_in(iteration_ms)
    elif not MIN_ITERATIONS <= iterations <= _MAX_ITERATIONS:
        raise UsageError(f"iterations must be between {MIN_ITERATIONS} and {_MAX_ITERATIONS} (got {iterations})")
    key = secrets.token_bytes(_KEY_BYTES) if master_key is None else master_key
    if len(key) != _KEY_BYTES or _is_weak(key):
        raise UsageError(f"a master key must have {_KEY_BYTES} bytes and two different halves")
    step = -(-material_bytes(_KEY_BYTES) // ALIGNMENT) * ALIGNMENT
    slots = tuple(
        LuksKeySlot(
            active=number == 0,
            iterations=0 if number else iterations,
            salt=bytes(32) if number else secrets.token_bytes(32),
            offset=(ALIGNMENT + number * step) // SECTOR,
        )
        for number in range(SLOTS)
    )
    salt = secrets.token_bytes(32)
    header = LuksHeader(
        hash_name=_HASH,
        key_bytes=_KEY_BYTES,
        payload_offset=HEADER_BYTES // SECTOR,
        key_digest=hashlib.pbkdf2_hmac(_HASH, key, salt, _KEY_ITERATIONS, DIGEST_BYTES),
        key_salt=salt,
        key_iterations=_KEY_ITERATIONS,
        uuid=uuid or uuid4(),
        slots=slots,
    )
    wrapping = hashlib.pbkdf2_hmac(_HASH, passphrase, slots[0].salt, iterations, _KEY_BYTES)
    material = Xts(wrapping).encrypt(0, stripes.split(key, STRIPES, _HASH))
    raw = (header.pack().ljust(ALIGNMENT, b"\0") + material).ljust(HEADER_BYTES, b"\0")
    return Volume(header.with_raw(raw), Xts(key))


def open_volume(file: BinaryIO, passphrase: bytes) -> Volume:
    """Open the volume that begins where the file does; the passphrase is tried on every slot in use.

    Raises:
        NotLuks: there is none.
        RefusedLuks: it breaks a rule.
        WrongPassphrase: it opens no slot.
    """
    header = read_header(file)
    return Volume(header, Xts(_unlock(header, passphrase)[1]))


def change_passphrase(file: BinaryIO, passphrase: bytes, new: bytes, *, iteration_ms: int = 1000) -> LuksHeader:
    """Return the header of a volume with another passphrase in the slot that one opens, as ``luksChangeKey`` does.

    The master key, and so the payload, stays as it is; other slots stay as they are. Nothing is written.

    Args:
        file: the volume.
        passphrase: the old one.
        new: the new one, not empty.
        iteration_ms: how long trying a passphrase is to take on this machine, in milliseconds.

    Raises:
        NotLuks: there is no volume.
        RefusedLuks: its header breaks a rule, or would.
        WrongPassphrase: the old passphrase opens no slot.
    """
    if not new:
        raise UsageError("an empty passphrase protects nothing")
    header = read_header(file)
    number, key = _unlock(header, passphrase)
    slot = replace(header.slots[number], iterations=_iterations_in(iteration_ms), salt=secrets.token_bytes(32))
    slots = tuple(slot if place == number else one for place, one in enumerate(header.slots))
    changed = replace(header, slots=slots)
    wrapping = hashlib.pbkdf2_hmac(header.hash_name, new, slot.salt, slot.iterations, header.key_bytes)
    start, size = header.material(slot)
    material = stripes.split(key, STRIPES, header.hash_name).ljust(size, b"\0")
    raw = bytearray(header.raw)
    raw[: len(changed.pack())] = changed.pack()
    raw[start : start + size] = Xts(wrapping).encrypt(0, material)
    # Read as any other: what is written must be accepted again.
    return read_header(io.BytesIO(bytes(raw) + b"\0"))


def _unlock(header: LuksHeader, passphrase: bytes) -> tuple[int, bytes]:
    """Return the slot that a passphrase opens, and the master key in it."""
    for number, slot in enumerate(header.slots):
        if not slot.active:
            continue
        start, size = header.material(slot)
        wrapping = hashlib.pbkdf2_hmac(header.hash_name, passphrase, slot.salt, slot.iterations, header.key_bytes)
        material = Xts(wrapping).decrypt(0, header.raw[start : start + size])
        key = stripes.merge(material[: header.key_bytes * STRIPES], header.key_bytes, header.hash_name)
        digest = hashlib.pbkdf2_hmac(header.hash_name, key, header.key_salt, header.key_iterations, DIGEST_BYTES)
        if hmac.compare_digest(digest, header.key_digest):
            if _is_weak(key):
                raise RefusedLuks(Rule.WEAK_KEY, "both halves of its key are equal, which makes XTS reveal patterns")
            return number, key
    raise WrongPassphrase


def _is_weak(key: bytes) -> bool:
    half = len(key) // 2
    return hmac.compare_digest(key[:half], key[half:])


def _iterations_in(milliseconds: int) -> int:
    """Return how many iterations of PBKDF2 take so long on this machine, within what is accepted."""
    count, took = _PROBE, 0.0
    while True:
        begin = time.perf_counter()
        hashlib.pbkdf2_hmac(_HASH, b"passphrase", bytes(32), count, _KEY_BYTES)
        took = time.perf_counter() - begin
        # In less time than this, the clock and other processes distort the result.
        if took >= 0.05 or count >= _MAX_ITERATIONS:
            return max(MIN_ITERATIONS, min(_MAX_ITERATIONS, int(count * milliseconds / 1000 / took)))
        count *= 4

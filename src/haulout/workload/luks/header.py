"""The header of LUKS version 1: its layout, and the rules by which one from elsewhere is accepted.

A header is not trusted before its digest is compared: anyone who can write to the disk can write it. So it is read
strictly, and what an attacker could choose (ciphers, geometry, work) is bounded before any of it is used.
"""

from __future__ import annotations

import hashlib
import io
import struct
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NoReturn
from uuid import UUID

from haulout.errors import NotLuks, RefusedLuks
from haulout.oci import Digest

if TYPE_CHECKING:
    from typing import BinaryIO

SECTOR: Final = 512
"""Bytes that have one number, and in which a header counts."""
MAGIC: Final = b"LUKS\xba\xbe"
SECOND_MAGIC: Final = b"SKUL\xba\xbe"
"""With which the second header of LUKS2 begins."""
SECOND_OFFSETS: Final = tuple(0x4000 << power for power in range(9))
"""Where programs look for it, in bytes."""
HEADER_BYTES: Final = 4040 * SECTOR
"""What lies before the payload of a volume made here, as buildah's and QEMU's: with a key of 64 bytes."""
SLOTS: Final = 8
STRIPES: Final = 4000
ALIGNMENT: Final = 4096
ACTIVE: Final = 0x00AC71F3
INACTIVE: Final = 0x0000DEAD
KEY_SIZES: Final = (32, 64)
HASHES: Final = ("sha256", "sha512")
MIN_ITERATIONS: Final = 1000
MAX_WORK: Final = 1 << 27
"""Hash runs that trying one passphrase on every slot may take: a minute or two of one core."""
MAX_HEADER: Final = 16 << 20
DIGEST_BYTES: Final = 20

_FIXED: Final = struct.Struct(">6sH32s32s32sII20s32sI40s")
_SLOT: Final = struct.Struct(">II32sII")
PHDR_BYTES: Final = _FIXED.size + SLOTS * _SLOT.size


class Rule(StrEnum):
    """Rules by which a header is refused."""

    TRUNCATED = "truncated"
    VERSION = "version"
    SECOND_HEADER = "second-header"
    CIPHER = "cipher"
    HASH = "hash"
    KEY_SIZE = "key-size"
    UUID = "uuid"
    SLOT_STATE = "slot-state"
    NO_SLOT = "no-slot"
    STRIPES = "stripes"
    ITERATIONS = "iterations"
    WORK = "work"
    OVERLAP = "overlap"
    PAYLOAD_OFFSET = "payload-offset"
    WEAK_KEY = "weak-key"


@dataclass(frozen=True, slots=True)
class LuksKeySlot:
    """A place for the master key, encrypted with one passphrase.

    Attributes:
        active: whether it holds one.
        iterations: of PBKDF2, for the passphrase.
        salt: 32 bytes.
        offset: of the key material, in sectors.
        stripes: into how many the master key is split.
    """

    active: bool
    iterations: int
    salt: bytes = field(repr=False)
    offset: int
    stripes: int = STRIPES

    def pack(self) -> bytes:
        """Return its 48 bytes."""
        state = ACTIVE if self.active else INACTIVE
        return _SLOT.pack(state, self.iterations, self.salt, self.offset, self.stripes)


@dataclass(frozen=True)
class LuksHeader:
    """A header that is accepted.

    Attributes:
        hash_name: of PBKDF2, of the splitter and of the key's digest.
        key_bytes: how long the master key is: 32 for AES-128, 64 for AES-256.
        payload_offset: where the payload begins, in sectors.
        key_digest, key_salt, key_iterations: by which the master key is recognised.
        slots: all eight.
        raw: everything before the payload, key material included.
    """

    hash_name: str
    key_bytes: int
    payload_offset: int
    key_digest: bytes = field(repr=False)
    key_salt: bytes = field(repr=False)
    key_iterations: int
    uuid: UUID
    slots: tuple[LuksKeySlot, ...]
    raw: bytes = field(default=b"", repr=False)

    @property
    def payload_start(self) -> int:
        """Where the payload begins, in bytes."""
        return self.payload_offset * SECTOR

    @cached_property
    def digest(self) -> Digest:
        """The SHA-256 of everything before the payload."""
        return Digest.of(self.raw)

    def with_raw(self, raw: bytes) -> LuksHeader:
        """Return it with everything before the payload."""
        return replace(self, raw=raw)

    def pack(self) -> bytes:
        """Return the 592 bytes with which the disk begins."""
        fixed = _FIXED.pack(
            MAGIC,
            1,
            b"aes",
            b"xts-plain64",
            self.hash_name.encode(),
            self.payload_offset,
            self.key_bytes,
            self.key_digest,
            self.key_salt,
            self.key_iterations,
            str(self.uuid).encode(),
        )
        return fixed + b"".join(slot.pack() for slot in self.slots)

    def material(self, slot: LuksKeySlot) -> tuple[int, int]:
        """Return where a slot's key material begins and how long it is with its padding, in bytes."""
        return slot.offset * SECTOR, material_bytes(self.key_bytes)

    def work(self) -> int:
        """Return how many hash runs it takes to try one passphrase on every active slot."""
        width = hashlib.new(self.hash_name).digest_size
        blocks = -(-self.key_bytes // width)
        return sum(slot.iterations * blocks + self.key_iterations for slot in self.slots if slot.active)


def material_bytes(key_bytes: int) -> int:
    """Return how long the key material of a slot is, in whole sectors, in bytes."""
    return -(-key_bytes * STRIPES // SECTOR) * SECTOR


def read_header(file: BinaryIO) -> LuksHeader:
    """Read the header of a volume that begins where the file does.

    Raises:
        NotLuks: there is none.
        RefusedLuks: it breaks a rule.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    start = file.read(PHDR_BYTES)
    if start[: len(SECOND_MAGIC)] == SECOND_MAGIC:
        _refuse(Rule.SECOND_HEADER, "it begins with the second header of LUKS2")
    if start[: len(MAGIC)] != MAGIC:
        raise NotLuks
    header = _parse(start)
    if size <= header.payload_start:
        _refuse(
            Rule.TRUNCATED, f"it ends after {size} bytes, before its payload, which begins at {header.payload_start}"
        )
    for offset in SECOND_OFFSETS:
        file.seek(offset)
        if file.read(len(SECOND_MAGIC)) == SECOND_MAGIC:
            _refuse(Rule.SECOND_HEADER, f"there is a second header of LUKS2 at byte {offset}")
    file.seek(0)
    raw = file.read(header.payload_start)
    if len(raw) != header.payload_start:
        _refuse(Rule.TRUNCATED, f"it ends after {len(raw)} bytes, before its payload")
    return header.with_raw(raw)


def _parse(data: bytes) -> LuksHeader:
    if len(data) < PHDR_BYTES:
        _refuse(Rule.TRUNCATED, f"its header ends after {len(data)} of {PHDR_BYTES} bytes")
    _, version, cipher, mode, hash_spec, payload, key_bytes, digest, salt, iterations, uuid = _FIXED.unpack_from(data)
    if version != 1:
        _refuse(Rule.VERSION, f"it has version {version}; only version 1 is accepted")
    if (_text(cipher), _text(mode)) != ("aes", "xts-plain64"):
        _refuse(Rule.CIPHER, f"its cipher is {_shown(cipher)}-{_shown(mode)}; only aes-xts-plain64 is accepted")
    hash_name = _text(hash_spec)
    if hash_name not in HASHES:
        _refuse(Rule.HASH, f"its hash is {_shown(hash_spec)}; only {' and '.join(HASHES)} are accepted")
    if key_bytes not in KEY_SIZES:
        _refuse(Rule.KEY_SIZE, f"its key has {key_bytes} bytes; only 32 and 64 are accepted")
    header = LuksHeader(
        hash_name=hash_name,
        key_bytes=key_bytes,
        payload_offset=payload,
        key_digest=digest,
        key_salt=salt,
        key_iterations=iterations,
        uuid=_uuid(uuid),
        slots=tuple(_slot(data, number) for number in range(SLOTS)),
    )
    _check_work(header)
    _check_geometry(header)
    return header


def _slot(data: bytes, number: int) -> LuksKeySlot:
    state, iterations, salt, offset, stripes = _SLOT.unpack_from(data, _FIXED.size + number * _SLOT.size)
    if state not in {ACTIVE, INACTIVE}:
        _refuse(Rule.SLOT_STATE, f"slot {number} is marked neither as used nor as free")
    if stripes != STRIPES:
        _refuse(Rule.STRIPES, f"slot {number} has {stripes} stripes; only {STRIPES} are accepted")
    return LuksKeySlot(state == ACTIVE, iterations, salt, offset, stripes)


def _check_work(header: LuksHeader) -> None:
    if not any(slot.active for slot in header.slots):
        _refuse(Rule.NO_SLOT, "no slot is in use, so no passphrase opens it")
    counts = [header.key_iterations, *(slot.iterations for slot in header.slots if slot.active)]
    if min(counts) < MIN_ITERATIONS:
        _refuse(
            Rule.ITERATIONS,
            f"passphrases or the key are hashed {min(counts)} times; {MIN_ITERATIONS} is the least",
        )
    if header.work() > MAX_WORK:
        _refuse(
            Rule.WORK,
            f"trying a passphrase takes {header.work()} hash runs; the limit is {MAX_WORK}",
            hint="cryptsetup luksChangeKey --pbkdf-force-iterations makes a slot that takes fewer",
        )


def _check_geometry(header: LuksHeader) -> None:
    """Refuse key material in the header, in other key material or in the payload, that of free slots included."""
    if not header.payload_start <= MAX_HEADER or not header.payload_offset:
        _refuse(
            Rule.PAYLOAD_OFFSET,
            f"its payload begins at byte {header.payload_start}; it must be between 1 and {MAX_HEADER}",
        )
    areas = [(0, PHDR_BYTES, "the header")]
    for number, slot in enumerate(header.slots):
        start, size = header.material(slot)
        areas.append((start, start + size, f"the key material of slot {number}"))
    areas.append((header.payload_start, 1 << 64, "the payload"))
    for (_, end, name), (start, _, after) in pairwise(sorted(areas)):
        if start < end:
            _refuse(Rule.OVERLAP, f"{after} begins within {name}")


def _text(field: bytes) -> str | None:
    text, ended, _ = field.partition(b"\0")
    return text.decode("ascii") if ended and text.isascii() else None


def _shown(field: bytes) -> str:
    text = field.split(b"\0", 1)[0].decode("ascii", "replace")
    return text if text.isprintable() and text else repr(text)


def _uuid(field: bytes) -> UUID:
    text = _text(field) or ""
    try:
        uuid = UUID(text)
    except ValueError:
        _refuse(Rule.UUID, "its UUID is not a UUID")
    if str(uuid) != text.lower():
        _refuse(Rule.UUID, "its UUID is not in the usual form")
    return uuid


def _refuse(rule: Rule, reason: str, *, hint: str | None = None) -> NoReturn:
    raise RefusedLuks(rule, reason, hint=hint)

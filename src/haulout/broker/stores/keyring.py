"""Key-encryption keys, and what they seal.

Each secret is encrypted by a data key of its own (AES-256-GCM), and that by a key-encryption key. Both are bound to
where the secret stands, so that whoever can write the table cannot move one secret into the place of another.
:class:`Wrapper` is the port for keys that stay in a KMS or behind PKCS#11; :class:`Keyring` has them in a file.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from haulout.broker.stores.errors import InvalidKeyring, SealError
from haulout.local import PRIVATE, read_small, replace_file, storage_errors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_KEY: Final = 32
_NONCE: Final = 12
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LARGEST: Final = 1 << 16


class Sealed(NamedTuple):
    """A secret at rest: which key wraps its data key, the wrapped data key, the encrypted secret."""

    kek: str
    wrapped: bytes
    data: bytes


class Wrapper(Protocol):
    """Whatever has key-encryption keys. ``context`` is authenticated, and not secret."""

    @property
    def current(self) -> str:
        """Return the id of the key that wraps from now on."""

    def wrap(self, data_key: bytes, context: bytes) -> tuple[str, bytes]:
        """Encrypt a data key with the current key; return that key's id, too."""

    def unwrap(self, kek: str, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt a data key; raises SealError."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """Keys in a file: a line ``ID BASE64`` for each. The first wraps; all unwrap."""

    keys: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, data: bytes, what: str) -> Keyring:
        """Read the file.

        Raises:
            InvalidKeyring: it has no key, or a line that is not one.
        """
        keys: dict[str, bytes] = {}
        for number, line in enumerate(data.decode("ascii", "replace").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            name, _, text = line.strip().partition(" ")
            try:
                key = base64.b64decode(text.strip(), validate=True)
            except (binascii.Error, ValueError):
                key = b""
            if not _NAME.fullmatch(name) or len(key) != _KEY or name in keys:
                # Nothing of the line is shown: it may hold a key.
                raise InvalidKeyring(f"{what}, line {number}: expected a new name and {_KEY} bytes in base64")
            keys[name] = key
        if not keys:
            raise InvalidKeyring(f"{what} holds no key", hint="haulout broker init makes one")
        return cls(keys)

    @property
    def current(self) -> str:
        """Return the id of the first key."""
        return next(iter(self.keys))

    def wrap(self, data_key: bytes, context: bytes) -> tuple[str, bytes]:
        """Encrypt a data key with the first key; return that key's id, too."""
        return self.current, _encrypt(self.keys[self.current], data_key, _with(self.current, context))

    def unwrap(self, kek: str, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt a data key.

        Raises:
            SealError: the key is not in the file, or what is wrapped was changed.
        """
        key = self.keys.get(kek)
        if key is None:
            hint = "keep a key in the file until nothing is wrapped by it: haulout broker rotate"
            raise SealError(f"the key-encryption key {kek[:64]} is not at hand", hint=hint)
        return _decrypt(key, wrapped, _with(kek, context))


class FileKeyring:
    """A :class:`Keyring` that is read again when its file changes, so that keys are rotated without downtime."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen, self._keys = self._read()

    @property
    def current(self) -> str:
        """Return the id of the first key."""
        return self._fresh().current

    @property
    def names(self) -> tuple[str, ...]:
        """Return the ids of all keys."""
        return tuple(self._fresh().keys)

    def wrap(self, data_key: bytes, context: bytes) -> tuple[str, bytes]:
        """Encrypt a data key with the first key; return that key's id, too."""
        return self._fresh().wrap(data_key, context)

    def unwrap(self, kek: str, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt a data key; as of :class:`Keyring`."""
        keys = self._keys if kek in self._keys.keys else self._fresh()
        return keys.unwrap(kek, wrapped, context)

    def _fresh(self) -> Keyring:
        if _stamp(self._path) != self._seen:
            self._seen, self._keys = self._read()
        return self._keys

    def _read(self) -> tuple[tuple[int, int], Keyring]:
        seen = _stamp(self._path)
        data = read_small(self._path, LARGEST, too_large=lambda reason: InvalidKeyring(f"{self._path}: {reason}"))
        return seen, Keyring.parse(data, str(self._path))


def _stamp(path: Path) -> tuple[int, int]:
    with storage_errors(path):
        found = path.stat()
    return found.st_ino, found.st_mtime_ns


def add_key(path: Path, name: str) -> None:
    """Put a new key first in a keyring's file, which is made if it is not there, for its owner's eyes alone.

    Raises:
        InvalidKeyring: the file is not a keyring, or has a key of this name.
    """
    old = path.read_bytes() if path.exists() else b""
    if not _NAME.fullmatch(name) or (old and name in Keyring.parse(old, str(path)).keys):
        raise InvalidKeyring(f"{name[:64]!r} cannot name a new key in {path}")
    replace_file(path, f"{name} {base64.b64encode(secrets.token_bytes(_KEY)).decode()}\n".encode() + old, mode=PRIVATE)


def keep_keys(path: Path, names: set[str]) -> int:
    """Remove all other keys from a keyring's file, but never the first; return how many there were."""
    keys = Keyring.parse(path.read_bytes(), str(path))
    kept = {name: key for name, key in keys.keys.items() if name in names or name == keys.current}
    if len(kept) < len(keys.keys):
        lines = (f"{name} {base64.b64encode(key).decode()}\n" for name, key in kept.items())
        replace_file(path, "".join(lines).encode(), mode=PRIVATE)
    return len(keys.keys) - len(kept)


def seal(wrapper: Wrapper, secret: bytes, context: str) -> Sealed:
    """Encrypt a secret for a place that ``context`` names."""
    data_key = secrets.token_bytes(_KEY)
    where = context.encode()
    kek, wrapped = wrapper.wrap(data_key, where)
    return Sealed(kek, wrapped, _encrypt(data_key, secret, where))


def unseal(wrapper: Wrapper, sealed: Sealed, context: str) -> bytes:
    """Decrypt a secret.

    Raises:
        SealError: its key is not at hand, or it was changed or moved.
    """
    where = context.encode()
    return _decrypt(wrapper.unwrap(sealed.kek, sealed.wrapped, where), sealed.data, where)


def rewrap(wrapper: Wrapper, sealed: Sealed, context: str) -> Sealed:
    """Wrap the data key anew with the current key; the secret itself is not decrypted.

    Raises:
        SealError: as of :func:`unseal`.
    """
    where = context.encode()
    return Sealed(*wrapper.wrap(wrapper.unwrap(sealed.kek, sealed.wrapped, where), where), sealed.data)


def _with(kek: str, context: bytes) -> bytes:
    return kek.encode() + b"\0" + context


def _encrypt(key: bytes, data: bytes, context: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, data, context)


def _decrypt(key: bytes, data: bytes, context: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(data[:_NONCE], data[_NONCE:], context)
    except (InvalidTag, ValueError) as exc:
        raise SealError(
            "something sealed does not open: it was changed or moved, or the key of this name is another"
        ) from exc

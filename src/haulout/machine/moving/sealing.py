"""Sealed exports: everything is encrypted under a key that a passphrase gives, and bound to its place. Pure.

The key comes from scrypt (RFC 7914). AES-256-GCM-SIV (RFC 8452) seals each part with its place as the nonce: the same
content at the same place gives the same bytes, so that an export after another sends only what changed, and it stays
safe where one place is sealed many times with different contents. Equal bytes show that nothing changed there; sizes
and places of chunks show, too.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from dataclasses import dataclass, field
from typing import Final, Self

from haulout.errors import ContentError, WrongPassphrase
from haulout.extras import require

METHOD: Final = "scrypt-17-8-1-aes-256-gcm-siv"
"""With n = 2^17, r = 8, p = 1: 128 MiB and about half a second for each try."""
_FORM: Final = re.compile(rf"{re.escape(METHOD)} ([0-9a-f]{{32}}) ([0-9a-f]{{32}})")
_COST: Final = 1 << 17
_KEY: Final = 32
_MEMORY: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class Sealing:
    """A key, and what its next user needs to make it from the passphrase again."""

    salt: bytes
    check: bytes
    """Tells a wrong passphrase from damaged content."""
    key: bytes = field(repr=False)

    @classmethod
    def begin(cls, passphrase: bytes) -> Self:
        """Make a new key.

        Raises:
            ToolError: the package ``cryptography`` is not installed.
        """
        require("cryptography")
        return cls._derive(passphrase, os.urandom(16))

    @classmethod
    def _derive(cls, passphrase: bytes, salt: bytes) -> Self:
        made = hashlib.scrypt(passphrase, salt=salt, n=_COST, r=8, p=1, maxmem=_MEMORY, dklen=_KEY + 16)
        return cls(salt, made[_KEY:], made[:_KEY])

    @classmethod
    def open(cls, text: str, passphrase: bytes) -> Self:
        """Make the key again from what :attr:`text` was.

        Raises:
            WrongPassphrase: it is another passphrase.
            ContentError: ``text`` is of no known form.
            ToolError: the package ``cryptography`` is not installed.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise ContentError(
                f"the export is encrypted in a way that is not known: {text[:60]!r}", hint="update haulout"
            )
        require("cryptography")
        made = cls._derive(passphrase, bytes.fromhex(found[1]))
        if not hmac.compare_digest(made.check, bytes.fromhex(found[2])):
            raise WrongPassphrase("encrypted export")
        return made

    @property
    def text(self) -> str:
        """What is public: the method, the salt and the check."""
        return f"{METHOD} {self.salt.hex()} {self.check.hex()}"

    def seal(self, place: int, data: bytes) -> bytes:
        """Encrypt what belongs to a place, which is a number below 2^95."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV  # noqa: PLC0415 - an optional package

        return AESGCMSIV(self.key).encrypt(place.to_bytes(12, "big"), data, self.text.encode())

    def unseal(self, place: int, data: bytes, what: str) -> bytes:
        """Decrypt it.

        Raises:
            ContentError: it was sealed with another key or for another place, or was changed since.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - an optional package
        from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV  # noqa: PLC0415

        try:
            return AESGCMSIV(self.key).decrypt(place.to_bytes(12, "big"), data, self.text.encode())
        except (InvalidTag, ValueError):
            raise ContentError(f"{what} was changed, or belongs elsewhere: it does not open with its key") from None

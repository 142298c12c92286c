"""Members of messages, read strictly: each has the expected type, or the message is refused."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from haulout.broker.protocol.errors import InvalidMessage
from haulout.errors import InvalidManifest
from haulout.oci import json

MAX_BODY: Final = 1 << 20
"""Bytes of a message; the largest evidence in use, as arrays of integers, takes a tenth of it."""


class Members:
    """One JSON object of a message. Members that nobody asks for are ignored, as the protocol demands of readers."""

    def __init__(self, values: object, what: str, where: str = "") -> None:
        if not isinstance(values, dict):
            raise InvalidMessage(what, where, "expected an object")
        self.values: dict[str, Any] = values
        self._what = what
        self._where = where

    @classmethod
    def parse(cls, data: bytes, what: str, *, largest: int = MAX_BODY) -> Members:
        """Parse a message: one JSON object, without duplicate keys, not nested deeply, without fractions.

        Raises:
            InvalidMessage: it is not.
        """
        try:
            return cls(json.loads(data, what, largest=largest), what)
        except InvalidManifest as exc:
            raise InvalidMessage(what, "", exc.reason) from exc

    def wrong(self, name: str, reason: str) -> InvalidMessage:
        """Return the error about a member."""
        return InvalidMessage(self._what, self.at(name), reason)

    def at(self, name: str) -> str:
        """Return the dotted name of a member."""
        return f"{self._where}.{name}" if self._where else name

    def text(self, name: str, default: str | None = None, *, longest: int = 256) -> str:
        """Return a member that is text; ``default`` None: it has to be there."""
        value = self.values.get(name, default)
        if not isinstance(value, str):
            raise self.wrong(name, "is missing" if name not in self.values else "expected text")
        if len(value) > longest:
            raise self.wrong(name, f"longer than {longest} characters")
        return value

    def object(self, name: str) -> Members:
        """Return a member that is an object."""
        if name not in self.values:
            raise self.wrong(name, "is missing")
        return Members(self.values[name], self._what, self.at(name))

    def number(self, name: str, bits: int) -> int:
        """Return a member that is an unsigned integer of so many bits."""
        value = self.values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << bits:
            raise self.wrong(name, f"expected an integer of {bits} bits")
        return value

    def octets(self, name: str, size: int | None = None) -> bytes:
        """Return a member that is an array of bytes, as serde writes them."""
        value = self.values.get(name)
        try:
            if not isinstance(value, list) or not set(map(type, value)) <= {int}:
                raise TypeError  # noqa: TRY301 - one answer for whatever is wrong with it
            found = bytes(value)
        except (TypeError, ValueError) as exc:
            raise self.wrong(name, "expected an array of bytes") from exc
        if size is not None and len(found) != size:
            raise self.wrong(name, f"expected {size} bytes")
        return found

    def base64(self, name: str, *, url: bool = False, longest: int = MAX_BODY) -> bytes:
        """Return the bytes of a member in base64; with ``url`` in base64url without padding (RFC 7515 section 2)."""
        text = self.text(name, longest=longest)
        try:
            return from_base64url(text) if url else base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error) as exc:
            raise self.wrong(name, "is not in base64url" if url else "is not in base64") from exc


def from_base64url(text: str) -> bytes:
    """Decode base64url without padding, in its only form.

    Raises:
        ValueError: it is not.
    """
    found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    # Two texts must not mean the same bytes: unused bits of the last character are zero.
    if to_base64url(found) != text:
        raise ValueError(text[:20])
    return found


def to_base64url(data: bytes) -> str:
    """Encode bytes in base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

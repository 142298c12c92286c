"""A strict reader of the little DER that vendors put into their certificates' extensions.

Certificates themselves are read by ``cryptography``, which hands the value of an extension it does not know over as
bytes. Those of AMD are single values, that of Intel is a list of (name, value) pairs. Source: X.690.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
ENUMERATED: Final = 0x0A
UTF8_STRING: Final = 0x0C
IA5_STRING: Final = 0x16
SEQUENCE: Final = 0x30

_LONGEST: Final = 1 << 16
"""Bytes of a value; an SGX extension has about 550."""


class NotDer(Exception):  # noqa: N818  (it names a state of the bytes, and never leaves this room)
    """Bytes that are not the DER expected."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value: its tag and its content."""

    tag: int
    content: bytes

    def expect(self, tag: int) -> bytes:
        """Return the content of a value that must have this tag."""
        if self.tag != tag:
            raise NotDer(f"tag {self.tag:#04x} where {tag:#04x} is expected")
        return self.content

    def integer(self, tag: int = INTEGER) -> int:
        """Return a number that is not negative."""
        content = self.expect(tag)
        if not content or content[0] & 0x80 or (len(content) > 1 and not content[0] and not content[1] & 0x80):
            raise NotDer("an integer that is empty, negative or padded")
        return int.from_bytes(content, "big")

    def text(self) -> str:
        """Return an ASCII string."""
        content = self.content if self.tag == UTF8_STRING else self.expect(IA5_STRING)
        if not content.isascii():
            raise NotDer("a string that is not ASCII")
        return content.decode("ascii")

    def name(self) -> str:
        """Return an object identifier, with dots."""
        content = self.expect(OBJECT_IDENTIFIER)
        if not content or content[-1] & 0x80:
            raise NotDer("an object identifier that is cut short")
        arcs: list[int] = []
        arc = 0
        for byte in content:
            if byte == 0x80 and not arc:
                raise NotDer("an object identifier that is padded")
            arc = arc << 7 | byte & 0x7F
            if not byte & 0x80:
                arcs.append(arc)
                arc = 0
        first = min(arcs[0] // 40, 2)
        return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:]))

    def parts(self) -> Iterator[Value]:
        """Return the values in a sequence."""
        content = self.expect(SEQUENCE)
        position = 0
        while position < len(content):
            value, position = _read(content, position)
            yield value


def parse(data: bytes) -> Value:
    """Read one value that fills ``data`` exactly.

    Raises:
        NotDer: it is anything else.
    """
    value, end = _read(data, 0)
    if end != len(data):
        raise NotDer(f"{len(data) - end} bytes behind the value")
    return value


def pairs(value: Value) -> dict[str, Value]:
    """Read a sequence of (object identifier, value), each name once.

    Raises:
        NotDer: it is anything else.
    """
    found: dict[str, Value] = {}
    for pair in value.parts():
        members = list(pair.parts())
        if len(members) != 2:
            raise NotDer(f"{len(members)} members where a name and a value are expected")
        name = members[0].name()
        if name in found:
            raise NotDer(f"{name} occurs twice")
        found[name] = members[1]
    return found


def _read(data: bytes, position: int) -> tuple[Value, int]:
    if position + 2 > len(data):
        raise NotDer("the value is cut short")
    tag, length = data[position], data[position + 1]
    position += 2
    if tag & 0x1F == 0x1F:
        raise NotDer("a tag of several bytes")
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 2 or position + size > len(data):
            raise NotDer("an impossible length")
        length = int.from_bytes(data[position : position + size], "big")
        # DER has one way to write a length: the shortest.
        if length < 0x80 or (size == 2 and length < 0x100):
            raise NotDer("a length that is padded")
        position += size
    if length > _LONGEST or position + length > len(data):
        raise NotDer("the value is cut short")
    return Value(tag, data[position : position + length]), position + length

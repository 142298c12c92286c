"""Writing the little DER that emulated certificates need; :mod:`haulout.tee.der` reads it."""

from __future__ import annotations

from haulout.tee import der


def value(tag: int, content: bytes) -> bytes:
    """Write one value."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def integer(number: int, tag: int = der.INTEGER) -> bytes:
    """Write a number that is not negative; from 128 on, a zero byte stands before it."""
    return value(tag, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def text(content: str) -> bytes:
    """Write an ASCII string."""
    return value(der.IA5_STRING, content.encode("ascii"))


def octets(content: bytes) -> bytes:
    """Write bytes."""
    return value(der.OCTET_STRING, content)


def sequence(*parts: bytes) -> bytes:
    """Write a sequence of values."""
    return value(der.SEQUENCE, b"".join(parts))


def name(dotted: str) -> bytes:
    """Write an object identifier."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    encoded = bytearray()
    for arc in (40 * first + second, *rest):
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.append(0x80 | arc & 0x7F)
        encoded += bytes(reversed(digits))
    return value(der.OBJECT_IDENTIFIER, bytes(encoded))

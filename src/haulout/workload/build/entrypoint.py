"""The entrypoint of the outer image: run outside of a TEE, it prints one sentence and exits with status 1.

A static ELF of a few hundred bytes, assembled here from the processor's manual: write(1, text), exit(1).
"""

from __future__ import annotations

import struct
from typing import Final

TEXT: Final = b"This image is designed to be run as a confidential workload using libkrun.\n"
_BASE: Final = 0x400000
_FILE_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER: Final = struct.Struct("<IIQQQQQQ")
_HEADERS: Final = _FILE_HEADER.size + _PROGRAM_HEADER.size
_EXECUTABLE, _VERSION, _LOAD, _READ_EXECUTE, _PAGE = 2, 1, 1, 5, 0x1000
_IDENT: Final = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
"""64 bits, little-endian, version 1, System V."""
_MACHINES: Final = {"amd64": 62, "arm64": 183}


def program(goarch: str) -> bytes:
    """Return the executable for ``amd64`` or ``arm64``."""
    # The code's length does not depend on where the text is.
    code = _CODE[goarch](0)
    code = _CODE[goarch](_BASE + _HEADERS + len(code))
    size = _HEADERS + len(code) + len(TEXT)
    kind = (_IDENT, _EXECUTABLE, _MACHINES[goarch], _VERSION, _BASE + _HEADERS)
    head = _FILE_HEADER.pack(*kind, _FILE_HEADER.size, 0, 0, _FILE_HEADER.size, _PROGRAM_HEADER.size, 1, 0, 0, 0)
    load = _PROGRAM_HEADER.pack(_LOAD, _READ_EXECUTE, 0, _BASE, _BASE, size, size, _PAGE)
    return head + load + code + TEXT


def _amd64(text: int) -> bytes:
    return b"".join(
        (
            b"\xb8" + struct.pack("<I", 1),  # mov eax, 1: write
            b"\xbf" + struct.pack("<I", 1),  # mov edi, 1
            b"\xbe" + struct.pack("<I", text),  # mov esi, text
            b"\xba" + struct.pack("<I", len(TEXT)),  # mov edx, length
            b"\x0f\x05",  # syscall
            b"\xb8" + struct.pack("<I", 60),  # mov eax, 60: exit
            b"\xbf" + struct.pack("<I", 1),  # mov edi, 1
            b"\x0f\x05",  # syscall
        )
    )


def _arm64(text: int) -> bytes:
    return struct.pack(
        "<9I",
        _movz(0, 1),  # mov x0, 1
        _movz(1, text & 0xFFFF),
        _movz(1, text >> 16) | 0x20A0_0000,  # movk x1, text >> 16, lsl 16
        _movz(2, len(TEXT)),
        _movz(8, 64),  # write
        0xD400_0001,  # svc 0
        _movz(0, 1),
        _movz(8, 93),  # exit
        0xD400_0001,
    )


def _movz(register: int, value: int) -> int:
    return 0xD280_0000 | value << 5 | register


_CODE: Final = {"amd64": _amd64, "arm64": _arm64}

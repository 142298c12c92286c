"""The network block device protocol, for a server of one export that is only read. Pure.

Source: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md, "fixed newstyle". Replies are simple ones:
what a client reads is sent from the file itself, and structured replies would only tell it of holes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

GREETING: Final = struct.pack(">8s8sH", b"NBDMAGIC", b"IHAVEOPT", 0b11)
"""Fixed newstyle, and no zeros after the answer to an old option."""
CLIENT_FLAGS: Final = struct.Struct(">I")
OPTION: Final = struct.Struct(">8sII")
REQUEST: Final = struct.Struct(">IHHQQI")
REPLY: Final = struct.Struct(">IIQ")
MOST_READ: Final = 32 << 20
"""Bytes of one read, as QEMU and libnbd ask for at most."""
LONGEST_OPTION: Final = 8192
"""Bytes of an option's data: the longest name is half of it."""

_OPTION_REPLY: Final = struct.Struct(">QIII")
_OPTION_MAGIC: Final = 0x3E889045565A9
_REQUEST_MAGIC: Final = 0x25609513
_REPLY_MAGIC: Final = 0x67446698
_NO_ZEROES: Final = 0b10
_KNOWN_FLAGS: Final = 0b11
_FLAGS: Final = 1 | 1 << 1 | 1 << 2 | 1 << 8
"""There are flags; read-only; flush is understood; several connections see the same."""
_LEAST_BLOCK, _BEST_BLOCK = 1, 4096


class Command(IntEnum):
    """What a request asks for."""

    READ = 0
    WRITE = 1
    DISCONNECT = 2
    FLUSH = 3


class Fault(IntEnum):
    """An error in a reply; as errno, but the same on every system."""

    NONE = 0
    PERMISSION = 1
    IO = 5
    INVALID = 22


class _Option(IntEnum):
    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    INFO = 6
    GO = 7


class _Answer(IntEnum):
    ACK = 1
    SERVER = 2
    INFO = 3
    UNSUPPORTED = 1 << 31 | 1
    INVALID = 1 << 31 | 3
    UNKNOWN = 1 << 31 | 6


class ProtocolError(Exception):
    """The client does not speak this protocol; its connection ends."""


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What follows from an option."""

    reply: bytes
    transmission: bool = False
    """Whether requests come next."""
    over: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One request."""

    kind: int
    cookie: int
    offset: int
    length: int

    def fault(self, size: int) -> Fault:
        """Return what is wrong with it, for an export of so many bytes."""
        if self.kind == Command.FLUSH:
            return Fault.NONE
        if self.kind != Command.READ:
            return Fault.PERMISSION if self.kind in {Command.WRITE, 4, 6} else Fault.INVALID
        inside = 0 < self.length <= MOST_READ and self.offset + self.length <= size
        return Fault.NONE if inside else Fault.INVALID


def client_flags(data: bytes) -> bool:
    """Return whether the client wants no zeros after an old option's answer.

    Raises:
        ProtocolError: it wants what nobody knows.
    """
    flags = CLIENT_FLAGS.unpack(data)[0]
    if flags & ~_KNOWN_FLAGS:
        raise ProtocolError(f"unknown flags {flags:#x}")
    return bool(flags & _NO_ZEROES)


def option_head(data: bytes) -> tuple[int, int]:
    """Return an option and the length of its data.

    Raises:
        ProtocolError: it is none, or too long.
    """
    magic, option, length = OPTION.unpack(data)
    if magic != b"IHAVEOPT" or length > LONGEST_OPTION:
        raise ProtocolError("not an option")
    return option, length


def negotiate(option: int, data: bytes, size: int, *, no_zeroes: bool) -> Negotiated:
    """Answer an option, for an export of ``size`` bytes, whose name is empty."""
    export = struct.pack(">QH", size, _FLAGS)
    match option:
        case _Option.EXPORT_NAME:
            if data:
                # This option has no answer that says no.
                return Negotiated(b"", over=True)
            return Negotiated(export + (b"" if no_zeroes else bytes(124)), transmission=True)
        case _Option.ABORT:
            return Negotiated(_answer(option, _Answer.ACK), over=True)
        case _Option.LIST if not data:
            return Negotiated(_answer(option, _Answer.SERVER, bytes(4)) + _answer(option, _Answer.ACK))
        case _Option.INFO | _Option.GO:
            if len(data) < 6 or (length := struct.unpack_from(">I", data)[0]) > len(data) - 6:
                return Negotiated(_answer(option, _Answer.INVALID))
            if length:
                return Negotiated(_answer(option, _Answer.UNKNOWN))
            blocks = struct.pack(">HIII", 3, _LEAST_BLOCK, _BEST_BLOCK, MOST_READ)
            told = _answer(option, _Answer.INFO, bytes(2) + export) + _answer(option, _Answer.INFO, blocks)
            return Negotiated(told + _answer(option, _Answer.ACK), transmission=option == _Option.GO)
    return Negotiated(_answer(option, _Answer.INVALID if option == _Option.LIST else _Answer.UNSUPPORTED))


def _answer(option: int, kind: int, data: bytes = b"") -> bytes:
    return _OPTION_REPLY.pack(_OPTION_MAGIC, option, kind, len(data)) + data


def request(data: bytes | bytearray, at: int = 0) -> Request:
    """Read the request at ``at``.

    Raises:
        ProtocolError: there is none.
    """
    magic, _, kind, cookie, offset, length = REQUEST.unpack_from(data, at)
    if magic != _REQUEST_MAGIC:
        raise ProtocolError("not a request")
    return Request(kind, cookie, offset, length)


def reply(cookie: int, fault: Fault = Fault.NONE) -> bytes:
    """Return the head of a reply; what was read follows where there is no fault."""
    return REPLY.pack(_REPLY_MAGIC, fault, cookie)

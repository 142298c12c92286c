"""The protocol, against its document: what is negotiated, what is answered, and what is no request."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.lazy import protocol
from haulout.lazy.protocol import Command, Fault, Request


def replies(data: bytes):
    found = []
    while data:
        magic, option, kind, length = struct.unpack_from(">QIII", data)
        assert magic == 0x3E889045565A9
        found.append((option, kind, data[20 : 20 + length]))
        data = data[20 + length :]
    return found


def test_go_tells_size_flags_and_block_sizes():
    data = struct.pack(">IH", 0, 0)
    found = protocol.negotiate(7, data, 1000, no_zeroes=True)
    assert found.transmission
    (_, kind, export), (_, _, blocks), (_, last, _) = replies(found.reply)
    assert (kind, last) == (3, 1)
    # Has flags, read-only, flush, several connections.
    assert struct.unpack(">HQH", export) == (0, 1000, 0b1_0000_0111)
    assert struct.unpack(">HIII", blocks) == (3, 1, 4096, 32 << 20)
    assert not protocol.negotiate(6, data, 1000, no_zeroes=True).transmission, "INFO asks, GO goes"


@pytest.mark.parametrize(
    ("option", "data", "kind"),
    [
        (7, struct.pack(">I5sH", 5, b"other", 0), 1 << 31 | 6),
        (7, struct.pack(">IH", 500, 0), 1 << 31 | 3),
        (7, b"", 1 << 31 | 3),
        (3, b"x", 1 << 31 | 3),
        (5, b"", 1 << 31 | 1),
        (8, b"", 1 << 31 | 1),
        (999, b"", 1 << 31 | 1),
    ],
)
def test_what_is_not_offered_is_refused_and_the_client_may_go_on(option, data, kind):
    found = protocol.negotiate(option, data, 1000, no_zeroes=True)
    assert (found.transmission, found.over) == (False, False)
    assert [each[1] for each in replies(found.reply)] == [kind]


def test_the_old_option_has_one_answer():
    assert protocol.negotiate(1, b"", 1000, no_zeroes=False).reply == struct.pack(">QH", 1000, 0x107) + bytes(124)
    assert len(protocol.negotiate(1, b"", 1000, no_zeroes=True).reply) == 10
    assert protocol.negotiate(1, b"other", 1000, no_zeroes=True).over


@given(st.integers(0, 1 << 16), st.binary(max_size=40))
def test_any_option_is_answered_or_ends_the_connection(option, data):
    found = protocol.negotiate(option, data, 1000, no_zeroes=True)
    assert found.reply or found.over


@pytest.mark.parametrize(
    ("kind", "offset", "length", "fault"),
    [
        (Command.READ, 0, 1000, Fault.NONE),
        (Command.READ, 1, 1000, Fault.INVALID),
        (Command.READ, 0, 0, Fault.INVALID),
        (Command.READ, 1 << 63, 1, Fault.INVALID),
        (Command.WRITE, 0, 1, Fault.PERMISSION),
        (Command.FLUSH, 0, 0, Fault.NONE),
        (4, 0, 1, Fault.PERMISSION),
        (7, 0, 1, Fault.INVALID),
    ],
)
def test_requests_outside_the_disk_and_writes_are_refused(kind, offset, length, fault):
    assert Request(kind, 1, offset, length).fault(1000) is fault


def test_garbage_is_no_request():
    with pytest.raises(protocol.ProtocolError):
        protocol.request(bytes(28))
    with pytest.raises(protocol.ProtocolError):
        protocol.option_head(b"IHAVEOPT" + struct.pack(">II", 3, 1 << 20))
    with pytest.raises(protocol.ProtocolError):
        protocol.client_flags(struct.pack(">I", 4))

"""Quotes as bytes. The numbers in names are those of docs/evidence.md."""

from __future__ import annotations

import pytest
from tests.support.evidence import BOOT, DATA, rule_of, tdx
from tests.support.tdx_quotes import at, judge

from haulout.emulator.tdx import TdxState
from haulout.errors import InvalidEvidence
from haulout.tee.tdx import parse as quote


@pytest.mark.parametrize("size", [0, 1, 70, 16384, 200_000])
def test_zeros_behind_a_quote_are_left_alone(size):
    verdict = judge(data=tdx().quote(DATA, BOOT) + bytes(size))
    assert verdict.accepted
    assert verdict.to_dict()["claims"]["unread_bytes"] == 0


@pytest.mark.parametrize("behind", [b"x", bytes(100) + b"x", b"a trailer of 39 bytes, of another tool.", b"\n"])
def test_what_is_behind_a_quote_is_counted_and_not_judged(behind):
    """Intel's library, go-tdx-guest and dcap-qvl judge such quotes; the sample of go-tdx-guest is one."""
    whole = tdx().quote(DATA, BOOT)
    # The chain of certificates ends with a NUL, and with it the quote.
    data = bytearray(whole[: len(whole.rstrip(b"\0")) + 1] + behind)
    verdict = judge(data=bytes(data))
    assert verdict.accepted
    assert verdict.to_dict()["claims"]["unread_bytes"] == len(behind)
    data[300] ^= 1
    assert rule_of(judge(data=bytes(data))) == "signature"


def rebuilt(change):
    data = bytearray(tdx().quote(DATA, BOOT, TdxState(version=5, body=quote.TYPE_TD15)))
    change(data)
    return bytes(data)


STRUCTURES = {
    "version 3": at(0, "<H", 3),
    "version 6": at(0, "<H", 6),
    "version 4 with a body of version 5": at(0, "<H", 4),
    "key type 3": at(2, "<H", 3),
    "SGX": at(4, "<I", 0),
    "another TEE": at(4, "<I", 0x82),
    "body type 1": at(48, "<H", 1),
    "body type 4": at(48, "<H", 4),
    "body type 2 with the size of 3": at(48, "<H", 2),
    "body size 584": at(50, "<I", 584),
    "body size 0": at(50, "<I", 0),
    "body size 4 GiB": at(50, "<I", 0xFFFFFFFF),
    "signature of 0 bytes": at(702, "<I", 0),
    "signature of 4 GiB": at(702, "<I", 0xFFFFFFFF),
    "signature of 64 KiB": at(702, "<I", 1 << 16),
    "certification of another type": at(702 + 4 + 128, "<H", 5),
    "certification of 0 bytes": at(702 + 4 + 130, "<I", 0),
    "certification of 4 GiB": at(702 + 4 + 130, "<I", 0xFFFFFFFF),
    "authentication data of 64 KiB": at(702 + 4 + 134 + 448, "<H", 0xFFFF),
    "authentication data of 31 bytes": at(702 + 4 + 134 + 448, "<H", 31),
    "chain of another type": at(702 + 4 + 134 + 450 + 32, "<H", 1),
    "chain of 0 bytes": at(702 + 4 + 134 + 452 + 32, "<I", 0),
    "chain of 4 GiB": at(702 + 4 + 134 + 452 + 32, "<I", 0xFFFFFFFF),
}


@pytest.mark.parametrize("case", STRUCTURES)
def test_40_another_structure(case):
    with pytest.raises(InvalidEvidence) as caught:
        judge(data=rebuilt(STRUCTURES[case]))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("share", range(0, 100, 3))
def test_40_cut_short(share):
    data = tdx().quote(DATA, BOOT)
    with pytest.raises(InvalidEvidence):
        judge(data=data[: len(data) * share // 100])


def test_40_what_is_no_certificate_in_the_chain():
    whole = tdx().quote(DATA, BOOT)
    for old, new in ((b"-----\n\0", b"-----\nX"), (b"-----BEGIN", b"-----BEGIX"), (b"-----END", b"-----ENDX")):
        changed = whole.replace(old, new)[: len(whole)]
        with pytest.raises(InvalidEvidence):
            judge(data=changed)

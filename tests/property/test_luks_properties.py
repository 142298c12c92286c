"""Whatever the bytes: readers of encrypted disks and of hashes answer, or raise what they declare, and soon."""

from __future__ import annotations

import io
import time
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.disks import noise
from tests.support.workloads import with_hashes

from haulout.workload import luks, verity

CASES = settings(max_examples=150, deadline=None)
PASSPHRASE = b"passphrase"
PLAIN = noise("property", 1 << 16)
BLOCK = 4096


@cache
def volume():
    return luks.create(PASSPHRASE, iterations=1000)


@cache
def hashed():
    image, hashes = with_hashes(PLAIN, b"salt")
    return image, hashes.root


edits = st.lists(st.tuples(st.integers(0, 700), st.binary(min_size=1, max_size=8)), max_size=4)


def one_line(error):
    assert str(error).isprintable()
    assert len(str(error)) < 300


def edited(data, changes):
    out = bytearray(data)
    for place, piece in changes:
        out[place : place + len(piece)] = piece
    return bytes(out[: len(data)])


@CASES
@given(st.integers(0, 2**64 - 129), st.integers(0, 128), st.integers(0, 128))
def test_any_part_of_a_payload_can_be_encrypted_by_itself(first, one, other):
    begin, end = sorted((one * 512, other * 512))
    whole = volume().encrypt(first, PLAIN)
    part = volume().encrypt(first + begin // 512, memoryview(PLAIN)[begin:end])
    assert part == whole[begin:end]
    assert volume().decrypt(first + begin // 512, part) == PLAIN[begin:end]


@CASES
@given(st.integers(0, len(PLAIN) + 10), st.integers(0, len(PLAIN)))
def test_any_part_of_a_payload_can_be_read(start, amount):
    file = io.BytesIO(volume().header + volume().encrypt(0, PLAIN))
    payload = luks.Payload(file, volume(), len(PLAIN))
    payload.seek(start)
    assert payload.read(amount) == PLAIN[start : start + amount]


@CASES
@given(edits)
def test_an_edited_header_is_opened_or_refused(changes):
    file = io.BytesIO(edited(volume().header + bytes(512), changes))
    begin = time.monotonic()
    try:
        header = luks.read_header(file)
        if header.work() < 100_000:
            luks.open_volume(file, PASSPHRASE)
    except (luks.NotLuks, luks.RefusedLuks, luks.WrongPassphrase) as error:
        one_line(error)
    assert time.monotonic() - begin < 2


@CASES
@given(st.binary(max_size=3000))
def test_noise_is_no_header(data):
    for start in (
        b"",
        b"LUKS\xba\xbe\0\1",
        b"LUKS\xba\xbe\0\1" + b"aes".ljust(32, b"\0") + b"xts-plain64".ljust(32, b"\0"),
    ):
        try:
            luks.read_header(io.BytesIO(start + data))
        except (luks.NotLuks, luks.RefusedLuks) as error:
            one_line(error)


@CASES
@given(edits)
def test_an_edited_superblock_never_makes_other_data_right(changes):
    image, root = hashed()
    changed = edited(image[len(PLAIN) :], changes)
    try:
        verity.check(io.BytesIO(PLAIN + changed), len(PLAIN), root)
    except (verity.RefusedVerity, verity.VerityMismatch) as error:
        one_line(error)
    other = bytearray(PLAIN)
    other[5000] ^= 1
    try:
        verity.check(io.BytesIO(bytes(other) + changed), len(PLAIN), root)
    except (verity.RefusedVerity, verity.VerityMismatch):
        return
    raise AssertionError("changed data were taken for right")

"""Headers that are refused, by rule and soon."""

from __future__ import annotations

import io
import struct
import time

import pytest
from tests.support.disks import noise

from haulout.errors import ContentError
from haulout.workload import luks
from haulout.workload.luks import header

MIB = 1 << 20
PASSPHRASE = b"correct horse"


def put(image, offset, form, value):
    data = bytearray(image)
    struct.pack_into(form, data, offset, value)
    return bytes(data)


MODE, HASH, PAYLOAD, KEY, ITERATIONS, IDENTITY, SLOT = 40, 72, 104, 108, 164, 168, 208
REFUSED = {
    "null cipher": (8, "32s", b"cipher_null", "cipher"),
    "null cipher, mode kept": (8, "32s", b"null", "cipher"),
    "another cipher": (8, "32s", b"serpent", "cipher"),
    "no cipher": (8, "32s", b"", "cipher"),
    "a cipher without an end": (8, "32s", b"a" * 32, "cipher"),
    "a cipher in no ASCII": (8, "32s", b"\xffes", "cipher"),
    "ecb": (MODE, "32s", b"ecb", "cipher"),
    "cbc": (MODE, "32s", b"cbc-essiv:sha256", "cipher"),
    "xts-plain": (MODE, "32s", b"xts-plain", "cipher"),
    "xts-benbi": (MODE, "32s", b"xts-benbi", "cipher"),
    "capitals": (MODE, "32s", b"XTS-plain64", "cipher"),
    "version 2": (6, ">H", 2, "version"),
    "version 0": (6, ">H", 0, "version"),
    "sha1": (HASH, "32s", b"sha1", "hash"),
    "md5": (HASH, "32s", b"md5", "hash"),
    "no hash": (HASH, "32s", b"", "hash"),
    "a long hash": (HASH, "32s", b"shake_256", "hash"),
    "key of 0": (KEY, ">I", 0, "key-size"),
    "key of 16": (KEY, ">I", 16, "key-size"),
    "key of 48": (KEY, ">I", 48, "key-size"),
    "key of 4 GiB": (KEY, ">I", 2**32 - 1, "key-size"),
    "detached": (PAYLOAD, ">I", 0, "payload-offset"),
    "payload far away": (PAYLOAD, ">I", 2**32 - 1, "payload-offset"),
    "payload a little far": (PAYLOAD, ">I", 16 * 2048 + 1, "payload-offset"),
    "payload in key material": (PAYLOAD, ">I", 4039 - 7, "overlap"),
    "payload in slot 0": (PAYLOAD, ">I", 8, "overlap"),
    "payload behind the file": (PAYLOAD, ">I", 20_000, "truncated"),
    "key digest without work": (ITERATIONS, ">I", 1, "iterations"),
    "key digest with much work": (ITERATIONS, ">I", 2**32 - 1, "work"),
    "no UUID": (IDENTITY, "40s", b"", "uuid"),
    "odd UUID": (IDENTITY, "40s", b"{00112233-4455-6677-8899-aabbccddeeff}", "uuid"),
    "UUID of signs": (IDENTITY, "40s", b"\x1b[2J" * 9, "uuid"),
    "odd state": (SLOT, ">I", 7, "slot-state"),
    "no slot": (SLOT, ">I", header.INACTIVE, "no-slot"),
    "a free slot in use": (SLOT + 48, ">I", header.ACTIVE, "iterations"),
    "no iterations": (SLOT + 4, ">I", 0, "iterations"),
    "few iterations": (SLOT + 4, ">I", 999, "iterations"),
    "endless iterations": (SLOT + 4, ">I", 2**32 - 1, "work"),
    "many iterations": (SLOT + 4, ">I", 2**26, "work"),
    "slot in the header": (SLOT + 40, ">I", 0, "overlap"),
    "slot at the header's end": (SLOT + 40, ">I", 1, "overlap"),
    "slot in another": (SLOT + 40, ">I", 512, "overlap"),
    "free slot in another": (SLOT + 3 * 48 + 40, ">I", 9, "overlap"),
    "slot in the payload": (SLOT + 7 * 48 + 40, ">I", 3541, "overlap"),
    "slot far away": (SLOT + 40, ">I", 2**32 - 1, "overlap"),
    "one stripe": (SLOT + 44, ">I", 1, "stripes"),
    "no stripe": (SLOT + 44, ">I", 0, "stripes"),
    "endless stripes": (SLOT + 44, ">I", 2**32 - 1, "stripes"),
    "stripes of a free slot": (SLOT + 5 * 48 + 44, ">I", 4001, "stripes"),
}


class TestRefusing:
    @pytest.mark.parametrize("name", REFUSED)
    def test_by_rule_and_soon(self, image, name):
        offset, form, value, rule = REFUSED[name]
        begin = time.monotonic()
        with pytest.raises(luks.RefusedLuks) as caught:
            luks.open_volume(io.BytesIO(put(image, offset, form, value)), PASSPHRASE)
        assert caught.value.rule == rule
        assert str(caught.value).isprintable()
        # The work that is asked for would take minutes.
        assert time.monotonic() - begin < 20

    def test_work_is_counted_over_all_slots(self, image):
        data = image
        for number in range(8):
            data = put(put(data, SLOT + 48 * number, ">I", header.ACTIVE), SLOT + 48 * number + 4, ">I", 9_000_000)
        with pytest.raises(luks.RefusedLuks) as caught:
            luks.open_volume(io.BytesIO(data), PASSPHRASE)
        assert caught.value.rule == "work"

    @pytest.mark.parametrize("offset", [0, 0x4000, 0x8000, 0x10000, 0x100000, 0x200000])
    def test_a_second_header_of_luks2(self, image, offset):
        with pytest.raises(luks.RefusedLuks) as caught:
            luks.read_header(io.BytesIO(put(image, offset, "6s", b"SKUL\xba\xbe")))
        assert caught.value.rule == "second-header"

    @pytest.mark.parametrize("size", [6, 100, 591, 592, 4096, 300_000, 2_068_479, 2_068_480])
    def test_a_file_that_ends_early(self, image, size):
        with pytest.raises(luks.RefusedLuks) as caught:
            luks.read_header(io.BytesIO(image[:size]))
        assert caught.value.rule == "truncated"

    @pytest.mark.parametrize("data", [b"", b"LUKS", b"LUKS\xba\xbf" + bytes(5000), bytes(10_000), b"luks" * 1000])
    def test_what_is_no_volume(self, data):
        with pytest.raises(luks.NotLuks):
            luks.read_header(io.BytesIO(data))

    def test_a_key_whose_halves_are_alike(self, monkeypatch):
        # Nothing here makes one, so the check is stepped over for the making.
        from haulout.workload.luks import volume as module

        with monkeypatch.context() as patch:
            patch.setattr(module, "_is_weak", lambda _: False)
            made = luks.create(PASSPHRASE, iterations=1000, master_key=noise("half", 32) * 2)
        with pytest.raises(luks.RefusedLuks) as caught:
            luks.open_volume(io.BytesIO(made.header + bytes(512)), PASSPHRASE)
        assert caught.value.rule == "weak-key"

    def test_errors_of_content_are_of_the_house(self):
        assert issubclass(luks.RefusedLuks, ContentError)
        assert issubclass(luks.NotLuks, ContentError)

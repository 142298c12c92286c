"""AES-XTS: what OpenSSL makes, sector by sector."""

from __future__ import annotations

import threading

import pytest
from tests.support.disks import noise
from tests.support.luks_volumes import PLAIN, sector_by_sector

from haulout.workload.luks.xts import Xts

MIB = 1 << 20
PASSPHRASE = b"correct horse"
SECTORS = len(PLAIN) // 512


class TestXts:
    @pytest.mark.parametrize("size", [32, 64])
    @pytest.mark.parametrize("first", [0, 1, 2**32 - 3, 2**63, 2**64 - SECTORS])
    def test_it_is_what_openssl_makes_sector_by_sector(self, size, first):
        key = noise(f"key{size}", size)
        cipher = Xts(key).encrypt(first, PLAIN)
        assert cipher == sector_by_sector(key, first, PLAIN)
        assert Xts(key).decrypt(first, cipher) == PLAIN

    def test_a_vector_of_the_standard(self):
        # IEEE 1619-2007, annex B, vector 10: AES-256, data unit 0xff, 512 bytes counting up twice.
        half = "2718281828459045235360287471352662497757247093699959574966967627"
        other = "3141592653589793238462643383279502884197169399375105820974944592"
        cipher = Xts(bytes.fromhex(half + other)).encrypt(0xFF, bytes(range(256)) * 2)
        assert cipher[:16].hex() == "1c3b3a102f770386e4836c99e370cf9b"

    def test_it_takes_any_buffer_and_nothing_but_whole_sectors(self, volume):
        expected = volume.encrypt(5, PLAIN[:2048])
        assert volume.encrypt(5, bytearray(PLAIN[:2048])) == expected
        assert volume.encrypt(5, memoryview(PLAIN)[:2048]) == expected
        assert volume.encrypt(7, PLAIN[1024:2048]) == expected[1024:]
        assert volume.encrypt(5, b"") == b""
        for first, data in ((0, b"x"), (-1, bytes(512)), (2**64 - 1, bytes(1024)), (2**64, bytes(512))):
            with pytest.raises(ValueError):
                volume.encrypt(first, data)
        with pytest.raises(ValueError, match="32 or 64"):
            Xts(bytes(48))

    def test_threads_do_not_meet(self, volume):
        expected = [volume.encrypt(number * 1024, PLAIN[: 512 * 1024]) for number in range(4)]
        wrong = []

        def work(number):
            found = {volume.encrypt(number * 1024, PLAIN[: 512 * 1024]) for _ in range(10)}
            if found != {expected[number]}:
                wrong.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert not wrong

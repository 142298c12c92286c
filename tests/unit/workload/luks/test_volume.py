"""Making and opening volumes."""

from __future__ import annotations

import io
from uuid import UUID

import pytest
from tests.support.disks import noise
from tests.support.luks_volumes import PLAIN, sector_by_sector

from haulout.errors import UsageError
from haulout.oci import Digest
from haulout.workload import luks

MIB = 1 << 20
PASSPHRASE = b"correct horse"


class TestMaking:
    def test_the_layout_is_that_of_mkcw(self, volume):
        assert len(volume.header) == luks.HEADER_BYTES == 2_068_480
        found = luks.read_header(io.BytesIO(volume.header + bytes(512)))
        assert found == volume.layout
        assert found.payload_offset == 4040
        assert found.key_bytes == 64
        assert found.key_iterations == 4000
        assert [slot.active for slot in found.slots] == [True] + [False] * 7
        assert [slot.offset for slot in found.slots] == [8 + 504 * number for number in range(8)]
        assert found.pack() == volume.header[:592]
        assert not any(volume.header[592:4096])
        assert not any(volume.header[4096 + 256_000 :])

    def test_values_that_are_given_are_used(self):
        uuid = UUID("00112233-4455-6677-8899-aabbccddeeff")
        made = luks.create(PASSPHRASE, iterations=1234, master_key=noise("mk", 64), uuid=uuid)
        assert made.layout.uuid == uuid
        assert made.layout.slots[0].iterations == 1234
        assert made.encrypt(3, PLAIN[:512]) == sector_by_sector(noise("mk", 64), 3, PLAIN[:512])
        assert made.header != luks.create(PASSPHRASE, iterations=1234, master_key=noise("mk", 64), uuid=uuid).header

    def test_the_work_is_tuned_to_the_machine(self):
        short, long = (luks.create(PASSPHRASE, iteration_ms=time).layout.slots[0].iterations for time in (20, 640))
        assert short * 3 < long

    @pytest.mark.parametrize(
        "options",
        [{"iterations": 999}, {"iterations": 1 << 40}, {"master_key": bytes(64)}, {"master_key": b"x"}],
    )
    def test_values_that_cannot_be(self, options):
        with pytest.raises(UsageError):
            luks.create(PASSPHRASE, **{"iterations": 1000, **options})
        with pytest.raises(UsageError, match="empty passphrase"):
            luks.create(b"", iterations=1000)

    def test_no_secret_is_shown(self, volume):
        made = luks.create(PASSPHRASE, iterations=1000, master_key=noise("mk", 64))
        assert "mk" not in repr(made)
        assert noise("mk", 64).hex()[:16] not in repr(made)
        assert len(repr(made)) < 1500
        with pytest.raises(luks.WrongPassphrase) as caught:
            luks.open_volume(io.BytesIO(volume.header + bytes(512)), b"hunter2")
        assert "hunter2" not in str(caught.value)


class TestReading:
    def test_what_was_encrypted_comes_back(self, image):
        opened = luks.open_volume(io.BytesIO(image), PASSPHRASE)
        assert opened.decrypt(0, image[luks.HEADER_BYTES :]) == PLAIN

    @pytest.mark.parametrize("passphrase", [b"", b"correct hors", b"correct horse\n", b"\0" * 1000])
    def test_another_passphrase_opens_nothing(self, image, passphrase):
        with pytest.raises(luks.WrongPassphrase):
            luks.open_volume(io.BytesIO(image), passphrase)

    def test_every_byte_before_the_payload_is_in_the_digest(self, image, volume):
        for place in (0, 300, 600, 4096, 300_000, luks.HEADER_BYTES - 1):
            changed = bytearray(image[: luks.HEADER_BYTES])
            changed[place] ^= 1
            assert Digest.of(bytes(changed)) != volume.header_digest
        assert luks.read_header(io.BytesIO(image)).digest == volume.header_digest

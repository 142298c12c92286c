"""LUKS1: what is made, what is read, and each rule by which a header is refused."""

from __future__ import annotations

import io
import struct
import subprocess
import threading
import time
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from tests.support.disks import noise, qemu_encrypts
from tests.support.servers import needs

from haulout.errors import ContentError, SizeMismatch, UsageError
from haulout.oci import Digest
from haulout.workload import luks
from haulout.workload.luks import header, stripes
from haulout.workload.luks.xts import Xts

MIB = 1 << 20
PASSPHRASE = b"correct horse"
PLAIN = noise("luks", 3 * MIB + 512)
SECTORS = len(PLAIN) // 512


@pytest.fixture(scope="module")
def volume():
    return luks.create(PASSPHRASE, iterations=1000)


@pytest.fixture(scope="module")
def image(volume):
    return volume.header + volume.encrypt(0, PLAIN)


def sector_by_sector(key, first, data):
    pieces = []
    for start in range(0, len(data), 512):
        tweak = (first + start // 512).to_bytes(16, "little")
        pieces.append(Cipher(algorithms.AES(key), modes.XTS(tweak)).encryptor().update(data[start : start + 512]))
    return b"".join(pieces)


def put(image, offset, form, value):
    data = bytearray(image)
    struct.pack_into(form, data, offset, value)
    return bytes(data)


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

    def test_all_stripes_but_the_last_are_random(self):
        key = noise("key", 64)
        one, other = stripes.split(key, 4000, "sha256"), stripes.split(key, 4000, "sha256")
        assert len(one) == 256_000
        assert stripes.merge(one, 64, "sha256") == stripes.merge(other, 64, "sha256") == key
        pieces = [one[start : start + 64] for start in range(0, len(one), 64)]
        assert len(set(pieces)) == 4000
        assert bytes(64) not in pieces
        for place in (0, 128_000, len(one) - 1):
            damaged = bytearray(one)
            damaged[place] ^= 1
            assert stripes.merge(bytes(damaged), 64, "sha256") != key

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

    def test_the_payload_is_a_file(self, image, volume):
        payload = luks.Payload(io.BytesIO(image + b"a footer"), volume, len(PLAIN))
        assert payload.read() == PLAIN
        assert payload.read(1) == b""
        for start, amount in ((0, 1), (511, 2), (512, 512), (1000, 1_500_000), (len(PLAIN) - 5, 10)):
            payload.seek(start)
            with_buffer = io.BufferedReader(payload)
            assert with_buffer.read(amount) == PLAIN[start : start + amount]
            with_buffer.detach()
        assert payload.seek(-3, io.SEEK_END) == len(PLAIN) - 3 == payload.tell()
        assert payload.seek(1, io.SEEK_CUR) == len(PLAIN) - 2
        assert not payload.writable()
        with pytest.raises(ValueError):
            payload.seek(-1)

    def test_a_payload_that_ends_early_is_an_error(self, image, volume):
        payload = luks.Payload(io.BytesIO(image[:-700]), volume, len(PLAIN))
        with pytest.raises(SizeMismatch):
            payload.readall()

    def test_every_byte_before_the_payload_is_in_the_digest(self, image, volume):
        for place in (0, 300, 600, 4096, 300_000, luks.HEADER_BYTES - 1):
            changed = bytearray(image[: luks.HEADER_BYTES])
            changed[place] ^= 1
            assert Digest.of(bytes(changed)) != volume.header_digest
        assert luks.read_header(io.BytesIO(image)).digest == volume.header_digest


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


def tool(*arguments, check=True):
    env = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
    return subprocess.run([str(part) for part in arguments], check=check, capture_output=True, text=True, env=env)


def write(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.tools
class TestOtherTools:
    @needs("cryptsetup")
    def test_cryptsetup_opens_ours(self, tmp_path, image, volume):
        disk, key = write(tmp_path / "disk", image), write(tmp_path / "key", PASSPHRASE)
        tool("cryptsetup", "open", "--test-passphrase", "--type", "luks1", "--key-file", key, disk)
        wrong = write(tmp_path / "wrong", b"wrong")
        done = tool("cryptsetup", "open", "--test-passphrase", "--key-file", wrong, disk, check=False)
        assert done.returncode == 2
        dump = tool("cryptsetup", "luksDump", disk).stdout
        for line in (
            "Version:       \t1",
            "Cipher mode:   \txts-plain64",
            "Payload offset:\t4040",
            "MK bits:       \t512",
        ):
            assert line in dump
        assert str(volume.layout.uuid) in dump
        assert dump.count("ENABLED") == 1
        assert dump.count("DISABLED") == 7

    @needs("qemu-img")
    def test_qemu_reads_ours(self, tmp_path, image):
        disk, key = write(tmp_path / "disk", image), write(tmp_path / "key", PASSPHRASE)
        options = f"driver=luks,key-secret=s,file.filename={disk}"
        secret = ("--object", f"secret,id=s,file={key}")
        tool("qemu-img", "convert", *secret, "--image-opts", options, "-O", "raw", tmp_path / "plain")
        assert (tmp_path / "plain").read_bytes() == PLAIN

    @needs("qemu-img")
    @pytest.mark.parametrize("extra", ["", ",cipher-alg=aes-128", ",hash-alg=sha512"])
    def test_we_read_that_of_qemu(self, tmp_path, extra):
        raw, key = write(tmp_path / "raw", PLAIN), write(tmp_path / "key", PASSPHRASE)
        options = f"key-secret=s,iter-time=20{extra}"
        secret = ("--object", f"secret,id=s,file={key}")
        disk = tmp_path / "disk"
        qemu_encrypts("convert", *secret, "-f", "raw", "-O", "luks", "-o", options, raw, disk)
        with disk.open("rb") as file:
            opened = luks.open_volume(file, PASSPHRASE)
            assert luks.Payload(file, opened, len(PLAIN)).readall() == PLAIN

    @needs("cryptsetup", "qemu-img")
    @pytest.mark.parametrize("bits", [256, 512])
    def test_we_read_that_of_cryptsetup_by_any_passphrase(self, tmp_path, bits):
        disk = tmp_path / "disk"
        with disk.open("wb") as file:
            file.truncate(4 * MIB)
        keys = [write(tmp_path / f"key{number}", f"passphrase {number}".encode()) for number in range(3)]
        quick = ("--pbkdf-force-iterations", "1500", "--batch-mode")
        kind = ("--type", "luks1", "--cipher", "aes-xts-plain64", "--key-size", bits, "--hash", "sha256")
        tool("cryptsetup", "luksFormat", *kind, *quick, "--key-slot", "3", disk, keys[0])
        tool("cryptsetup", "luksAddKey", *quick, "--key-file", keys[0], "--key-slot", "7", disk, keys[1])
        tool("cryptsetup", "luksAddKey", *quick, "--key-file", keys[0], disk, keys[2])
        tool("cryptsetup", "luksKillSlot", "--key-file", keys[1], disk, "3")
        with disk.open("rb") as file:
            found = luks.read_header(file)
            assert [number for number, slot in enumerate(found.slots) if slot.active] == [0, 7]
            assert found.key_bytes == bits // 8
            with pytest.raises(luks.WrongPassphrase):
                luks.open_volume(file, b"passphrase 0")
            opened = luks.open_volume(file, b"passphrase 1")
            cipher = luks.open_volume(file, b"passphrase 2").encrypt(0, PLAIN[:MIB])
        assert opened.decrypt(0, cipher) == PLAIN[:MIB]
        # What we wrote into it is what qemu reads of it.
        with disk.open("r+b") as file:
            file.seek(found.payload_start)
            file.write(cipher)
        options = f"driver=luks,key-secret=s,file.filename={disk}"
        secret = ("--object", f"secret,id=s,file={keys[1]}")
        tool("qemu-img", "convert", *secret, "--image-opts", options, "-O", "raw", tmp_path / "plain")
        assert (tmp_path / "plain").read_bytes()[:MIB] == PLAIN[:MIB]

    @needs("cryptsetup")
    @pytest.mark.parametrize(
        ("options", "rule"),
        [
            (("--type", "luks2", "--pbkdf", "pbkdf2"), "version"),
            (("--type", "luks1", "--cipher", "aes-cbc-essiv:sha256", "--key-size", "256"), "cipher"),
            (("--type", "luks1", "--hash", "sha1"), "hash"),
        ],
    )
    def test_we_refuse_others_of_cryptsetup(self, tmp_path, options, rule):
        disk, key = tmp_path / "disk", write(tmp_path / "key", PASSPHRASE)
        with disk.open("wb") as file:
            file.truncate(20 * MIB)
        quick = ("--pbkdf-force-iterations", "1500", "--batch-mode")
        tool("cryptsetup", "luksFormat", *options, *quick, disk, key)
        with disk.open("rb") as file, pytest.raises(luks.RefusedLuks) as caught:
            luks.open_volume(file, PASSPHRASE)
        assert caught.value.rule == rule

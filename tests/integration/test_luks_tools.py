"""LUKS 1 volumes between Haulout, cryptsetup and qemu."""

from __future__ import annotations

import subprocess

import pytest
from tests.support.disks import qemu_encrypts
from tests.support.luks_volumes import PLAIN
from tests.support.servers import needs

from haulout.workload import luks

MIB = 1 << 20
PASSPHRASE = b"correct horse"


@pytest.fixture(scope="module")
def volume():
    return luks.create(PASSPHRASE, iterations=1000)


@pytest.fixture(scope="module")
def image(volume):
    return volume.header + volume.encrypt(0, PLAIN)


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

"""A disk made here, opened by the kernel that it is for: dm-crypt, dm-verity and ext4 in a real guest."""

from __future__ import annotations

import hashlib
import io
import subprocess

import pytest
from tests.support import workloads
from tests.support.disks import noise
from tests.support.guest_vm import prepare
from tests.support.workloads import with_hashes

from haulout.content.memory import MemoryStore
from haulout.workload import krun, luks

pytestmark = [pytest.mark.tools, pytest.mark.slow]

MIB = 1 << 20
SIZE = 12 * MIB
PASSPHRASE = b"a passphrase of the tests"
BIG = noise("guest", 3 * MIB)

SCRIPT = """
printf wrong >/wrong
cryptsetup open --type luks1 --readonly --key-file /wrong /dev/vda no >/dev/null 2>&1
echo "wrong passphrase: $?"
for disk in vda vdb; do
  cryptsetup open --type luks1 --readonly --key-file /passphrase /dev/$disk plain-$disk || echo "$disk: not opened"
  veritysetup open /dev/mapper/plain-$disk $disk /dev/mapper/plain-$disk {root} --hash-offset {offset} \
    || echo "$disk: not verified"
  mkdir /mnt/$disk
  mount -t ext4 -o ro /dev/mapper/$disk /mnt/$disk || echo "$disk: not mounted"
  echo "$disk greets: $(cat /mnt/$disk/greeting)"
  echo "$disk big: $(sha256sum </mnt/$disk/big 2>&1)"
done
echo "vda is now $(veritysetup status vda | grep status:)"
echo "vdb is now $(veritysetup status vdb | grep status:)"
dmesg | grep -i "data block" | tail -n 1
"""


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("guest"))


def test_a_guest_reads_the_disk_and_a_changed_block_is_an_error(guest, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "greeting").write_text("hello from the inside\n")
    (root / "big").write_bytes(BIG)
    plain = tmp_path / "plain"
    mke2fs = ["mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", root, plain, str(SIZE // 4096)]
    subprocess.run(mke2fs, check=True, capture_output=True, env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})
    data = plain.read_bytes()

    payload, hashes = with_hashes(data, noise("salt", 32))
    volume = luks.create(PASSPHRASE, iterations=2000)
    image = bytearray(volume.header + volume.encrypt(0, payload))
    good, bad = tmp_path / "good.img", tmp_path / "bad.img"
    good.write_bytes(image)
    changed = data.index(BIG[MIB : MIB + 4096])
    assert changed % 4096 == 0
    image[len(volume.header) + changed + 1000] ^= 1
    bad.write_bytes(image)

    script = SCRIPT.format(root=hashes.root.hex(), offset=len(data))
    said = guest.run(script, [good, bad], {"passphrase": PASSPHRASE})

    assert "wrong passphrase: 2" in said
    assert " not " not in said
    assert "vda greets: hello from the inside" in said
    assert f"vda big: {hashlib.sha256(BIG).hexdigest()}" in said
    assert "vda is now   status:      verified" in said
    # What the change did not touch is still read; what it did is no byte, but an error.
    assert "vdb greets: hello from the inside" in said
    assert f"vdb big: {hashlib.sha256(BIG).hexdigest()}" not in said
    assert "Input/output error" in said.split("vdb big:")[1].splitlines()[0]
    assert "vdb is now   status:      corrupted" in said
    assert f"data block {changed // 4096} is corrupted" in said


def test_a_guest_reads_the_disk_of_a_built_image(guest, tmp_path):
    """As published: our ext4, the hashes behind it, the footer at the end, and what the binding says of them."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "greeting").write_text("hello from the inside\n")
    (root / "big").write_bytes(BIG)
    store = MemoryStore()
    built = workloads.build(store, root)
    disk = bytearray(workloads.unpacked(store, built)[krun.DISK_NAME])
    good, bad = tmp_path / "good.img", tmp_path / "bad.img"
    good.write_bytes(disk)
    volume = luks.open_volume(io.BytesIO(disk), workloads.PASSPHRASE)
    start, size = len(volume.header), built.binding.hash_offset
    changed = volume.decrypt(0, disk[start : start + size]).index(BIG[MIB : MIB + 4096])
    disk[start + changed + 1000] ^= 1
    bad.write_bytes(disk)

    script = SCRIPT.format(root=built.binding.root.hex(), offset=size)
    said = guest.run(script, [good, bad], {"passphrase": workloads.PASSPHRASE})

    assert " not " not in said
    assert f"vda big: {hashlib.sha256(BIG).hexdigest()}" in said
    assert "vda is now   status:      verified" in said
    assert f"data block {changed // 4096} is corrupted" in said
    assert "Input/output error" in said.split("vdb big:")[1].splitlines()[0]

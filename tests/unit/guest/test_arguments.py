"""Command lines; what QEMU accepts of them is tested by a boot."""

import base64
import json
from pathlib import Path

from haulout.guest import arguments
from haulout.oci import Digest
from haulout.workload.binding import Binding

BINDING = Binding("web", Digest.of(b"header"), bytes(32), b"salt", 4096, b"key")
MACHINE = arguments.Machine(
    Path("g/vmlinuz"), Path("g/initramfs"), "quiet", Path("a,b/disk.img"), Path("launch.img"), 2, 512, ((8080, 80),)
)


def values(argv, option):
    return [argv[place + 1] for place, word in enumerate(argv) if word == option]


def test_snp_vouches_for_the_binding_and_measures_the_kernel():
    argv = arguments.qemu_snp(MACHINE, BINDING)
    guest = next(one for one in values(argv, "-object") if one.startswith("sev-snp-guest"))
    assert f"host-data={base64.b64encode(BINDING.host_data).decode()}" in guest
    assert "kernel-hashes=on" in guest
    policy = int(guest.partition("policy=")[2].partition(",")[0], 16)
    # Neither debugging nor migration, bits 19 and 18; bit 17 is always one.
    assert policy >> 17 & 0b111 == 0b001


def test_tdx_vouches_for_the_binding():
    argv = arguments.qemu_tdx(MACHINE, BINDING)
    guest = json.loads(next(one for one in values(argv, "-object")))
    assert base64.b64decode(guest["mrconfigid"]) == BINDING.mrconfigid


def test_disks_are_read_only_and_found_by_their_serial_numbers():
    for argv in (
        arguments.qemu_snp(MACHINE, BINDING),
        arguments.qemu_tdx(MACHINE, BINDING),
        arguments.emulated(MACHINE, "qemu-system-x86_64", "tcg", Path("t"), Path("s")),
    ):
        assert all("read-only=on" in one for one in values(argv, "-blockdev"))
        assert "driver=file,node-name=disk-file,read-only=on,filename=a,,b/disk.img" in values(argv, "-blockdev")
        assert [one for one in values(argv, "-device") if "virtio-blk" in one] == [
            "virtio-blk-pci,drive=disk,serial=haulout-disk",
            "virtio-blk-pci,drive=launch,serial=haulout-launch",
        ]
        assert values(argv, "-netdev") == ["user,id=network,hostfwd=tcp:127.0.0.1:8080-:80"]
        assert values(argv, "-append") == ["quiet"]


def test_an_emulated_tee_has_a_port_and_real_ones_have_not():
    argv = arguments.emulated(MACHINE, "qemu-system-x86_64", "kvm", Path("t"), Path("s"))
    assert "virtserialport,chardev=tee,name=io.github.haulout.tee" in values(argv, "-device")
    assert values(argv, "-cpu") == ["host"]
    assert not any("virtserialport" in one for one in arguments.qemu_snp(MACHINE, BINDING))


def test_krun_is_crun_with_its_annotation():
    assert arguments.krun("quay.io/a/b:1")[-2:] == ["krun.variant=sev", "quay.io/a/b:1"]

"""Disk files in wrappings: what is published is the disk inside, and what claims too much is stopped."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import struct
import subprocess
import tarfile
import tracemalloc
from contextlib import ExitStack
from typing import Any

import pytest
import zstandard
from tests.support.disk_files import archive, ova, stream_vmdk
from tests.support.disks import MIB, noise, qcow2_disk, raw_disk
from tests.support.servers import needs

from haulout.disk import DiskFormat, DiskType, inspect
from haulout.errors import HauloutError, UnsafeDiskError
from haulout.progress import NullProgress
from haulout.publish import plain_disk
from haulout.usecases.pull import pull
from haulout.usecases.push import push

PACKED: dict[str, Any] = {"gz": gzip.compress, "xz": lzma.compress, "zst": zstandard.compress, "bz2": bz2.compress}


@pytest.fixture(autouse=True)
def _own_places(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("scratch")))


@pytest.fixture
def raw(tmp_path):
    return raw_disk(tmp_path / "d.raw", data_mib=1, size_mib=8)


def published(tmp_path, name, data, **options):
    """Push a file, pull what came of it, and return the type and the bytes."""
    source = tmp_path / name
    source.write_bytes(data)
    pushed = push(f"oci:{tmp_path}/layout:1", source, **options).disks[0]
    pull(f"oci:{tmp_path}/layout:1", disk_type=pushed.disk_type, output=tmp_path / "out", find_seeds=False)
    return pushed.disk_type, (tmp_path / "out").read_bytes()


@pytest.mark.parametrize("how", PACKED)
def test_the_disk_in_a_compressed_file_is_published(tmp_path, raw, how):
    plain = raw.read_bytes()
    assert published(tmp_path, f"d.raw.{how}", PACKED[how](plain)) == ("applehv", plain)


def test_members_and_frames_of_one_file_belong_together(tmp_path, raw):
    plain = raw.read_bytes()
    for how, pack in PACKED.items():
        parts = b"".join(pack(plain[start : start + 3 * MIB]) for start in range(0, len(plain), 3 * MIB))
        assert published(tmp_path, f"d.{how}", parts) == ("applehv", plain)


@pytest.mark.tools
@needs("qemu-img")
def test_a_compressed_file_may_hold_another_format(tmp_path, raw):
    plain = qcow2_disk(tmp_path / "d.qcow2", raw).read_bytes()
    assert published(tmp_path, "d.qcow2.xz", lzma.compress(plain), disk_type="qemu") == ("qemu", plain)
    with pytest.raises(UnsafeDiskError, match="announced as raw, but it is qcow2"):
        published(tmp_path, "d.qcow2.xz", lzma.compress(plain), disk_type="raw")


@pytest.mark.tools
@needs("qemu-img")
@pytest.mark.parametrize("subformat", ["dynamic", "fixed"])
def test_a_vhd_is_published_as_the_disk_in_it(tmp_path, raw, subformat):
    options = ["-O", "vpc", "-o", f"subformat={subformat},force_size=on"]
    subprocess.run(["qemu-img", "convert", "-f", "raw", *options, raw, tmp_path / "v"], check=True)
    vhd = (tmp_path / "v").read_bytes()
    assert published(tmp_path, "d.vhd", vhd) == ("applehv", raw.read_bytes())
    assert published(tmp_path, "d.vhd.gz", gzip.compress(vhd)) == ("applehv", raw.read_bytes())
    info = inspect(tmp_path / "d.vhd")
    assert (info.virtual_size, info.details["kind"], [danger.rule for danger in info.dangers]) == (
        8 * MIB,
        subformat,
        ["wrapped"],
    )


@pytest.mark.tools
@needs("qemu-img")
@pytest.mark.parametrize("make", ["qemu", "vmware", "old vmware"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_stream_vmdk_alone_or_in_an_ova_is_published_as_one_that_programs_take(tmp_path, raw, make, wrapped):
    if make == "qemu":
        options = ["-O", "vmdk", "-o", "subformat=streamOptimized"]
        subprocess.run(["qemu-img", "convert", "-f", "raw", *options, raw, tmp_path / "s"], check=True)
        stream = (tmp_path / "s").read_bytes()
    else:
        version, access = (3, "RDONLY") if make == "vmware" else (1, "RW")
        stream = stream_vmdk(raw.read_bytes(), version=version, access=access)
    name, data = ("d.ova", ova(("d.vmdk", stream))) if wrapped else ("d.vmdk", stream)
    disk_type, made = published(tmp_path, name, data)
    info = inspect(tmp_path / "out")
    assert (disk_type, info.details["kind"], made != stream) == ("vmdk", "monolithicSparse", True)
    subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", tmp_path / "out", tmp_path / "back"], check=True)
    assert (tmp_path / "back").read_bytes() == raw.read_bytes()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("manifest", ["sha1", "sha256", "sha512", None])
def test_the_disk_of_an_ova_is_published(tmp_path, raw, form, manifest):
    plain = raw.read_bytes()
    data = ova(("disk1.raw.gz", gzip.compress(plain)), manifest=manifest, form=form)
    assert published(tmp_path, "m.ova", data) == ("applehv", plain)


def test_an_archive_of_one_disk_is_not_a_root_file_system(tmp_path, raw):
    plain = raw.read_bytes()
    assert published(tmp_path, "image.tar.gz", gzip.compress(archive(("disk.raw", plain)))) == ("applehv", plain)


def test_a_root_file_system_is_still_one(tmp_path):
    rootfs = archive(("bin/sh", b"x"), ("opt/disk.raw", b"y"), ("etc/passwd", b"root"))
    assert published(tmp_path, "root.tar.xz", lzma.compress(rootfs)) == ("wsl", rootfs)


def refused(tmp_path, data, name="d"):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(HauloutError) as caught:
        push(f"oci:{tmp_path}/layout:1", tmp_path / name)
    assert not (tmp_path / "layout/index.json").exists()
    assert str(tmp_path / name) in str(caught.value), "it names the file people know"
    return caught.value


def test_an_ova_of_several_disks_is_refused_with_the_command(tmp_path):
    error = refused(tmp_path, ova(("b.vmdk", b"2"), ("a.vmdk", b"1")), "m.ova")
    assert "2 disks: 'a.vmdk', 'b.vmdk'" in str(error)
    assert error.hint == f"take one out and push that: tar -xf {tmp_path}/m.ova a.vmdk"


def test_an_ova_without_a_disk_is_refused(tmp_path):
    assert "without a disk" in str(refused(tmp_path, ova(("readme.txt", b"1"))))


def test_an_ova_whose_disk_is_not_what_its_manifest_says_is_refused(tmp_path, raw):
    data = ova(("d.raw", raw.read_bytes()))
    right = hashlib.sha256(raw.read_bytes()).hexdigest().encode()
    assert "not what its manifest says" in str(refused(tmp_path, data.replace(right, b"0" * 64)))


@pytest.mark.parametrize("how", PACKED)
def test_what_does_not_expand_is_refused(tmp_path, raw, how):
    assert "does not decompress" in str(refused(tmp_path, PACKED[how](noise("a", 3 * MIB))[: -MIB // 2]))


@pytest.mark.parametrize(("log", "way_out"), [(28, "zstd -d --long=31"), (20, "is the file complete?")])
def test_what_does_not_decompress_names_the_way_out(tmp_path, log, way_out):
    parameters = zstandard.ZstdCompressionParameters(window_log=log, compression_level=1, hash_log=6, chain_log=6)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    error = refused(tmp_path, compressor.compress(b"\x01" * MIB) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    assert error.rule == "damaged"
    assert way_out in str(error.hint)


@pytest.mark.parametrize("how", ["xz", "zst"])
def test_a_bomb_is_stopped(tmp_path, how):
    data = b"\1" * (128 * MIB)
    bomb = lzma.compress(data, preset=0) if how == "xz" else zstandard.compress(data)
    error = refused(tmp_path, bomb)
    assert isinstance(error, UnsafeDiskError)
    assert error.rule == "bomb"


def test_wrappings_without_end_are_refused(tmp_path, raw):
    data = raw.read_bytes()
    for _ in range(6):
        data = gzip.compress(data)
    assert "compressed" in str(refused(tmp_path, data))


def test_memory_stays_flat_and_nothing_is_left(tmp_path, monkeypatch):
    import os

    source = tmp_path / "d.gz"
    with gzip.open(source, "wb", compresslevel=1) as file:
        for number in range(64):
            file.write(bytes(510) + b"\x55\xaa" + noise(str(number), 4096) + bytes(MIB - 4608))
    tracemalloc.start()
    try:
        with ExitStack() as stack:
            plain = plain_disk(source, stack, NullProgress())
            assert plain.stat().st_size == 64 * MIB
            assert plain.stat().st_blocks * 512 <= 8 * MIB
        assert tracemalloc.get_traced_memory()[1] < 12 * MIB
    finally:
        tracemalloc.stop()
    assert os.listdir(os.environ["TMPDIR"]) == []  # noqa: PTH208


def vhd(*, kind=3, size=8 * MIB, block=2 * MIB, table=(0xFFFF_FFFF,) * 4, length=16 * MIB, entries=4, version=0x10000):
    """Write a dynamic VHD by hand, with holes for lies."""
    footer = bytearray(struct.pack(">8sIIQI4sI4sQQ4sII16sB", b"conectix", 2, version, 512, 0, b"test", 0, b"Wi2k", size, size, bytes(4), kind, 0, bytes(16), 0).ljust(512, b"\0"))  # fmt: skip
    footer[64:68] = (sum(footer) ^ 0xFFFF_FFFF).to_bytes(4, "big")
    header = bytearray(
        struct.pack(">8sQQIIII", b"cxsparse", 2**64 - 1, 1536, 0x10000, entries, block, 0).ljust(1024, b"\0")
    )
    header[36:40] = (sum(header) ^ 0xFFFF_FFFF).to_bytes(4, "big")
    body = bytes(footer) + bytes(header) + struct.pack(f">{len(table)}I", *table)
    return body.ljust(length - 512, b"\1") + bytes(footer)


HOSTILE_VHD = {
    "differencing": (vhd(kind=4), "backing-file"),
    "unknown kind": (vhd(kind=7), "unknown-feature"),
    "another version": (vhd(version=0x20000), "unknown-version"),
    "no size": (vhd(size=0), "damaged"),
    "impossible size": (vhd(size=1 << 60), "damaged"),
    "half a sector": (vhd(size=8 * MIB + 1), "damaged"),
    "table too short": (vhd(entries=2), "damaged"),
    "block of an odd size": (vhd(block=3 * MIB), "damaged"),
    "the same block twice": (vhd(table=(8, 8, *(0xFFFF_FFFF,) * 2)), "shared-clusters"),
    "overlapping blocks": (vhd(table=(8, 100, *(0xFFFF_FFFF,) * 2)), "shared-clusters"),
    "a block over the tables": (vhd(table=(0, *(0xFFFF_FFFF,) * 3)), "shared-clusters"),
    "a block outside": (vhd(table=(1 << 24, *(0xFFFF_FFFF,) * 3)), "truncated"),
    "cut": (vhd()[:-600], "truncated"),
    "cut to its header": (vhd()[:600], "truncated"),
    "flipped footer": (vhd()[:-100] + b"\1" + vhd()[-99:], "damaged"),
    "flipped header": (vhd()[:600] + b"\1" + vhd()[601:], "damaged"),
    "a footer cut by a byte, and another length": (bytes(4 * MIB) + vhd(kind=2)[-512:-1], "truncated"),
    "fixed, too short": (bytes(MIB) + vhd(kind=2)[-512:], "truncated"),
}


@pytest.mark.parametrize(("data", "rule"), HOSTILE_VHD.values(), ids=HOSTILE_VHD)
def test_a_hostile_vhd_is_refused(tmp_path, data, rule):
    error = refused(tmp_path, data)
    assert isinstance(error, UnsafeDiskError)
    assert error.rule == rule


def test_a_footer_of_old_is_a_byte_shorter(tmp_path):
    disk = bytes(510) + b"\x55\xaa" + noise("old", MIB - 512)
    (tmp_path / "d.vhd").write_bytes(disk + vhd(kind=2, size=MIB)[-512:-1])
    assert published(tmp_path, "e.vhd", (tmp_path / "d.vhd").read_bytes()) == ("applehv", disk)


def test_the_pieces_of_a_vhd_may_lie_in_any_order(tmp_path):
    import random

    image = bytearray(vhd(table=(4105, 0xFFFF_FFFF, 8, 8202), length=8 * MIB + 8192, size=8 * MIB - 512))
    blocks = [random.Random(number).randbytes(2 * MIB) for number in range(3)]
    for sector, block in zip((4105, 8, 8202), blocks, strict=True):
        image[(sector + 1) * 512 : (sector + 1) * 512 + len(block)] = block
    image[-512:] = vhd(size=8 * MIB - 512)[-512:]
    (tmp_path / "d.vhd").write_bytes(image)
    with ExitStack() as stack:
        plain = plain_disk(tmp_path / "d.vhd", stack, NullProgress()).read_bytes()
    assert plain == blocks[0] + bytes(2 * MIB) + blocks[1] + blocks[2][:-512]


# What is no disk


NO_DISKS = {
    "text": b"# README\nno disk\n",
    "three bytes": b"\1\2\3",
    "noise": noise("n", MIB),
    "zeros": bytes(MIB),
    "a program": b"\x7fELF" + noise("e", 4092),
    "a picture": b"\x89PNG\r\n\x1a\n" + noise("p", 4088),
}


@pytest.mark.parametrize("data", NO_DISKS.values(), ids=NO_DISKS)
def test_what_nothing_shows_to_be_a_disk_needs_force(tmp_path, data):
    error = refused(tmp_path, data)
    assert isinstance(error, UnsafeDiskError)
    assert (error.rule, "--force" in str(error.hint)) == ("unrecognised", True)
    assert published(tmp_path, "d", data, force=True) == ("applehv", data)


def test_a_disk_of_no_whole_sectors_needs_force(tmp_path, raw):
    data = raw.read_bytes() + b"x"
    error = refused(tmp_path, data)
    assert isinstance(error, UnsafeDiskError)
    assert error.rule == "sectors"
    assert published(tmp_path, "d", data, force=True) == ("applehv", data)


def test_boot_code_alone_makes_a_disk(tmp_path):
    data = noise("boot", 510) + b"\x55\xaa" + bytes(MIB - 512)
    assert published(tmp_path, "d", data) == ("applehv", data)
    assert inspect(tmp_path / "d").content == "boot sector"


def test_force_does_not_reach_what_is_dangerous(tmp_path):
    data = b"QFI\xfb" + struct.pack(">I", 99) + bytes(600)
    (tmp_path / "d").write_bytes(data)
    with pytest.raises(UnsafeDiskError):
        push(f"oci:{tmp_path}/layout:1", tmp_path / "d", force=True)


@pytest.mark.parametrize("name", ["m.ova", "image.tar"])
def test_inspection_says_what_an_archive_of_a_disk_is(tmp_path, name):
    members = [("disk.vmdk", b"x" * 700)]
    (tmp_path / name).write_bytes(ova(*members) if name == "m.ova" else archive(*members))
    info = inspect(tmp_path / name)
    (danger,) = info.dangers
    assert (info.format, danger.rule) == (DiskFormat.TAR, "archive")
    assert f"tar -xf {tmp_path}/{name} disk.vmdk" in str(danger.hint)


def test_a_type_of_another_format_leads_to_conversion(tmp_path, raw):
    with pytest.raises(UnsafeDiskError) as caught:
        push(f"oci:{tmp_path}/layout:1", raw, disk_type=DiskType.QEMU)
    assert "--also qemu" in str(caught.value.hint)

"""What inspection says about kinds of files, names, limits, and partition tables."""

import os
import socket

import pytest
from tests.support.disk_corpus import MIB, ext4, gpt, mbr, over, put, qcow2, vmdk

from haulout.disk import DiskFormat, DiskType, inspect, require_safe
from haulout.errors import HauloutError, InvalidPlatform, NotFoundError, StorageError, UnsafeDiskError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qemu", DiskType.QEMU),
        ("QCOW2", DiskType.QEMU),
        ("raw", DiskType.APPLEHV),
        ("AppleHV", DiskType.APPLEHV),
        ("vhdx", DiskType.HYPERV),
        ("tar", DiskType.WSL),
        (" wsl ", DiskType.WSL),
        ("vmdk", DiskType.VMDK),
        ("iso", DiskType.ISO),
    ],
)
def test_disk_types_parse_by_both_names(text, expected):
    assert DiskType.parse(text) is expected


@pytest.mark.parametrize("text", ["", "qcow", "qemu qemu", "hyper-v", "rawx", "qémü"])
def test_unknown_disk_types_say_what_is_known(text):
    with pytest.raises(InvalidPlatform) as caught:
        DiskType.parse(text)
    assert "applehv" in str(caught.value.hint)
    assert "qcow2" in str(caught.value.hint)


def test_formats_and_types_map_both_ways():
    assert {disk_type.disk_format.disk_type for disk_type in DiskType} == set(DiskType)
    assert {disk_format.disk_type.disk_format for disk_format in DiskFormat} == set(DiskFormat)
    assert DiskFormat.QCOW2.extension == "qcow2"


@pytest.fixture
def special(tmp_path):
    """A file of every kind that is not regular."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        yield tmp_path


@pytest.mark.parametrize("name", ["pipe", "directory", "socket", "/dev/null", "/dev/zero"])
@pytest.mark.timeout(10)
def test_only_regular_files_are_opened(special, name):
    with pytest.raises(UnsafeDiskError, match="not a regular file") as caught:
        inspect(special / name)
    assert caught.value.rule == "not-a-regular-file"


def test_symbolic_links_are_followed_only_if_wanted(tmp_path):
    (tmp_path / "disk").write_bytes(qcow2())
    (tmp_path / "link").symlink_to("disk")
    assert inspect(tmp_path / "link").format is DiskFormat.QCOW2
    with pytest.raises(UnsafeDiskError, match="symbolic link"):
        inspect(tmp_path / "link", follow_symlinks=False)


def test_names_that_cannot_be_opened(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(NotFoundError) as caught:
        inspect(tmp_path / "absent")
    assert caught.value.hint == "check the path"
    with pytest.raises(HauloutError):
        inspect("disk\0name")
    with pytest.raises(StorageError):
        inspect(tmp_path / "loop")
    with pytest.raises(StorageError):
        inspect(tmp_path / ("n" * 300))
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        inspect(tmp_path / "file" / "below")


def test_a_descriptor_stays_open_and_in_place(tmp_path):
    (tmp_path / "disk").write_bytes(qcow2())
    with (tmp_path / "disk").open("rb") as stream:
        stream.seek(77)
        info = inspect(stream.fileno(), name="shown")
        assert os.lseek(stream.fileno(), 0, os.SEEK_CUR) == 77
    assert (info.path, info.format) == ("shown", DiskFormat.QCOW2)


def test_a_closed_descriptor_is_an_error_of_ours(tmp_path):
    with (tmp_path / "disk").open("wb") as stream:
        descriptor = os.dup(stream.fileno())
    os.close(descriptor)
    with pytest.raises(StorageError):
        inspect(descriptor)


def test_a_raw_disk_announced_as_raw_that_is_qcow2_is_refused(tmp_path):
    (tmp_path / "disk").write_bytes(qcow2())
    with pytest.raises(UnsafeDiskError, match="announced as raw, but it is qcow2") as caught:
        require_safe(tmp_path / "disk", DiskFormat.RAW)
    assert caught.value.rule == "format"


def test_large_virtual_sizes_are_capped_by_the_caller(tmp_path):
    path = tmp_path / "disk"
    entries = (8 << 40) // (512 * MIB)
    path.write_bytes(qcow2(size=8 << 40, l1=(entries, 0x30000), length=0x30000 + entries * 8))
    assert path.stat().st_size < 400_000
    assert require_safe(path).virtual_size == 8 << 40
    with pytest.raises(UnsafeDiskError) as caught:
        require_safe(path, max_virtual_size=1 << 40)
    assert caught.value.rule == "virtual-size"
    assert require_safe(path, max_virtual_size=8 << 40).safe


def test_the_caller_may_allow_a_rule(tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(b"LUKS\xba\xbe\0\1" + bytes(4096))
    with pytest.raises(UnsafeDiskError):
        require_safe(path)
    assert require_safe(path, DiskFormat.RAW, allow={"encrypted"}).content == "luks"


def test_the_first_danger_of_an_inspection_is_raised(tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(qcow2(backing=(0x200, 11), name=b"/etc/\x1b[31m\n!", incompatible=4))
    info = inspect(path)
    assert [danger.rule for danger in info.dangers][:2] == ["backing-file", "data-file"]
    assert info.dangers[0].reason.isprintable()
    with pytest.raises(UnsafeDiskError) as caught:
        require_safe(info)
    assert caught.value.rule == "backing-file"


def test_compressed_clusters_are_seen(tmp_path):
    path = tmp_path / "disk"
    l2_table = (1 << 62 | 0x50000).to_bytes(8, "big")
    path.write_bytes(qcow2(l1_entries=(1 << 63 | 0x40000,), clusters=[(0x40000, l2_table)], length=0x50200))
    info = require_safe(path)
    assert info.compressed
    plain = tmp_path / "plain"
    plain.write_bytes(qcow2())
    assert not inspect(plain).compressed


@pytest.mark.timeout(30)
def test_the_largest_tables_are_walked_quickly_or_refused(tmp_path):
    """An L1 table of 4 million entries, each leading to another hole in a sparse file of 8 TiB."""
    path = tmp_path / "disk"
    entries = (32 * MIB) // 8
    with path.open("wb") as stream:
        stream.write(qcow2(size=512, l1=(entries, 0x30000))[:0x30000])
        stream.write(b"".join((0x10000000 + (n << 16)).to_bytes(8, "big") for n in range(entries)))
        stream.truncate(8 << 40)
    assert [danger.rule for danger in inspect(path).dangers] == ["oversized-tables"]


def test_partitions_of_both_tables_are_listed(tmp_path):
    path = tmp_path / "disk"
    file = bytearray(gpt(length=4 * MIB, partitions=((2048, 6143), (6144, 7000))))
    put(file, MIB, ext4(blocks=2048, length=4096))
    path.write_bytes(file)
    info = require_safe(path)
    assert info.content == "gpt"
    first, second = info.partitions
    assert (first.number, first.start, first.size, first.kind, first.name) == (1, MIB, 2 * MIB, "Linux", "ro")
    assert first.file_system is not None
    assert first.file_system.name == "ext4"
    assert second.file_system is None

    path.write_bytes(over(mbr((0x80, 0x0C, 64, 64), (0, 5, 256, 256)), (256 * 512, mbr((0, 0x83, 8, 16), length=512))))
    info = require_safe(path)
    assert [(p.number, p.start, p.size, p.kind) for p in info.partitions] == [
        (1, 64 * 512, 64 * 512, "FAT32"),
        (5, 264 * 512, 16 * 512, "Linux"),
    ]


def test_sparse_files_tell_what_they_take(tmp_path):
    path = tmp_path / "disk"
    with path.open("wb") as stream:
        stream.write(b"x" * 4096)
        stream.truncate(64 * MIB)
    info = inspect(path)
    assert info.file_size == info.virtual_size == 64 * MIB
    assert info.allocated < MIB
    assert info.content == "unrecognised"


@pytest.mark.parametrize(
    ("offset", "magic", "name"),
    [
        (0x1018, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"), "bcachefs"),
        (4096, bytes.fromhex("fc4e2ba901000000"), "RAID"),
        (0x8000, b"JFS1", "jfs"),
        (512, bytes.fromhex("57455682"), "BSD disk label"),
        (8192, "VOL1".encode("cp500"), "DASD"),
    ],
)
def test_disks_without_a_partition_table_are_told_from_any_file(tmp_path, offset, magic, name):
    path = tmp_path / "disk"
    path.write_bytes(over(bytes(MIB), (offset, magic)))
    assert require_safe(path).content == name


def test_a_file_system_of_the_disk_in_a_file_is_not_one_of_the_file(tmp_path):
    path = tmp_path / "disk"
    # The first grain that qemu-img stores of a btrfs disk lies where the superblock of the file itself would be.
    superblock = over(bytes(4096), (0x40, b"_BHRfS_M"), (0xC9 + 8, (128 * MIB).to_bytes(8, "little")))
    path.write_bytes(over(vmdk() + bytes(MIB), (0x10000, superblock)))
    assert require_safe(path).content == "vmdk"
    path.write_bytes(over(bytes(MIB), (0x10000, superblock)))
    with pytest.raises(UnsafeDiskError, match="claims 134217728 bytes"):
        require_safe(path)
    whole = over(superblock, (0xC9 + 8, MIB.to_bytes(8, "little")))
    path.write_bytes(over(vmdk() + bytes(MIB), (0x10000, whole)))
    with pytest.raises(UnsafeDiskError, match="at once"):
        require_safe(path)

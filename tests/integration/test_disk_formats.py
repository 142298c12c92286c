"""Files made by the tools people use: what we say of them, and what qemu-img says."""

import json
import os
import random
import shutil
import subprocess

import pytest
from tests.support.disk_corpus import GOOD
from tests.support.disks import qemu_encrypts

from haulout.disk import DiskFormat, inspect, require_safe

pytestmark = pytest.mark.tools

MIB = 1 << 20
SIZE = 64 * MIB


def tool(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def run(name, *arguments, **options):
    command = [tool(name), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, **options).stdout


def qemu_info(path, disk_format):
    return json.loads(run("qemu-img", "info", "--output=json", "-f", disk_format, path))


def made(options):
    return ["-o", options] if options else []


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A disk with noise, text that compresses, and holes."""
    path = tmp_path_factory.mktemp("source") / "source.raw"
    with path.open("wb") as stream:
        stream.seek(MIB)
        stream.write(os.urandom(2 * MIB))
        stream.write(b"haulout " * (MIB // 8))
        stream.seek(40 * MIB)
        stream.write(b"end")
        stream.truncate(SIZE)
    return path


VARIANTS = [
    ("qcow2", "", False),
    ("qcow2", "compat=0.10", False),
    ("qcow2", "cluster_size=512", False),
    ("qcow2", "cluster_size=2M", False),
    ("qcow2", "extended_l2=on,cluster_size=128k", False),
    ("qcow2", "lazy_refcounts=on,refcount_bits=1", False),
    ("qcow2", "preallocation=metadata", False),
    ("qcow2", "preallocation=full", False),
    ("qcow2", "", True),
    ("qcow2", "compression_type=zstd", True),
    ("vhdx", "subformat=dynamic", False),
    ("vhdx", "subformat=fixed", False),
    ("vhdx", "subformat=dynamic,block_size=1M", False),
    ("vmdk", "subformat=monolithicSparse", False),
    ("vmdk", "subformat=monolithicSparse,adapter_type=lsilogic,compat6=on", False),
    ("vmdk", "subformat=streamOptimized", True),
]


@pytest.mark.parametrize(("name", "options", "compressed"), VARIANTS)
def test_what_qemu_writes_is_accepted_and_described_alike(tmp_path, source, name, options, compressed):
    path = tmp_path / f"disk.{name}"
    flags = ["-c"] if compressed and name == "qcow2" else []
    run("qemu-img", "convert", "-f", "raw", "-O", name, *flags, *made(options), source, path)
    info = require_safe(path, DiskFormat(name))
    theirs = qemu_info(path, name)
    assert info.format == theirs["format"]
    assert info.virtual_size == theirs["virtual-size"] == SIZE
    assert info.compressed is compressed
    assert info.allocated == theirs["actual-size"]
    if name == "qcow2":
        assert info.details["cluster size"] == theirs["cluster-size"]


@pytest.mark.parametrize(
    ("name", "options", "rule"),
    [
        ("qcow2", "backing_file={source},backing_fmt=raw", "backing-file"),
        ("qcow2", "data_file={directory}/outside.raw", "data-file"),
        ("qcow2", "data_file={directory}/outside.raw,data_file_raw=on", "data-file"),
        ("vmdk", "subformat=monolithicFlat", "data-file"),
        ("vmdk", "subformat=twoGbMaxExtentSparse", "data-file"),
        ("vmdk", "subformat=twoGbMaxExtentFlat", "data-file"),
        ("qed", "", "unsupported"),
        ("vdi", "", "unsupported"),
        ("vpc", "subformat=dynamic", "wrapped"),
        ("vpc", "subformat=fixed", "wrapped"),
        ("parallels", "", "unsupported"),
        ("qcow", "", "unsupported"),
    ],
)
def test_what_qemu_writes_and_nobody_should_publish_is_refused(tmp_path, source, name, options, rule):
    path = tmp_path / "disk"
    options = options.format(source=source, directory=tmp_path)
    run("qemu-img", "create", "-q", "-f", name, *made(options), path, SIZE)
    assert rule in {danger.rule for danger in inspect(path).dangers}


def test_a_qcow2_with_a_snapshot_or_bitmap_is_refused(tmp_path):
    path = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", path, SIZE)
    run("qemu-img", "snapshot", "-c", "before", path)
    assert [danger.rule for danger in inspect(path).dangers] == ["snapshots"]
    run("qemu-img", "create", "-q", "-f", "qcow2", path, SIZE)
    run("qemu-img", "bitmap", "--add", path, "changes")
    assert [danger.rule for danger in inspect(path).dangers] == ["bitmaps"]


@pytest.mark.parametrize("how", ["qcow2", "whole"])
def test_encryption_by_qemu_is_refused(tmp_path, how):
    path = tmp_path / "disk"
    secret = ("--object", "secret,id=s,data=abcdefgh")
    if how == "qcow2":
        options = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
        qemu_encrypts("create", "-q", *secret, "-f", "qcow2", "-o", options, path, MIB)
    else:
        qemu_encrypts("create", "-q", *secret, "-f", "luks", "-o", "key-secret=s,iter-time=10", path, MIB)
    assert "encrypted" in {danger.rule for danger in inspect(path).dangers}


@pytest.mark.parametrize("name", [name for name, entry in GOOD.items() if entry[0] in {"qcow2", "vhdx", "raw"}])
def test_what_we_accept_qemu_opens(tmp_path, name):
    """The oracle: our parser must never be more generous than the program it protects."""
    disk_format, size, build = GOOD[name]
    path = tmp_path / "disk"
    path.write_bytes(build())
    theirs = qemu_info(path, disk_format.value)
    assert theirs["virtual-size"] == -(-size // 512) * 512
    assert "backing-filename" not in theirs


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("ext2", ["mke2fs", "-q", "-t", "ext2", "-L", "seal"]),
        ("ext3", ["mke2fs", "-q", "-t", "ext3", "-L", "seal"]),
        ("ext4", ["mke2fs", "-q", "-t", "ext4", "-L", "seal"]),
        ("vfat", ["mkfs.vfat", "-n", "seal"]),
        ("vfat", ["mkfs.vfat", "-F", "32", "-n", "SEAL"]),
        ("swap", ["mkswap", "-q"]),
    ],
)
def test_file_systems_fill_a_raw_disk(tmp_path, kind, arguments):
    path = tmp_path / "disk"
    with path.open("wb") as stream:
        stream.truncate(SIZE)
    run(*arguments, path)
    info = require_safe(path, DiskFormat.RAW)
    assert info.file_system is not None
    assert info.file_system.name == info.content == kind
    assert info.virtual_size == qemu_info(path, "raw")["virtual-size"]
    if kind != "swap":
        assert info.file_system.label.lower() == "seal"
        assert info.file_system.size == SIZE
        with path.open("r+b") as stream:
            stream.truncate(SIZE // 2)
        assert [danger.rule for danger in inspect(path).dangers] == ["truncated"]


SCRIPTS = {
    "gpt": b"label: gpt\nsize=8MiB, type=uefi, name=boot\nsize=16MiB, type=linux, name=root\n",
    "dos": b"label: dos\nsize=8MiB, type=c\ntype=5\nsize=4MiB, type=83\nsize=5MiB, type=83\n",
}


@pytest.mark.parametrize("label", SCRIPTS)
def test_partition_tables_by_sfdisk(tmp_path, label):
    path = tmp_path / "disk"
    with path.open("wb") as stream:
        stream.truncate(SIZE)
    run("sfdisk", "-q", path, input=SCRIPTS[label])
    info = require_safe(path, DiskFormat.RAW)
    expected = json.loads(run("sfdisk", "--json", path))["partitiontable"]["partitions"]
    mine = [(p.start, p.size) for p in info.partitions]
    theirs = [(p["start"] * 512, p["size"] * 512) for p in expected if p["type"] != "5"]
    assert mine == theirs
    assert len(mine) >= 2
    if label == "gpt":
        assert [(p.kind, p.name) for p in info.partitions] == [("EFI system", "boot"), ("Linux", "root")]
        with path.open("r+b") as stream:
            stream.truncate(SIZE - 4096)
        assert [danger.rule for danger in inspect(path).dangers] == ["truncated"]
        with path.open("r+b") as stream:
            stream.truncate(2 * SIZE)
        assert "damaged" in str(require_safe(path).details["remarks"])


@pytest.mark.parametrize("hybrid", [False, True])
def test_optical_images_by_xorriso(tmp_path, hybrid):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "hello").write_text("hello")
    path = tmp_path / "disk.iso"
    extra = ["-partition_offset", "16", "-append_partition", "2", "0xef", tmp_path / "esp"] if hybrid else []
    if hybrid:
        (tmp_path / "esp").write_bytes(bytes(MIB))
        extra += ["-appended_part_as_gpt"]
    run("xorriso", "-as", "mkisofs", "-quiet", "-V", "SEAL", "-o", path, *extra, tmp_path / "root")
    info = require_safe(path, DiskFormat.ISO)
    assert info.file_system is not None
    assert (info.file_system.name, info.file_system.label) == ("iso9660", "SEAL")
    assert info.virtual_size == path.stat().st_size
    assert bool(info.partitions) is hybrid
    assert ("hybrid" in info.details) is hybrid
    with path.open("r+b") as stream:
        stream.truncate(100_000)
    assert "truncated" in {danger.rule for danger in inspect(path).dangers}


@pytest.mark.parametrize("kind", ["gnu", "pax", "ustar", "v7"])
def test_archives_by_tar(tmp_path, kind):
    (tmp_path / "file").write_bytes(b"x" * 3000)
    path = tmp_path / "root.tar"
    run("tar", f"--format={kind}", "-C", tmp_path, "-cf", path, "file")
    info = require_safe(path, DiskFormat.TAR)
    assert info.virtual_size == path.stat().st_size
    for name, flag in (("gzip", "-z"), ("xz", "-J"), ("bzip2", "-j"), ("zstd", "--zstd")):
        tool(name)
        run("tar", flag, "-C", tmp_path, "-cf", path, "file")
        (danger,) = inspect(path).dangers
        assert (danger.rule, inspect(path).content) == ("compressed", name)
        assert "haulout push expands it; by hand: " in str(danger.hint)


def test_mutated_headers_we_accept_are_opened_by_qemu_and_name_nothing(tmp_path, source):
    """The oracle again, on real qcow2 files with bytes of the header and the tables changed (fixed seed)."""
    chooser = random.Random(5)
    seeds = []
    for options in ("", "compat=0.10", "extended_l2=on,cluster_size=128k"):
        path = tmp_path / "seed.qcow2"
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *made(options), source, path)
        seeds.append(path.read_bytes())
    path = tmp_path / "disk.qcow2"
    opened = refused = 0
    for _ in range(400):
        data = bytearray(chooser.choice(seeds))
        for _ in range(chooser.randint(1, 3)):
            place = chooser.choice((0, 0, 0, 0x70, 0x10000, 0x30000)) + chooser.randrange(120)
            data[place] = chooser.choice((0, 1, 2, 4, 0x80, 0xFF, chooser.randrange(256)))
        path.write_bytes(data)
        info = inspect(path)
        if not info.safe or info.format is not DiskFormat.QCOW2:
            refused += 1
            continue
        if opened < 40:
            theirs = qemu_info(path, "qcow2")
            assert theirs["virtual-size"] == info.virtual_size
            assert "backing-filename" not in theirs
            assert "data-file" not in theirs["format-specific"]["data"]
            assert not theirs.get("snapshots")
            opened += 1
    assert opened == 40
    assert refused > 40

"""The ext4 writer at its edges: sizes, deep extent trees, huge directories, backups, attributes as debugfs sees them."""

from __future__ import annotations

import subprocess
import zlib

import pytest
from tests.support.rootfs import (
    ACL,
    CAPABILITY,
    ID,
    NOW,
    Builder,
    can_mount,
    debugfs,
    debugfs_bytes,
    flat,
    fsck,
    got,
    image_of,
    mounted,
    write_image,
)

from haulout.disk.formats.vhdx import crc32c as plain_crc32c
from haulout.errors import ImageTooSmall, InvalidRootfs, UsageError
from haulout.workload import ext4, rootfs
from haulout.workload.ext4.crc32c import ONES, crc32c, crc32c_rows

MIB = 1 << 20
GIB = 1 << 30


@pytest.fixture(scope="module")
def mountable(tmp_path_factory):
    place = tmp_path_factory.mktemp("mount")
    if reason := can_mount(place):
        pytest.skip(reason)
    return place


def tree_of(children, builder=None, **attributes) -> rootfs.Tree:
    return (builder or Builder()).tree(rootfs.Directory(**({"mode": 0o755} | attributes), children=children))


def test_checksums_are_those_of_rfc_3720():
    data = bytes(range(256)) * 40
    for size in (4, 5, 1020, 4096, 4097, 5000, 8192):
        assert crc32c(ONES, data[:size]) == plain_crc32c(data[:size]) ^ ONES
    import numpy as np

    rows = np.frombuffer(data[:4096], dtype=np.uint8).reshape(4, 1024)
    assert crc32c_rows(ONES, rows).tolist() == [crc32c(ONES, row.tobytes()) for row in rows]


@pytest.mark.tools
def test_debugfs_reads_back_every_attribute(tmp_path):
    builder = Builder()
    file = builder.file(b"hello\n", mode=0o6755, uid=70000, gid=70001, mtime=1_700_000_000_123_456_789,
                        xattrs={b"security.capability": CAPABILITY, b"user.big": b"B" * 3000, b"user.x": b""})  # fmt: skip
    children = {
        b"file": file, b"name": file, b"fast": rootfs.Symlink(mode=0o777, target=b"t" * 59),
        b"slow": rootfs.Symlink(mode=0o777, target=b"t" * 60), b"null": rootfs.Device(mode=0o666, is_block=False, major=1, minor=3),
        b"disk": rootfs.Device(mode=0o660, is_block=True, major=259, minor=70000), b"pipe": rootfs.Fifo(mode=0o600, mtime=-5),
    }  # fmt: skip
    image = tmp_path / "image"
    write_image(tree_of(children, builder), image)
    fsck(image)
    stat, names, capability, big, fast, slow, null, disk, pipe = debugfs(
        image, "stat /file", "ea_list /file", "ea_get -x /file security.capability", "ea_get /file user.big",
        "stat /fast", "stat /slow", "stat /null", "stat /disk", "stat /pipe",
    )  # fmt: skip
    for part in (
        "Mode:  06755",
        "User: 70000",
        "Group: 70001",
        "Links: 2",
        "Size: 6",
        "mtime: 0x6553f100:1d6f3454",
        "Generation: 0",
    ):
        assert part in stat
    assert {"security.capability (20)", "user.big (3000)", "user.x (0)"} <= {
        line.strip().split(" = ")[0] for line in names.splitlines()
    }
    assert bytes.fromhex(capability.split("=", 1)[1].replace(" ", "")) == CAPABILITY
    assert "B" * 3000 in big
    assert 'Fast link dest: "' + "t" * 59 in fast
    assert "Type: symlink" in slow
    assert "(0):" in slow
    assert "(New-style) Device number" not in null
    assert "01:03" in null
    assert "259:70000" in disk
    assert "Type: FIFO" in pipe
    assert debugfs_bytes(image, "/name") == b"hello\n"


@pytest.mark.tools
@pytest.mark.parametrize(
    ("size", "journal"),
    [
        (4 * MIB, 0),
        (10 * MIB, 4 * MIB),
        (200 * MIB, 16 * MIB),
        (128 * MIB + 40 * 4096, 16 * MIB),
        (1100 * MIB, 32 * MIB),
    ],
)
def test_a_given_size_is_kept_to_the_byte(tmp_path, size, journal):
    image = tmp_path / "image"
    builder = Builder()
    plan = write_image(tree_of({b"a": builder.file(b"a" * 10000)}, builder), image, size)
    assert image.stat().st_size == size
    assert plan.journal_size == journal
    assert (plan.layout.geometry.blocks - plan.layout.end) * 4096 > size * 9 // 10 - journal - MIB
    fsck(image)


@pytest.mark.tools
def test_the_least_size_is_the_least(tmp_path):
    builder = Builder()
    tree = tree_of({b"%d" % index: builder.file(b"x" * 50_000) for index in range(300)}, builder)
    plan = write_image(tree, tmp_path / "image")
    fsck(tmp_path / "image")
    again = write_image(tree, tmp_path / "again", plan.size)
    fsck(tmp_path / "again")
    assert again.size == plan.size
    with pytest.raises(ImageTooSmall) as caught:
        ext4.plan(tree, size=plan.size - 4096, uuid=ID, now=NOW)
    assert (caught.value.size, caught.value.needed) == (plan.size - 4096, plan.size)
    assert str(plan.size) in str(caught.value.hint)


@pytest.mark.parametrize("size", [0, -4096, 5000, 1 << 44, 1 << 60])
def test_sizes_ext4_cannot_have(size):
    with pytest.raises(UsageError):
        ext4.plan(tree_of({}), size=size, uuid=ID, now=NOW)


@pytest.mark.tools
@pytest.mark.parametrize("pieces", [4, 5, 340, 341, 1360, 1361, 3000])
def test_extent_trees_of_every_depth(tmp_path, pieces):
    builder = Builder()
    data = b"".join(b"%08d" % index for index in range(pieces))
    file = builder.file(data, size=pieces * 8192, segments=tuple((index * 8192 + 8, 8) for index in range(pieces)))
    image = tmp_path / "image"
    write_image(tree_of({b"sparse": file}, builder), image)
    fsck(image)
    expected = b"".join((bytes(8) + b"%08d" % index).ljust(8192, b"\0") for index in range(pieces))
    assert debugfs_bytes(image, "/sparse") == expected


class Endless:
    """A source of files that are all of one byte, for sizes that no test holds."""

    name = "endless"

    def reader(self):
        from contextlib import nullcontext

        return nullcontext(self)

    def begin(self, offset):
        self.byte = offset

    def fill(self, view):
        view[:] = bytes([self.byte]) * len(view)


@pytest.mark.tools
def test_large_files_run_on_past_the_backups(tmp_path):
    """Three files of 700 MiB: each crosses copies of the superblock; the image is written with holes for the test."""
    from haulout.workload.rootfs.tree import Held

    root = rootfs.Directory(mode=0o755)
    for index in range(3):
        root.children[b"f%d" % index] = rootfs.File(mode=0o644, size=700 * MIB + index, source=1, offset=index + 1)
    tree = rootfs.Tree(root, (Held(), Endless()))
    plan = ext4.plan(tree, size=None, uuid=ID, now=NOW)
    image = tmp_path / "image"
    with image.open("wb") as file:
        for chunk in ext4.stream(plan):
            if chunk.count(chunk[0]) == len(chunk):  # content of a file, or zeros: nothing e2fsck looks at
                file.seek(len(chunk), 1)
            else:
                file.write(chunk)
        file.truncate(plan.size)
    fsck(image)
    copy = subprocess.run(
        ["e2fsck", "-fn", "-b", "32768", "-B", "4096", image], capture_output=True, text=True, check=False
    )
    assert copy.returncode == 0, copy.stdout
    assert plan.size < 2100 * MIB * 102 // 100 + 64 * MIB


@pytest.mark.tools
@pytest.mark.parametrize("count", [300, 20_000])
def test_large_directories(mountable, count):
    builder = Builder()
    directory = rootfs.Directory(mode=0o755)
    for index in range(count):
        directory.children[b"name-%d" % index * (1 + index % 7)] = rootfs.Fifo(mode=0o644)
    tree = tree_of({b"big": directory}, builder)
    image = mountable / "image"
    write_image(tree, image, 64 * MIB)
    fsck(image)
    with mounted(image, mountable / "at") as at:
        assert flat(rootfs.from_folder(at)) == flat(tree)
        assert all((at / "big" / name.decode()).exists() for name in list(directory.children)[:: count // 100])
        for index in range(500):
            (at / "big" / f"new-{index}").touch()
        for name in list(directory.children)[::3]:
            (at / "big" / name.decode()).unlink()
    fsck(image)


@pytest.mark.tools
@pytest.mark.slow
def test_directories_with_more_subdirectories_than_links(tmp_path):
    many = rootfs.Directory(
        mode=0o755, children={b"%d" % index: rootfs.Directory(mode=0o755) for index in range(65_000)}
    )
    write_image(tree_of({b"many": many}), tmp_path / "image")
    fsck(tmp_path / "image")
    assert "Links: 1 " in debugfs(tmp_path / "image", "stat /many")[0]


@pytest.mark.tools
def test_the_kernel_writes_into_it_and_e2fsck_stays_content(mountable):
    builder = Builder()
    tree = tree_of({b"d": rootfs.Directory(mode=0o755, children={b"f": builder.file(b"old" * 5000)})}, builder)
    image = mountable / "image"
    write_image(tree, image, 64 * MIB)
    with mounted(image, mountable / "at") as at:
        (at / "d/new").write_bytes(b"new" * 3_000_000)
        (at / "d/f").write_bytes(b"shorter")
        (at / "d/sub").mkdir()
        (at / "link").symlink_to("d/new")
        (at / "d/new").rename(at / "d/sub/moved")
    fsck(image)
    with mounted(image, mountable / "at", "ro") as at:
        assert (at / "d/sub/moved").read_bytes() == b"new" * 3_000_000
        assert (at / "d/f").read_bytes() == b"shorter"
        assert (at / "lost+found").is_dir()


@pytest.mark.tools
def test_access_control_lists_arrive(mountable):
    builder = Builder()
    directory = rootfs.Directory(mode=0o775, xattrs={b"system.posix_acl_access": ACL, b"system.posix_acl_default": ACL})
    tree = tree_of(
        {b"d": directory, b"f": builder.file(b"x", mode=0o755, xattrs={b"system.posix_acl_access": ACL})}, builder
    )
    image = mountable / "image"
    write_image(tree, image)
    fsck(image)
    with mounted(image, mountable / "at", "ro") as at:
        back = rootfs.from_folder(at)
    assert got(back, "d").xattrs == {b"system.posix_acl_access": ACL, b"system.posix_acl_default": ACL}
    assert got(back, "f").xattrs == {b"system.posix_acl_access": ACL}


def test_a_lost_and_found_of_its_own_is_taken_as_it_is(tmp_path):
    builder = Builder()
    lost = rootfs.Directory(mode=0o750, children={b"x": builder.file(b"x")})
    write_image(tree_of({b"lost+found": lost}, builder), tmp_path / "image")
    fsck(tmp_path / "image")


@pytest.mark.parametrize(
    ("node", "rule"),
    [
        (rootfs.Fifo(mode=0, xattrs={b"user.x": b"x" * 5000}), "attributes"),
        (rootfs.Fifo(mode=0, xattrs={b"odd": b""}), "attributes"),
        (rootfs.Fifo(mode=0, xattrs={b"user.": b""}), "attributes"),
        (rootfs.Fifo(mode=0, xattrs={b"system.posix_acl_access": b"\1"}), "attributes"),
        (rootfs.Device(mode=0, is_block=True, major=4096, minor=0), "device"),
        (rootfs.Device(mode=0, is_block=True, major=-1, minor=0), "device"),
        (rootfs.File(mode=0, size=1 << 60, source=0, offset=0, segments=()), "size"),
    ],
)  # fmt: skip
def test_what_ext4_cannot_hold_is_refused_by_name(node, rule):
    with pytest.raises(InvalidRootfs) as caught:
        ext4.plan(tree_of({b"d": rootfs.Directory(mode=0, children={b"n": node})}), size=None, uuid=ID, now=NOW)
    assert (caught.value.rule, caught.value.entry) == (rule, "d/n")


def test_a_file_called_lost_and_found_and_too_many_names_are_refused():
    with pytest.raises(InvalidRootfs):
        ext4.plan(tree_of({b"lost+found": rootfs.Fifo(mode=0)}), size=None, uuid=ID, now=NOW)
    fifo = rootfs.Fifo(mode=0)
    with pytest.raises(InvalidRootfs) as caught:
        ext4.plan(tree_of({b"%d" % index: fifo for index in range(65_001)}), size=None, uuid=ID, now=NOW)
    assert caught.value.rule == "hardlink"


def test_bytes_depend_on_tree_uuid_and_time_alone():
    tree = tree_of({b"b": rootfs.Fifo(mode=1), b"a": rootfs.Fifo(mode=2)})
    other = tree_of({b"a": rootfs.Fifo(mode=2), b"b": rootfs.Fifo(mode=1)})
    assert zlib.crc32(image_of(tree)) == zlib.crc32(image_of(other))

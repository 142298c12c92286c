"""Sizes, and what ext4 cannot hold."""

from __future__ import annotations

import pytest
from tests.support.ext4_trees import tree_of
from tests.support.rootfs import ID, NOW, Builder, fsck, write_image

from haulout import rootfs
from haulout.errors import ImageTooSmall, InvalidRootfs, UsageError
from haulout.workload import ext4

MIB = 1 << 20


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

"""The image as a stream: backups, and what the kernel and e2fsck make of it."""

from __future__ import annotations

import subprocess
import zlib

import pytest
from tests.support.ext4_trees import tree_of
from tests.support.rootfs import ID, NOW, Builder, fsck, image_of, mounted, write_image

from haulout import rootfs
from haulout.workload import ext4

MIB = 1 << 20


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
    from haulout.rootfs.tree import Held

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


def test_bytes_depend_on_tree_uuid_and_time_alone():
    tree = tree_of({b"b": rootfs.Fifo(mode=1), b"a": rootfs.Fifo(mode=2)})
    other = tree_of({b"a": rootfs.Fifo(mode=2), b"b": rootfs.Fifo(mode=1)})
    assert zlib.crc32(image_of(tree)) == zlib.crc32(image_of(other))

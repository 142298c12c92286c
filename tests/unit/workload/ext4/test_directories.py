"""Huge directories."""

from __future__ import annotations

import pytest
from tests.support.ext4_trees import tree_of
from tests.support.rootfs import Builder, debugfs, flat, fsck, mounted, write_image

from haulout import rootfs

MIB = 1 << 20


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

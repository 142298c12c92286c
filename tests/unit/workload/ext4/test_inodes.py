"""Attributes as debugfs sees them."""

from __future__ import annotations

import pytest
from tests.support.ext4_trees import tree_of
from tests.support.rootfs import CAPABILITY, Builder, debugfs, debugfs_bytes, fsck, write_image

from haulout import rootfs


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

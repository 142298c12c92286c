"""Extended attributes."""

from __future__ import annotations

import pytest
from tests.support.ext4_trees import tree_of
from tests.support.rootfs import ACL, Builder, fsck, got, mounted, write_image

from haulout import rootfs


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

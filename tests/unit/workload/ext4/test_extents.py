"""Extent trees of every depth."""

from __future__ import annotations

import pytest
from tests.support.ext4_trees import tree_of
from tests.support.rootfs import Builder, debugfs_bytes, fsck, write_image


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

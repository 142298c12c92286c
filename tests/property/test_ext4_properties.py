"""Whatever the tree: e2fsck finds nothing, and the kernel reads back everything."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.rootfs import can_mount, flat, fsck, image_of, mounted, trees, write_image

from haulout import rootfs

pytestmark = pytest.mark.tools


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("ext4")


@pytest.fixture(scope="module")
def mountable(place):
    if reason := can_mount(place):
        pytest.skip(reason)
    return place


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees(), room=st.sampled_from([None, 10 << 20, 140 << 20]))
def test_e2fsck_is_content(place, tree, room):
    image = place / "image"
    write_image(tree, image, room)
    fsck(image)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees(), room=st.sampled_from([None, 10 << 20]))
def test_the_kernel_reads_back_every_attribute_and_byte(mountable, tree, room):
    image = mountable / "image"
    write_image(tree, image, room)
    with mounted(image, mountable / "at", "ro") as at:
        back = flat(rootfs.from_folder(at))
    assert flat(tree) == back


@settings(max_examples=15, deadline=None)
@given(tree=trees())
def test_the_same_tree_gives_the_same_bytes(tree):
    assert image_of(tree) == image_of(tree)

"""The end of a VMDK's descriptor, as QEMU leaves it when it shortens the content id in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from haulout.disk.formats.vmdk import _descriptor

if TYPE_CHECKING:
    from haulout.disk.info import Danger

TEXT = b"""# Disk DescriptorFile
version=1
CID=1234567
parentCID=ffffffff
createType="monolithicSparse"

RW 2048 SPARSE "disk.vmdk"

ddb.virtualHWVersion = "4"
ddb.toolsVersion = "2147483647"
"""


@pytest.mark.parametrize("left", [b"", b"\n", b'"\n', b'7"\n'])
def test_what_a_shorter_content_id_leaves_behind_is_no_danger(left):
    dangers: list[Danger] = []
    _descriptor(TEXT + b"\0" + left + bytes(100), 2048, dangers)
    assert dangers == []


@pytest.mark.parametrize("left", [b"x", b"\0\0parentCID=0", b'RW 1 FLAT "/etc/passwd" 0', TEXT[-8:], b"\0\n#"])
def test_anything_else_behind_its_end_is(left):
    dangers: list[Danger] = []
    _descriptor(TEXT + b"\0" + left + bytes(100), 2048, dangers)
    assert [danger.rule for danger in dangers] == ["contradiction"]

"""The table of disk formats."""

import pytest

from haulout.disk import DiskFormat, DiskType, convertible_formats
from haulout.disk.formats import FORMATS
from haulout.oci import Descriptor, Digest
from haulout.resolve import canonical_type
from haulout.resolve.recognise import type_of


def test_every_format_has_a_row_and_raw_is_probed_last():
    assert set(FORMATS) == set(DiskFormat)
    assert all(name is row.name for name, row in FORMATS.items())
    assert [*FORMATS][-1] is DiskFormat.RAW


def test_every_format_is_published_under_one_type():
    assert {disk_type.disk_format for disk_type in DiskType} == set(DiskFormat)
    assert len(DiskType) == len(DiskFormat)


def test_what_converts_is_what_qemu_img_writes():
    assert convertible_formats() == ("raw", "qcow2", "vhdx", "vmdk")


@pytest.mark.parametrize("name", DiskFormat)
def test_a_format_is_recognised_by_name_and_extension(name):
    layer = Descriptor(
        "application/octet-stream", Digest.of(b""), 0, {"org.opencontainers.image.title": f"a.{name}.zst"}
    )
    assert canonical_type(name.upper()) == type_of(layer) == name.disk_type

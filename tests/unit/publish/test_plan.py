"""Which disks a push publishes: pure."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.disks import raw_disk
from tests.support.recording_progress import RecordingProgress
from tests.support.servers import needs

from haulout.disk import DiskFormat, DiskInfo, DiskType, inspect
from haulout.errors import UnsafeDiskError, UsageError
from haulout.oci import Architecture
from haulout.progress import NullProgress
from haulout.publish.plan import InspectedDisk, inspect_disk, plan_disks, prepare

X86, ARM = Architecture.X86_64, Architecture.AARCH64
QEMU, APPLE, HYPERV = DiskType.QEMU, DiskType.APPLEHV, DiskType.HYPERV


def inspected(architecture=X86, disk_type=APPLE, *, compressed=False):
    info = DiskInfo("d", disk_type.disk_format, "gpt", 1, 1, 1, compressed=compressed)
    return InspectedDisk(Path("d"), architecture, disk_type, info)


def test_each_disk_is_followed_by_what_is_made_of_it():
    planned = plan_disks([inspected(), inspected(ARM)], [QEMU, APPLE, HYPERV, QEMU])
    assert [(each.architecture, each.disk_type, each.is_made) for each in planned] == [
        (architecture, disk_type, disk_type is not APPLE)
        for architecture in (X86, ARM)
        for disk_type in (APPLE, QEMU, HYPERV)
    ]
    assert {each.source_format for each in planned} == {DiskFormat.RAW}


def test_a_disk_that_is_compressed_inside_is_made_anew():
    (planned,) = plan_disks([inspected(disk_type=QEMU, compressed=True)], [QEMU])
    assert planned.is_made


@pytest.mark.parametrize(
    ("disks", "also", "message"),
    [
        ([], [], "no disk to push"),
        ([inspected(), inspected()], [], "two disks for x86_64/applehv; a tag holds one"),
        ([inspected(), inspected(disk_type=QEMU)], [QEMU], "two disks for x86_64/qemu"),
    ],
)
def test_what_cannot_be_planned(disks, also, message):
    with pytest.raises(UsageError, match=message):
        plan_disks(disks, also)


def test_a_file_is_published_as_what_it_is(tmp_path):
    disk = raw_disk(tmp_path / "d.raw", data_mib=1, size_mib=4)
    assert inspect_disk(disk, X86, None).disk_type is APPLE
    with pytest.raises(UnsafeDiskError):
        inspect_disk(disk, X86, QEMU)
    with ExitStack() as stack:
        (planned,) = plan_disks([inspect_disk(disk, X86, None)], [])
        assert prepare(planned, stack, NullProgress()) == disk


@pytest.mark.tools
@needs("qemu-img")
@pytest.mark.parametrize(
    ("disk_type", "options"),
    [(QEMU, ["-c", "-O", "qcow2"]), (DiskType.VMDK, ["-O", "vmdk", "-o", "subformat=streamOptimized"])],
)
def test_the_copy_of_a_compressed_disk_is_not_compressed_and_is_removed(tmp_path, disk_type, options):
    raw, packed = raw_disk(tmp_path / "d.raw", data_mib=1, size_mib=4), tmp_path / "packed"
    subprocess.run(["qemu-img", "convert", "-f", "raw", *options, raw, packed], check=True)
    progress = RecordingProgress()
    with ExitStack() as stack:
        (planned,) = plan_disks([inspect_disk(packed, X86, None)], [])
        made = prepare(planned, stack, progress)
        info = inspect(made)
        assert (info.disk_type, info.compressed) == (disk_type, False)
    assert not made.exists()
    assert len(progress.notes) == 1

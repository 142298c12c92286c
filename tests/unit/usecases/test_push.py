"""Push as a function: text or values, one disk or several, and numpy only where it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.disks import raw_disk
from tests.support.recording_progress import RecordingProgress
from tests.support.sandbox import ROOT

from haulout.disk import DiskType
from haulout.errors import InvalidPlatform, InvalidReference, UsageError
from haulout.oci import Architecture, parse_reference
from haulout.usecases.delta import delta
from haulout.usecases.push import DiskSource, push

ARM = Architecture.AARCH64


@pytest.fixture
def disk(tmp_path):
    return raw_disk(tmp_path / "d.raw", data_mib=1, size_mib=8)


def test_text_and_values_mean_the_same(tmp_path, disk):
    text = push(f"oci:{tmp_path}/a:1", str(disk), architecture="arm64", disk_type="raw", level=1)
    value = push(parse_reference(f"oci:{tmp_path}/b:1"), [DiskSource(disk, ARM, DiskType.APPLEHV)], title="a", level=1)
    assert text.disks == value.disks
    assert text.to_dict()["disks"][0]["disk"]["size"] == disk.stat().st_size
    assert text.pinned.digest == text.index


def test_a_source_goes_before_what_is_said_of_all(tmp_path, disk):
    sources = [disk, DiskSource(str(disk), "x86_64")]
    done = push(f"oci:{tmp_path}/a:1", sources, architecture=ARM, level=1)
    assert [each.architecture for each in done.disks] == ["aarch64", "x86_64"]


def test_what_is_misspelled_is_refused_before_anything_is_made(tmp_path, disk):
    place = f"oci:{tmp_path}/a:1"
    for wrong in ({"architecture": "vax"}, {"disk_type": "xen"}, {"also": ["xen"]}):
        with pytest.raises(InvalidPlatform):
            push(place, disk, **wrong)
    with pytest.raises(InvalidReference):
        push("UPPER:1", disk)
    with pytest.raises(InvalidReference):
        push(place, disk, delta_from=["UPPER:1"])
    with pytest.raises(UsageError, match="cannot push to"):
        push(f"oci:{tmp_path}/a@sha256:{'0' * 64}", disk)
    with pytest.raises(UsageError, match="no disk to push"):
        push(place, [])
    assert not (tmp_path / "a").exists()


def test_a_delta_from_a_place_without_such_a_disk_costs_a_note(tmp_path, disk):
    push(f"oci:{tmp_path}/a:1", disk, architecture="x86_64", level=1)
    told = RecordingProgress()
    done = push(
        f"oci:{tmp_path}/a:2", disk, architecture=ARM, delta_from=[f"oci:{tmp_path}/a:1"], progress=told, level=1
    )
    assert done.deltas == ()
    assert [note for note in told.notes if note.startswith("no delta for aarch64/applehv")]


def test_a_delta_is_published_with_the_disk(tmp_path, disk):
    push(f"oci:{tmp_path}/a:1", disk, architecture=ARM, level=1)
    new = raw_disk(tmp_path / "new.raw", data_mib=2, size_mib=8)
    done = push(f"oci:{tmp_path}/a:2", new, architecture=ARM, delta_from=[f"oci:{tmp_path}/a:1"], level=1)
    (made,) = done.deltas
    assert made.status == "pushed"
    assert "seconds" not in done.to_dict()["deltas"][0]
    again = delta(f"oci:{tmp_path}/a:1", f"oci:{tmp_path}/a:2", architecture="arm64")
    assert (again.status, again.manifest) == ("present", made.manifest)
    assert again.to_dict()["delta"] == str(made.manifest)


def test_a_first_push_and_the_next_need_no_numpy(tmp_path, disk):
    other = raw_disk(tmp_path / "other.raw", data_mib=1, size_mib=8, seed="other")
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "from haulout import push\n"
        f"print(push('oci:l:1', {str(disk)!r}, architecture='arm64').disks[0].status)\n"
        f"print(push('oci:l:1', {str(disk)!r}, architecture='arm64').disks[0].status)\n"
        f"print(push('oci:l:2', {str(other)!r}, architecture='arm64').disks[0].base)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.split() == ["pushed", "present", "None"], done.stderr
    assert Path(tmp_path, "l").is_dir()


def test_of_several_disks_the_progress_says_which(tmp_path, disk):
    told = RecordingProgress()
    sources = [DiskSource(disk, "x86_64"), DiskSource(disk, "aarch64")]
    push(f"oci:{tmp_path}/a:1", sources, level=1, progress=told)
    assert told.names[0] == "compressing applehv, disk 1 of 2"
    assert "uploading applehv, disk 2 of 2" in told.names

"""Pulling onto block devices: loop devices, where they can be made."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.disks import MIB, noise, qcow2_disk, raw_disk
from tests.support.loop_devices import loop_device
from tests.support.servers import needs
from tests.unit.fetch.test_containerdisk import archive, published

from haulout.errors import HauloutError, StorageError, UsageError
from haulout.usecases.pull import pull
from haulout.usecases.push import push

SIZE = 24 * MIB


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def disk(tmp_path):
    return raw_disk(tmp_path / "d.raw", data_mib=8, size_mib=SIZE // MIB)


@pytest.fixture
def reference(tmp_path, disk):
    push(f"oci:{tmp_path}/layout:1", disk)
    return f"oci:{tmp_path}/layout:1"


@pytest.fixture
def device(tmp_path):
    """A device that is larger than the disk, and full of something else."""
    backing = tmp_path / "backing"
    backing.write_bytes(noise("old", MIB) * (SIZE // MIB + 4))
    with loop_device(backing) as made:
        yield made


def content(device: Path, size: int = SIZE) -> bytes:
    with device.open("rb", buffering=0) as file:
        return b"".join(iter(lambda: file.read(MIB), b""))[:size]


def written(device: Path) -> int:
    """Return the sectors that were ever written to a device."""
    return int(Path(f"/sys/block/{device.name}/stat").read_text(encoding="ascii").split()[6])


def test_a_disk_is_written_and_what_lies_behind_it_stays(tmp_path, reference, disk, device):
    before = content(device, SIZE + 4 * MIB)
    done = pull(reference, output=device, device=True)
    assert (done.status, done.verified, done.format, done.path) == ("pulled", "frames", "raw", device)
    after = content(device, SIZE + 4 * MIB)
    assert (after[:SIZE] == disk.read_bytes(), after[SIZE:] == before[SIZE:]) == (True, True)


def test_only_what_differs_is_fetched_and_written(tmp_path, reference, disk, device):
    pull(reference, output=device, device=True)
    assert pull(reference, output=device, device=True).status == "present"
    data = bytearray(disk.read_bytes())
    data[2 * MIB : 2 * MIB + 4096] = noise("new", 4096)
    disk.write_bytes(data)
    push(f"oci:{tmp_path}/layout:2", disk)
    before = written(device)
    done = pull(f"oci:{tmp_path}/layout:2", output=device, device=True, find_seeds=False)
    assert content(device) == data
    assert done.moved.fetched < MIB
    assert (written(device) - before) * 512 <= 2 * MIB


def test_an_interrupted_pull_resumes(reference, disk, device):
    class StoppedError(Exception):
        pass

    class Stop:
        def __init__(self, after):
            self.left = after

        def task(self, name, total, *, unit="B", done=0):
            return self

        def note(self, message):
            pass

        def advance(self, amount):
            self.left -= amount
            if self.left < 0:
                raise StoppedError

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            pass

    # The task counts the bytes of the blob: half of them.
    with pytest.raises(StoppedError):
        pull(reference, output=device, device=True, progress=Stop(3 * MIB), jobs=1)
    whole = pull(reference, output=device, device=True, dry_run=True).blob.size
    done = pull(reference, output=device, device=True)
    assert 0 < done.moved.fetched < whole * 3 / 4
    assert content(device) == disk.read_bytes()


@pytest.mark.parametrize("pulled", ["disk", "nothing"])
def test_a_dry_run_writes_nothing(reference, device, pulled):
    if pulled == "disk":
        pull(reference, output=device, device=True)
    before = content(device)
    done = pull(reference, output=device, device=True, dry_run=True)
    assert done.status == ("present" if pulled == "disk" else "planned")
    assert content(device) == before


def test_without_the_option_a_device_is_refused(reference, device):
    before = content(device)
    with pytest.raises(StorageError, match="is a block device") as caught:
        pull(reference, output=device)
    assert "--device" in str(caught.value.hint)
    assert content(device) == before


def test_with_the_option_a_file_is_refused(tmp_path, reference):
    (tmp_path / "file").write_bytes(b"old")
    for target in (tmp_path / "file", "/dev/null"):
        with pytest.raises(UsageError, match="is not a block device"):
            pull(reference, output=target, device=True)
    with pytest.raises(HauloutError):
        pull(reference, output=tmp_path / "none", device=True)
    with pytest.raises(UsageError, match="needs the device"):
        pull(reference, device=True)
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_device_that_is_too_small_is_refused(tmp_path, reference):
    (tmp_path / "small").write_bytes(noise("s", MIB) * (SIZE // MIB - 1))
    with loop_device(tmp_path / "small") as device:
        before = content(device)
        with pytest.raises(StorageError, match=rf"has {SIZE - MIB} bytes, and the disk has {SIZE}"):
            pull(reference, output=device, device=True)
        assert content(device) == before


def test_a_mounted_device_is_refused(tmp_path, reference, device):
    subprocess.run(["mkfs.ext4", "-q", device], check=True)
    place = tmp_path / "mount"
    place.mkdir()
    if subprocess.run(["mount", device, place], capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with pytest.raises(StorageError, match="in use: mounted"):
            pull(reference, output=device, device=True)
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_link_to_a_device_is_followed(tmp_path, reference, disk, device):
    (tmp_path / "by-id").symlink_to(device)
    pull(reference, output=tmp_path / "by-id", device=True)
    assert content(device) == disk.read_bytes()
    assert (tmp_path / "by-id").is_symlink()


@pytest.mark.tools
@needs("qemu-img")
def test_a_disk_of_another_format_is_converted(tmp_path, disk, device):
    push(f"oci:{tmp_path}/layout:q", qcow2_disk(tmp_path / "d.qcow2", disk))
    done = pull(f"oci:{tmp_path}/layout:q", output=device, device=True)
    assert (done.status, content(device) == disk.read_bytes()) == ("pulled", True)
    assert list((tmp_path / "cache/haulout/devices").iterdir()) == []
    before = written(device)
    assert pull(f"oci:{tmp_path}/layout:q", output=device, device=True).status == "present"
    assert written(device) == before


@pytest.mark.tools
@needs("qemu-img")
def test_the_raw_disk_is_taken_where_there_is_one(tmp_path, disk, device):
    push(f"oci:{tmp_path}/layout:b", disk, also=["qemu"])
    assert pull(f"oci:{tmp_path}/layout:b", output=device, device=True).disk_type == "applehv"
    assert content(device) == disk.read_bytes()


def test_the_formats_of_files_are_refused(reference, device):
    with pytest.raises(UsageError, match="cannot hold a disk in the format qcow2"):
        pull(reference, output=device, device=True, as_format="qcow2")


def test_a_disk_without_a_table_of_contents_is_copied(tmp_path, disk, device):
    reference = published(tmp_path / "cd", archive(("disk/d.raw", disk.read_bytes())))
    assert pull(reference, output=device, device=True).shape == "container-disk"
    assert content(device) == disk.read_bytes()


def test_the_command_line_asks_for_the_option(reference, device, disk, tmp_path):
    run = [sys.executable, "-m", "haulout", "pull", reference, "-o", device]
    refused = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (10, 2)
    assert re.search(r"hint: .*--device", refused.stderr)
    done = subprocess.run([*run, "--device"], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert (done.returncode, content(device) == disk.read_bytes()) == (0, True), done.stderr

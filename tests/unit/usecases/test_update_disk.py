"""Update-disk as a library and as a command: what is staged, what is left alone, and what a hook may say."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from tests.support.disks import MIB, leftovers, noise, qcow2_disk, raw_disk, sha256
from tests.support.recording_progress import RecordingProgress
from tests.support.sandbox import sandbox
from tests.support.servers import needs
from tests.support.simulators.registry import SimulatedRegistry

from haulout.errors import NotFoundError, StorageError, ToolError, UnreachableError, UnsafeDiskError, UsageError
from haulout.oci import Architecture
from haulout.registry import ConnectionOptions
from haulout.usecases.delta import delta
from haulout.usecases.disk_hook import HookFailed
from haulout.usecases.lookup import resolve
from haulout.usecases.pull import pull
from haulout.usecases.push import DiskSource, push
from haulout.usecases.update_disk import update_disk

X86 = Architecture.X86_64


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("versions")
    old = raw_disk(folder / "1.raw", data_mib=8, size_mib=16)
    new = folder / "2.raw"
    data = bytearray(old.read_bytes())
    for at in range(MIB, 5 * MIB, MIB // 4):
        data[at + 8192 : at + 12288] = noise(f"a fix{at}", 4096)
    new.write_bytes(data)
    return old, new


@pytest.fixture(scope="module")
def registry(versions):
    with SimulatedRegistry() as server:
        for number, disk in enumerate(versions, 1):
            push(f"{server.host}/m:{number}", [DiskSource(disk, X86)], level=1)
        yield server


@pytest.fixture
def vm(tmp_path, versions):
    """A disk that a guest wrote to: a log, and a file of its own."""
    path = tmp_path / "vm" / "disk.raw"
    path.parent.mkdir()
    path.write_bytes(versions[0].read_bytes())
    with path.open("r+b") as file:
        file.seek(MIB)
        file.write(noise("of the guest", 8192))
    return path


def update(registry, vm, name="new.raw", tag=2, **options):
    return update_disk(vm, f"{registry.host}/m:{tag}", vm.parent / name, architecture="amd64", **options)


def hook_of(folder, body):
    path = folder / "hook"
    path.write_text(
        f'#!/bin/sh\necho "$HAULOUT_HOOK_EVENT" >> {folder}/events\ncat > {folder}/$HAULOUT_HOOK_EVENT.json\n{body}\n'
    )
    path.chmod(0o755)
    return str(path)


def events(folder):
    return (folder / "events").read_text().split()


def test_the_new_disk_comes_of_the_old_one_that_is_left_alone(registry, vm, versions):
    before = sha256(vm), vm.stat().st_mtime_ns
    done = update(registry, vm)
    assert (done.status, done.format, done.old.made_from) == ("staged", "raw", None)
    assert sha256(done.path) == sha256(versions[1])
    assert (sha256(vm), vm.stat().st_mtime_ns) == before
    assert done.moved.fetched < done.pull.blob.size / 2
    assert [use.path for use in done.moved.seeds] == [vm]
    assert leftovers(vm.parent) == []


def test_a_delta_is_used_where_there_is_one(registry, vm, versions):
    delta(f"{registry.host}/m:1", f"{registry.host}/m:2", architecture=X86, disk_type="applehv")
    done = update(registry, vm)
    assert done.moved.delta is not None
    assert update(registry, vm, "other.raw", use_deltas=False).moved.delta is None
    assert sha256(done.path) == sha256(versions[1])


@needs("qemu-img")
@pytest.mark.tools
def test_the_new_disk_is_of_the_old_ones_format_or_as_asked(registry, vm, versions):
    old = qcow2_disk(vm.with_name("disk.qcow2"), vm)
    done = update(registry, old, "new.qcow2")
    assert (done.old.format, done.format, done.pull.format) == ("qcow2", "qcow2", "qcow2")
    same = ["qemu-img", "compare", "-f", "qcow2", "-F", "raw", done.path, versions[1]]
    assert subprocess.run(same, check=False, capture_output=True).returncode == 0
    # A conversion knows what it was made from, too.
    again = update(registry, done.path, "again.qcow2")
    assert (again.status, again.old.made_from) == ("unchanged", done.manifest)
    assert update(registry, old, "new.raw", as_format="raw").pull.format == "raw"


def test_nothing_is_done_where_the_old_disk_is_that_version(registry, vm, versions):
    pulled = pull(f"{registry.host}/m:2", architecture="amd64", disk_type="raw", output=vm.parent / "pulled.raw")
    for old in (pulled.path, versions[1]):
        done = update(registry, old, vm.parent / "new.raw")
        assert (done.status, done.pull, done.to_dict()["moved"]) == ("unchanged", None, None)
        assert done.old.made_from == done.disk.digest
    # Once written to, only its owner knows.
    with pulled.path.open("r+b") as file:
        file.write(b"\xfb")
    for said in (str(pulled.pinned), str(pulled.manifest), str(done.old.made_from)):
        assert update(registry, pulled.path, current=said).status == "unchanged"
    assert not (vm.parent / "new.raw").exists()
    assert update(registry, pulled.path, current="").status == "staged"


def test_a_file_put_in_the_place_of_a_pulled_one_is_not_taken_for_it(registry, vm, versions):
    pulled = pull(f"{registry.host}/m:2", architecture="amd64", disk_type="raw", output=vm.parent / "pulled.raw")
    pulled.path.write_bytes(versions[0].read_bytes())
    assert update(registry, pulled.path).status == "staged"


def test_a_dry_run_says_what_it_takes_and_leaves_nothing(registry, vm):
    hook = hook_of(vm.parent, "")
    there = sorted(vm.parent.iterdir())
    done = update(registry, vm, dry_run=True, hook=hook)
    assert (done.status, done.needed) == ("planned", 8 * MIB + 4096)
    assert done.free > 0
    assert 0 < done.moved.fetched < done.pull.blob.size
    assert sorted(vm.parent.iterdir()) == there


def test_what_is_at_the_new_place_is_never_replaced(registry, vm):
    taken = vm.parent / "new.raw"
    taken.write_bytes(b"the disk of a machine that runs")
    hook = hook_of(vm.parent, "")
    for dry_run in (True, False):
        with pytest.raises(StorageError, match="is not this disk"):
            update(registry, vm, hook=hook, dry_run=dry_run)
    assert taken.read_bytes() == b"the disk of a machine that runs"
    assert not (vm.parent / "events").exists()
    taken.unlink()
    os.link(vm, taken)
    with pytest.raises(UsageError, match="is the old disk"):
        update(registry, vm)


def test_the_hook_agrees_then_gets_the_verified_disk(registry, vm, versions):
    new = vm.parent / "new.raw"
    hook = hook_of(vm.parent, f'[ $HAULOUT_HOOK_EVENT = prepare ] || cmp "$HAULOUT_HOOK_NEW" {versions[1]}')
    done = update(registry, vm, hook=hook)
    assert events(vm.parent) == ["prepare", "ready"]
    told = json.loads((vm.parent / "ready.json").read_text())
    assert told == {
        "event": "ready",
        "old": str(vm),
        "new": str(new),
        "format": "raw",
        "reference": f"{registry.host}/m:2",
        "pinned": str(done.pinned),
        "manifest": str(done.manifest),
        "made_from": None,
    }
    # What was staged and is still there is given again: the hook may have been killed.
    assert update(registry, vm, hook=hook).status == "present"
    assert events(vm.parent) == ["prepare", "ready"] * 2


def test_a_hook_that_says_no_at_first_has_nothing_fetched(registry, vm):
    hook = hook_of(vm.parent, 'echo "not in the window" >&2; exit 3')
    blob = resolve(f"{registry.host}/m:2", architecture="amd64", disk_type="raw").layer.digest
    before = len(registry.seen("GET", f"/blobs/{blob}"))
    with pytest.raises(HookFailed, match=r"exit code 3, not in the window") as failed:
        update(registry, vm, hook=hook)
    assert (failed.value.event, failed.value.exit_code) == ("prepare", 11)
    assert events(vm.parent) == ["prepare"]
    assert len(registry.seen("GET", f"/blobs/{blob}")) == before
    assert not (vm.parent / "new.raw").exists()


def test_a_hook_that_fails_undoes_before_the_new_disk_goes(registry, vm):
    hook = hook_of(
        vm.parent, '[ $HAULOUT_HOOK_EVENT = prepare ] && exit; ls "$HAULOUT_HOOK_NEW" >> $(dirname $0)/seen; exit 1'
    )
    progress = RecordingProgress()
    with pytest.raises(HookFailed, match="'ready'"):
        update(registry, vm, hook=hook, progress=progress)
    assert events(vm.parent) == ["prepare", "ready", "failed"]
    assert (vm.parent / "seen").read_text().split() == [str(vm.parent / "new.raw")] * 2
    assert "'ready'" in json.loads((vm.parent / "failed.json").read_text())["reason"]
    assert any("'failed'" in note for note in progress.notes)
    assert not (vm.parent / "new.raw").exists()
    assert leftovers(vm.parent) == []


def test_a_hook_that_fails_does_not_take_away_what_was_there(registry, vm):
    update(registry, vm)
    with pytest.raises(HookFailed):
        update(registry, vm, hook=hook_of(vm.parent, "[ $HAULOUT_HOOK_EVENT = prepare ]"))
    assert (vm.parent / "new.raw").exists()


def test_a_hook_that_fails_does_not_take_away_what_another_run_made_meanwhile(registry, vm):
    update(registry, vm, name="made.raw")
    body = f"[ $HAULOUT_HOOK_EVENT = prepare ] && mv {vm.parent}/made.raw {vm.parent}/new.raw"
    with pytest.raises(HookFailed):
        update(registry, vm, hook=hook_of(vm.parent, body))
    assert (vm.parent / "new.raw").exists()


def test_the_hook_hears_of_a_fetch_that_failed(registry, vm, monkeypatch):
    hook = hook_of(vm.parent, "")

    def broken(*_args, **_more):
        raise UnreachableError("the registry is gone")

    monkeypatch.setattr("haulout.fetch.disk._DiskPull._frames", broken)
    with pytest.raises(UnreachableError):
        update(registry, vm, hook=hook)
    assert events(vm.parent) == ["prepare", "failed"]
    assert json.loads((vm.parent / "failed.json").read_text())["reason"] == "the registry is gone"


def test_a_hook_that_hangs_or_is_not_there_is_an_error(registry, vm):
    with pytest.raises(ToolError, match="within 1 seconds"):
        update(registry, vm, hook=hook_of(vm.parent, "sleep 60"), hook_seconds=1)
    with pytest.raises(ToolError, match="is not installed"):
        update(registry, vm, hook=str(vm.parent / "missing"))
    assert not (vm.parent / "new.raw").exists()


def test_bad_input_is_one_clear_line(registry, vm, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NotFoundError):
        update(registry, tmp_path / "missing")
    with pytest.raises(UnsafeDiskError, match="is a pipe"):
        update(registry, tmp_path / "fifo", vm.parent / "new.raw")
    with pytest.raises(UsageError, match="not a digest"):
        update(registry, vm, current="5.0")
    with pytest.raises((NotFoundError, StorageError)):
        update(registry, vm, "nowhere/new.raw")
    with pytest.raises(NotFoundError):
        update(registry, vm, tag=9)


def test_a_smaller_new_disk_is_told_of(registry, vm):
    with vm.open("r+b") as file:
        file.truncate(32 * MIB)
    progress = RecordingProgress()
    assert update(registry, vm, progress=progress).old.virtual_size == 32 * MIB
    assert any(f"qemu-img resize -f raw new.raw {32 * MIB}" in note for note in progress.notes)


def test_a_registry_that_does_not_answer_leaves_nothing(vm):
    with pytest.raises(UnreachableError):
        update_disk(vm, "127.0.0.1:9/m:2", vm.parent / "new.raw", connections=ConnectionOptions(attempts=1))
    assert [*vm.parent.iterdir()] == [vm]


@needs("qemu-img")
@pytest.mark.tools
def test_the_command_says_by_its_exit_code_whether_there_is_a_new_disk(tmp_path):
    with sandbox(tmp_path, registry=False) as place:
        for number, name in enumerate(("disk.qcow2", "next.qcow2"), 1):
            push(f"oci:{place.path}/m:{number}", [DiskSource(place.path / name, X86)], level=1)
        common = ("update-disk", "disk.qcow2", "--arch", "x86_64", "-o", "new.qcow2")
        same = place.haulout(*common, "oci:m:1")
        assert same.code == 1, same.err
        assert "there is nothing to do" in same.out
        done = place.haulout(*common, "oci:m:2", "--quiet")
        assert (done.code, done.out) == (0, "new.qcow2\n")

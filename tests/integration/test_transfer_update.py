"""Updates against the real docker-registry: what changed moves, whatever the seed, and nothing wrong ever gets in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from tests.support.disks import MIB, leftovers, noise, qcow2_disk, raw_disk, sha256
from tests.support.mounts import mounted
from tests.support.recording_progress import RecordingProgress
from tests.support.servers import docker_registry, needs
from tests.support.simulators.registry import SimulatedRegistry

from haulout.disk import DiskFormat, DiskType
from haulout.disk.sparse import data_extents
from haulout.errors import NotFoundError, StorageError
from haulout.fetch import frames
from haulout.fetch.seeds import SeedNotes
from haulout.fetch.target import open_partial
from haulout.frames.toc import Toc
from haulout.oci import Architecture, parse_reference
from haulout.registry import ConnectionOptions
from haulout.usecases.delta import delta
from haulout.usecases.lookup import resolve
from haulout.usecases.pull import pull
from haulout.usecases.push import DiskSource, push

pytestmark = [pytest.mark.tools, pytest.mark.usefixtures("own_places"), needs("docker-registry")]
X86 = Architecture.X86_64
FAST = ConnectionOptions(attempts=2, stall_seconds=2.0, connect_seconds=2.0)


@pytest.fixture
def registry(tmp_path):
    with docker_registry(tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    """Two versions of a disk: 24 MiB of data, of which the second has a changed MiB, and a part moved elsewhere."""
    folder = tmp_path_factory.mktemp("disks")
    old = raw_disk(folder / "old.raw", data_mib=24)
    new = folder / "new.raw"
    data = bytearray(old.read_bytes())
    data[5 * MIB : 6 * MIB] = noise("a fix", MIB)
    data[20 * MIB : 24 * MIB], data[1 * MIB : 2 * MIB] = data[8 * MIB : 12 * MIB], bytes(MIB)
    new.write_bytes(data)
    subprocess.run(["fallocate", "--dig-holes", new], check=True)
    return old, new


def reference(server, tag):
    return parse_reference(f"{server.host}/team/machine:{tag}")


@pytest.fixture
def published(registry, disks):
    """Both versions under their tags; returns the size of the new blob."""
    old, new = disks
    push(reference(registry, "1"), [DiskSource(old, X86)])
    return push(reference(registry, "2"), [DiskSource(new, X86)]).disks[0].blob.size


def get(registry, tag, output, **options):
    return pull(reference(registry, tag), architecture=X86, output=output, **options)


def test_an_update_finds_the_earlier_pull_and_fetches_what_changed(registry, published, disks, tmp_path):
    first = get(registry, "1", tmp_path / "a.raw")
    assert first.moved.seeds == ()
    registry_before = registry.count("GET", "/blobs/")
    second = get(registry, "2", tmp_path / "b.raw")
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    assert [use.path.name for use in second.moved.seeds] == ["a.raw"]
    assert second.moved.seeds[0].size >= 18 * MIB
    assert 0 < second.moved.fetched < 0.25 * published
    assert second.moved.fetched == second.traffic.received - manifests(second)
    assert registry.count("GET", "/blobs/") - registry_before <= second.moved.ranges + 6
    assert (tmp_path / "b.raw").stat().st_blocks <= disks[1].stat().st_blocks + 64
    assert leftovers(tmp_path) == []


def manifests(result):
    """Bytes received that are no blobs."""
    return result.traffic.received - result.moved.fetched


def test_the_old_result_at_the_target_is_a_seed_and_is_replaced_at_the_end(registry, published, disks, tmp_path):
    out = tmp_path / "m.raw"
    get(registry, "1", out)
    result = get(registry, "2", out)
    assert sha256(out) == sha256(disks[1])
    assert result.moved.fetched < 0.25 * published
    assert [use.path for use in result.moved.seeds] == [out]


def test_any_file_may_be_a_seed_also_in_another_format(registry, published, disks, tmp_path):
    seed = qcow2_disk(tmp_path / "elsewhere.qcow2", disks[0])
    result = get(registry, "2", tmp_path / "m.raw", seeds=[seed])
    assert sha256(tmp_path / "m.raw") == sha256(disks[1])
    assert result.moved.fetched < 0.25 * published
    assert [use.path for use in result.moved.seeds] == [seed]


@needs("qemu-img")
@pytest.mark.parametrize("disk_type", [DiskType.QEMU, DiskType.HYPERV])
def test_a_raw_disk_is_a_seed_of_other_formats(registry, disks, tmp_path, disk_type):
    old, new = disks
    reference_ = reference(registry, "3")
    push(reference_, [DiskSource(new, X86)], also=[disk_type])
    result = pull(
        reference_, architecture=X86, disk_type=disk_type, output=tmp_path / "out.img", seeds=[old], find_seeds=False
    )
    whole = result.blob.size
    assert result.moved.fetched < 0.3 * whole
    made = DiskFormat(disk_type.disk_format)
    name = {DiskFormat.QCOW2: "qcow2", DiskFormat.VHDX: "vhdx"}[made]
    command = ["qemu-img", "compare", "-f", "raw", "-F", name, new, tmp_path / "out.img"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_seeds_can_be_left_out(registry, published, tmp_path):
    get(registry, "1", tmp_path / "a.raw")
    result = get(registry, "2", tmp_path / "b.raw", find_seeds=False)
    assert result.moved.seeds == ()
    assert result.moved.fetched > 0.99 * published
    assert result.moved.ranges < 5


def test_a_dry_run_says_what_would_be_and_leaves_nothing(registry, published, tmp_path):
    get(registry, "1", tmp_path / "a.raw")
    planned = get(registry, "2", tmp_path / "b.raw", dry_run=True)
    assert (planned.status, planned.verified) == ("planned", "nothing")
    assert sorted(path.name for path in tmp_path.iterdir() if "raw" in path.name) == ["a.raw"]
    done = get(registry, "2", tmp_path / "b.raw")
    assert done.moved == replace(planned.moved, fetched=done.moved.fetched)
    assert abs(done.moved.fetched - planned.moved.fetched) < 1000


def test_a_seed_that_changed_since_its_pull_is_searched_block_by_block(registry, published, disks, tmp_path):
    """As a machine that was booted from it."""
    get(registry, "1", tmp_path / "a.raw")
    with (tmp_path / "a.raw").open("r+b") as file:
        file.seek(16 * MIB)
        file.write(noise("written by the guest", 8192))
    result = get(registry, "2", tmp_path / "b.raw")
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    assert result.moved.fetched < 0.3 * published


@pytest.mark.parametrize("how", ["rewritten", "truncated", "removed"])
def test_a_seed_that_changes_in_the_middle_costs_only_a_fetch(registry, published, disks, tmp_path, monkeypatch, how):
    seed = tmp_path / "a.raw"
    get(registry, "1", seed)
    run = frames.FrameRun.run

    def changed(self, **options):
        if how == "rewritten":
            with seed.open("r+b") as file:
                for at in range(0, 64 * MIB, 2 * MIB):
                    file.seek(at)
                    file.write(b"\xaa" * 4096)
        elif how == "truncated":
            os.truncate(seed, 9 * MIB)
        else:
            seed.unlink()
        return run(self, **options)

    monkeypatch.setattr(frames.FrameRun, "run", changed)
    result = get(registry, "2", tmp_path / "b.raw")
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    # An open file outlives its name.
    assert (result.moved.fetched > 0.3 * published) == (how != "removed")


def test_the_user_is_told_of_a_seed_that_is_not_there(registry, published, tmp_path):
    with pytest.raises(NotFoundError, match="no seed"):
        get(registry, "2", tmp_path / "b.raw", seeds=[tmp_path / "nowhere"])
    with pytest.raises(StorageError, match="not a regular file"):
        get(registry, "2", tmp_path / "b.raw", seeds=[tmp_path])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="not a regular file"):
        get(registry, "2", tmp_path / "b.raw", seeds=[tmp_path / "pipe"])
    assert leftovers(tmp_path) == []


def test_notes_that_are_spoiled_are_worth_nothing_and_hurt_nobody(registry, published, disks, tmp_path):
    get(registry, "1", tmp_path / "a.raw")
    folder = tmp_path / "cache" / "haulout" / "seeds"
    (note,) = folder.glob("*.json")
    known = json.loads(note.read_bytes())
    for spoiled in (
        b"",
        b"[]",
        b"{",
        json.dumps({**known, "path": 7}).encode(),
        json.dumps({**known, "toc": "../../etc/passwd"}).encode(),
        json.dumps({**known, "path": str(tmp_path)}).encode(),
        json.dumps({**known, "path": "/dev/zero"}).encode(),
        json.dumps({**known, "state": None}).encode(),
    ):
        note.write_bytes(spoiled)
        (tmp_path / "b.raw").unlink(missing_ok=True)
        get(registry, "2", tmp_path / "b.raw", dry_run=True)
    for table in folder.glob("*.toc"):
        table.write_bytes(b"haultoc1" + bytes(500))
    note.write_bytes(json.dumps(known).encode())
    result = get(registry, "2", tmp_path / "b.raw")
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    assert result.moved.fetched < 0.3 * published


def test_notes_of_files_that_are_gone_are_forgotten(tmp_path):
    notes = SeedNotes(tmp_path / "notes")
    for number in range(70):
        (tmp_path / f"{number}").write_bytes(b"x")
        notes.remember(tmp_path / f"{number}", "name", None)
        if number < 5:
            (tmp_path / f"{number}").unlink()
    (tmp_path / "70").write_bytes(b"x")
    notes.remember(tmp_path / "70", "another", None)
    assert len(list((tmp_path / "notes").glob("*.json"))) <= 64
    found = [path.name for path, _ in notes.recall("name")]
    assert len(found) == 8
    assert found[0] == "69"
    assert next(iter(notes.recall("another")))[0].name == "70"


def test_killed_in_the_middle_of_an_update_the_next_one_goes_on(registry, published, disks, tmp_path):
    get(registry, "1", tmp_path / "a.raw")
    argv = [sys.executable, "-m", "haulout", "pull", f"{registry.host}/team/machine:2", "--arch", "x86_64"]
    argv += ["-o", tmp_path / "b.raw", "--json", "--progress", "none"]
    kept = 0
    for number in range(8):
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.25 + 0.05 * number)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (tmp_path / "b.raw").exists():
            assert sha256(tmp_path / "b.raw") == sha256(disks[1])
            (tmp_path / "b.raw").unlink()
    done = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
    kept += done["reused"]
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    assert done["fetched"] < 0.25 * published
    assert leftovers(tmp_path) == []


def hostile(old, new, tmp_path, spoil):
    """Update from a simulated registry whose answers pass through ``spoil``; return result and registry."""
    with SimulatedRegistry() as registry:
        for tag, disk in (("1", old), ("2", new)):
            push(parse_reference(f"{registry.host}/m:{tag}"), [DiskSource(disk, X86)])
        pull(parse_reference(f"{registry.host}/m:1"), architecture=X86, output=tmp_path / "a.raw")
        registry.before = lambda request: spoil(registry, request)
        result = pull(parse_reference(f"{registry.host}/m:2"), architecture=X86, output=tmp_path / "b.raw")
        assert sha256(tmp_path / "b.raw") == sha256(new)
        return result


def hints_requested(registry, request) -> bool:
    """Whether a request is for a hints blob, as some table of contents names it."""
    tables = [Toc.decode(blob) for blob in registry.blobs.values() if blob.startswith(b"haultoc1")]
    return request.method == "GET" and any(request.path.endswith(str(toc.hints.digest)) for toc in tables)


@pytest.mark.parametrize("lie", ["random", "zero blocks", "of another disk", "missing", "short"])
def test_hints_that_lie_cost_only_bytes(disks, tmp_path, lie):
    old, new = disks
    told = []

    def spoil(registry, request):
        if not hints_requested(registry, request):
            return None
        told.append(request.path)
        answer = registry.answer(request)
        if lie == "missing":
            return replace(answer, status=404, body=b"{}")
        if lie == "short":
            return replace(answer, status=404, body=b"")
        body = {
            "random": noise("lies", len(answer.body)),
            "zero blocks": bytes(len(answer.body)),
            "of another disk": answer.body[::-1],
        }[lie]
        return replace(answer, body=body)

    result = hostile(old, new, tmp_path, spoil)
    assert told
    assert result.moved.fetched <= 1.01 * result.blob.size


def test_a_registry_that_ignores_ranges_half_way_is_read_whole(disks, tmp_path):
    old, new = disks
    ranged = []

    def spoil(registry, request):
        if request.method == "GET" and "/blobs/" in request.path and "range" in request.headers:
            ranged.append(request.path)
            if len(ranged) > 3:
                headers = {key: value for key, value in request.headers.items() if key != "range"}
                return registry.answer(replace(request, headers=headers))
        return None

    hostile(old, new, tmp_path, spoil)
    assert len(ranged) > 3


@needs("mkfs.btrfs", "mkfs.xfs", "mount")
@pytest.mark.parametrize("kind", ["btrfs", "xfs"])
def test_where_the_file_system_can_blocks_are_shared(registry, published, disks, tmp_path, kind):
    with mounted(tmp_path, kind) as place:
        get(registry, "1", place / "a.raw")
        result = get(registry, "2", place / "b.raw")
        assert sha256(place / "b.raw") == sha256(disks[1])
        # All but frames that hold zeros, and the last.
        assert result.moved.cloned > 0.9 * sum(use.size for use in result.moved.seeds) > 17 * MIB


@needs("mkfs.btrfs", "mkfs.xfs", "mount")
@pytest.mark.parametrize("kind", ["btrfs", "xfs"])
def test_where_the_file_system_can_a_seed_that_is_written_to_gives_what_it_held(
    registry, published, disks, tmp_path, monkeypatch, kind
):
    with mounted(tmp_path, kind) as place:
        seed = place / "a.raw"
        get(registry, "1", seed)
        run = frames.FrameRun.run

        def overwritten(self, **options):
            seed.write_bytes(bytes(64 * MIB))
            return run(self, **options)

        monkeypatch.setattr(frames.FrameRun, "run", overwritten)
        result = get(registry, "2", place / "b.raw")
        assert sha256(place / "b.raw") == sha256(disks[1])
        assert result.moved.cloned > 17 * MIB
        assert result.moved.fetched < 0.3 * published
        assert sorted(path.name for path in place.iterdir()) == ["a.raw", "b.raw"]


@needs("mkfs.btrfs", "mount")
def test_what_is_cloned_needs_no_room(registry, published, disks, tmp_path):
    with mounted(tmp_path, "btrfs", megabytes=128) as place:
        get(registry, "1", place / "a.raw")
        room = os.statvfs(place)
        with (place / "ballast").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - 14 * MIB)
        result = get(registry, "2", place / "b.raw")
        assert sha256(place / "b.raw") == sha256(disks[1])
        assert result.moved.cloned > 14 * MIB


@needs("mount")
def test_a_dry_run_needs_no_folder_that_can_be_written_and_changes_nothing(registry, published, disks, tmp_path):
    with mounted(tmp_path, "tmpfs", "size=64m") as place:
        get(registry, "1", place / "a.raw")
        with open_partial(place / "b.raw", planned_blob(registry)) as partial:
            os.pwrite(partial.fd, disks[1].read_bytes()[: 4 * MIB], 0)
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        before = {path.name: path.stat() for path in place.iterdir()}
        planned = get(registry, "2", place / "b.raw", dry_run=True)
        assert planned.status == "planned"
        assert planned.moved.reused > MIB
        assert {path.name: path.stat() for path in place.iterdir()} == before


def planned_blob(registry):
    return resolve(reference(registry, "2"), architecture=X86).layer.digest


# Published deltas


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    """Two versions that share no aligned block in 8 MiB of their data, though hardly a byte differs."""
    folder = tmp_path_factory.mktemp("rebuilt")
    old = raw_disk(folder / "old.raw", data_mib=24)
    data = bytearray(old.read_bytes())
    part = data[2 * MIB : 10 * MIB - 100]
    for number in range(40):
        at = number * 190_000
        part[at:at] = b"inserted %d" % number
    data[2 * MIB : 10 * MIB] = part[: 8 * MIB]
    new = folder / "new.raw"
    new.write_bytes(data)
    subprocess.run(["fallocate", "--dig-holes", new], check=True)
    return old, new


@pytest.fixture
def with_delta(registry, rebuilt):
    for tag, disk in (("1", rebuilt[0]), ("2", rebuilt[1])):
        push(reference(registry, tag), [DiskSource(disk, X86)])
    return delta(reference(registry, "1"), reference(registry, "2"), architecture=X86, disk_type=DiskType.APPLEHV)


def test_a_published_delta_is_used_where_it_is_cheaper(registry, with_delta, rebuilt, tmp_path):
    old, new = rebuilt
    by_ranges = get(registry, "2", tmp_path / "a.raw", seeds=[old], find_seeds=False, use_deltas=False)
    planned = get(registry, "2", tmp_path / "b.raw", seeds=[old], find_seeds=False, dry_run=True)
    result = get(registry, "2", tmp_path / "b.raw", seeds=[old], find_seeds=False)
    assert sha256(tmp_path / "a.raw") == sha256(tmp_path / "b.raw") == sha256(new)
    assert by_ranges.moved.delta is None
    assert result.moved.delta is not None
    assert result.moved.fetched < 0.2 * by_ranges.moved.fetched
    assert result.traffic.requests <= 12
    assert planned.moved.delta == result.moved.delta
    assert planned.moved.fetched == result.moved.fetched
    assert leftovers(tmp_path) == []


@needs("qemu-img")
def test_the_old_disk_may_lie_in_any_file(registry, with_delta, rebuilt, tmp_path):
    seed = qcow2_disk(tmp_path / "old.qcow2", rebuilt[0])
    result = get(registry, "2", tmp_path / "b.raw", seeds=[seed], find_seeds=False)
    assert sha256(tmp_path / "b.raw") == sha256(rebuilt[1])
    assert result.moved.delta is not None


def test_a_remembered_disk_serves_a_delta(registry, with_delta, rebuilt, tmp_path):
    get(registry, "1", tmp_path / "a.raw")
    result = get(registry, "2", tmp_path / "b.raw")
    assert sha256(tmp_path / "b.raw") == sha256(rebuilt[1])
    assert result.moved.delta is not None
    assert result.moved.fetched < MIB


def test_without_the_old_disk_a_delta_is_not_even_asked_for(registry, with_delta, rebuilt, tmp_path):
    before = registry.count("GET", "/manifests/sha256-")
    result = get(registry, "2", tmp_path / "b.raw")
    assert sha256(tmp_path / "b.raw") == sha256(rebuilt[1])
    assert result.moved.delta is None
    assert registry.count("GET", "/manifests/sha256-") == before


def test_a_delta_to_another_disk_than_the_seed_is_passed_over(registry, with_delta, rebuilt, tmp_path):
    seed = raw_disk(tmp_path / "unrelated.raw", data_mib=8, seed="unrelated")
    result = get(registry, "2", tmp_path / "b.raw", seeds=[seed], find_seeds=False)
    assert sha256(tmp_path / "b.raw") == sha256(rebuilt[1])
    assert result.moved.delta is None


def test_a_seed_that_changes_before_its_delta_is_expanded_costs_only_a_fetch(
    registry, with_delta, rebuilt, tmp_path, monkeypatch
):
    get(registry, "1", tmp_path / "a.raw")
    run = frames.FrameRun.run

    def changed(self, **options):
        assert self.plan.fetch.delta is not None
        with (tmp_path / "a.raw").open("r+b") as file:
            for at in range(2 * MIB, 10 * MIB, 512 * 1024):
                file.seek(at)
                file.write(noise(f"guest {at}", 4096))
        return run(self, **options)

    monkeypatch.setattr(frames.FrameRun, "run", changed)
    get(registry, "2", tmp_path / "b.raw")
    assert sha256(tmp_path / "b.raw") == sha256(rebuilt[1])
    assert [name for name in leftovers(tmp_path) if "b.raw" in name] == []


@pytest.mark.parametrize("what", ["delta.index.v1", "delta.hints.v1", "delta.data.v1"])
@pytest.mark.parametrize("how", ["missing", "flipped", "truncated", "zeros", "of another"])
def test_a_delta_that_lies_costs_only_a_fallback(rebuilt, tmp_path, what, how):
    old, new = rebuilt
    seed = old
    if what == "delta.hints.v1":
        # Where blocks have their numbers, nobody asks for the hints.
        seed = tmp_path / "moved.raw"
        seed.write_bytes(bytes(MIB) + old.read_bytes())
    with SimulatedRegistry() as registry:
        one, two = (parse_reference(f"{registry.host}/m:{tag}") for tag in "12")
        push(one, [DiskSource(old, X86)])
        push(two, [DiskSource(new, X86)])
        delta(one, two, architecture=X86, disk_type=DiskType.APPLEHV)
        manifests = [json.loads(data) for _, data in registry.manifests.values()]
        layers = [layer for each in manifests for layer in each.get("layers", ()) if what in layer["mediaType"]]
        (digest,) = {layer["digest"] for layer in layers}
        told = []

        def spoil(request):
            if request.method != "GET" or not request.path.endswith(digest):
                return None
            told.append(request.path)
            answer = registry.answer(request)
            body = answer.body
            if how == "missing":
                return replace(answer, status=404, body=b"{}")
            changed = {
                "flipped": bytes([*body[: len(body) // 2], body[len(body) // 2] ^ 1, *body[len(body) // 2 + 1 :]]),
                "truncated": body[: len(body) // 2],
                "zeros": bytes(len(body)),
                "of another": body[::-1],
            }[how]
            return replace(answer, body=changed)

        registry.before = spoil
        options = {"architecture": X86, "output": tmp_path / "b.raw", "seeds": [seed], "find_seeds": False}
        progress = RecordingProgress()
        result = pull(two, connections=FAST, progress=progress, **options)
        assert told
        (note,) = progress.notes
        assert note.startswith("the delta " if what == "delta.data.v1" else "cannot use the delta ")
        assert (result.moved.delta is None) == (what != "delta.data.v1" or how in {"missing", "truncated"})
        assert sha256(tmp_path / "b.raw") == sha256(new)
        assert result.moved.fetched < 1.2 * result.blob.size
        assert leftovers(tmp_path) == []


def test_a_seed_too_small_to_matter_costs_nothing(registry, published, tmp_path):
    (tmp_path / "tiny").write_bytes(noise("tiny", 512))
    with_seed = get(registry, "2", tmp_path / "a.raw", seeds=[tmp_path / "tiny"], find_seeds=False)
    without = get(registry, "2", tmp_path / "b.raw", find_seeds=False)
    assert with_seed.moved.fetched == without.moved.fetched


@needs("mount")
def test_a_delta_whose_blocks_do_not_fit_is_refused_before_anything_is_fetched(registry, with_delta, rebuilt, tmp_path):
    whole = sum(extent.length for extent in stored_parts_of(rebuilt[1]))
    with mounted(tmp_path, "tmpfs", f"size={whole + 4 * MIB}") as place:
        with pytest.raises(StorageError, match="bytes are needed"):
            get(registry, "2", place / "b.raw", seeds=[rebuilt[0]], find_seeds=False)
        assert leftovers(place) == []
    with mounted(tmp_path / "roomy", "tmpfs", f"size={whole + 12 * MIB}") as place:
        assert get(registry, "2", place / "b.raw", seeds=[rebuilt[0]], find_seeds=False).moved.delta is not None


@needs("mount", "qemu-img")
def test_a_conversion_that_does_not_fit_beside_the_disk_is_refused_before(registry, published, disks, tmp_path):
    whole = sum(extent.length for extent in stored_parts_of(disks[1]))
    with mounted(tmp_path, "tmpfs", f"size={whole + 4 * MIB}") as place:
        with pytest.raises(StorageError, match="bytes are needed"):
            get(registry, "2", place / "b.qcow2", as_format=DiskFormat.QCOW2, find_seeds=False)
        assert leftovers(place) == []


def stored_parts_of(disk):
    with disk.open("rb") as file:
        return list(data_extents(file.fileno(), disk.stat().st_size))

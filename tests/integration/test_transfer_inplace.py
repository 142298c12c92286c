"""Updates from a disk nobody knows that was upgraded in place: most frames are where they were."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.disks import MIB, leftovers, noise, raw_disk, sha256
from tests.support.mounts import mounted
from tests.support.servers import docker_registry, needs

from haulout.errors import StorageError
from haulout.fetch import frames
from haulout.fetch.inplace import InPlaceFinder
from haulout.oci import Architecture, parse_reference
from haulout.usecases.pull import pull
from haulout.usecases.push import DiskSource, push

pytestmark = [pytest.mark.tools, pytest.mark.usefixtures("own_places"), needs("docker-registry")]
X86 = Architecture.X86_64


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    """A disk of 32 MiB, and what became of it when a MiB in the middle was upgraded."""
    folder = tmp_path_factory.mktemp("disks")
    old, new = raw_disk(folder / "old.raw", data_mib=32), raw_disk(folder / "new.raw", data_mib=32)
    with new.open("r+b") as file:
        file.seek(7 * MIB)
        file.write(noise("a fix", MIB))
    return old, new


@pytest.fixture
def get(tmp_path, disks):
    with docker_registry(tmp_path) as server:
        reference = parse_reference(f"{server.host}/team/machine:2")
        push(reference, [DiskSource(disks[1], X86)])

        def pulled(output, seed, **options):
            return pull(reference, architecture=X86, output=output, seeds=[seed], find_seeds=False, **options)

        yield pulled


def test_no_hints_are_fetched_for_what_is_where_it_was_and_the_plan_says_so(get, disks, tmp_path):
    planned = get(tmp_path / "b.raw", disks[0], dry_run=True)
    assert leftovers(tmp_path) == []
    done = get(tmp_path / "b.raw", disks[0])
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    assert done.moved == replace(planned.moved, fetched=done.moved.fetched)
    assert [use.path for use in done.moved.seeds] == [disks[0]]
    assert done.moved.seeds[0].size > 29 * MIB
    assert done.moved.index < 8 * 32 * MIB // 4096 // 2


def test_frames_are_written_when_they_are_compared_and_not_once_more(get, disks, tmp_path, monkeypatch):
    run, written = frames.FrameRun.run, []

    def looked(self, **options):
        taken = sum(len(finding.taken) for finding in self.survey.findings)
        written.append((taken, next(tmp_path.glob(".b.raw*")).stat().st_blocks * 512))
        return run(self, **options)

    monkeypatch.setattr(frames.FrameRun, "run", looked)
    get(tmp_path / "b.raw", disks[0])
    ((taken, stored),) = written
    assert taken > 20
    assert 29 * MIB < stored < 32 * MIB


def test_whoever_is_interrupted_then_goes_on_from_there(get, disks, tmp_path, monkeypatch):
    find = InPlaceFinder.find

    def interrupted(self, *args):
        find(self, *args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(InPlaceFinder, "find", interrupted)
        with pytest.raises(KeyboardInterrupt):
            get(tmp_path / "b.raw", disks[0])
    result = get(tmp_path / "b.raw", disks[0])
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    assert result.moved.reused > 29 * MIB


def test_a_seed_that_is_rewritten_meanwhile_costs_only_a_fetch(get, disks, tmp_path, monkeypatch):
    seed = tmp_path / "seed.raw"
    seed.write_bytes(disks[0].read_bytes())
    take = InPlaceFinder._take

    def rewritten(self, *args):
        with seed.open("r+b") as file:
            for at in range(0, 32 * MIB, 2 * MIB):
                file.seek(at)
                file.write(b"\xaa" * 4096)
        return take(self, *args)

    monkeypatch.setattr(InPlaceFinder, "_take", rewritten)
    get(tmp_path / "b.raw", seed)
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])


@needs("mount")
def test_what_does_not_fit_is_not_begun(get, disks, tmp_path):
    with mounted(tmp_path, "tmpfs", "size=20m") as place:
        with pytest.raises(StorageError, match="bytes are needed"):
            get(place / "b.raw", disks[0])
        assert leftovers(place) == []

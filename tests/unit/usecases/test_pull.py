"""Pull as a library: arguments as text, cancelling, several threads, and what it needs to be installed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.disks import MIB, leftovers, noise, raw_disk, sha256
from tests.support.recording_progress import RecordingProgress
from tests.support.simulators.registry import SimulatedRegistry

from haulout.disk import DiskType
from haulout.errors import ConflictError, InvalidPlatform
from haulout.fetch.target import open_partial
from haulout.oci import Architecture, parse_reference
from haulout.progress import NullProgress
from haulout.usecases.lookup import inventory, resolve
from haulout.usecases.pull import pull
from haulout.usecases.push import DiskSource, push

X86 = Architecture.X86_64


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    path = raw_disk(tmp_path_factory.mktemp("disk") / "d.raw", data_mib=3, size_mib=16)
    with path.open("r+b") as file:
        file.seek(4 * MIB)
        file.write(noise("more", 4 * MIB))
    return path


@pytest.fixture
def registry(disk):
    with SimulatedRegistry() as server:
        push(parse_reference(f"{server.host}/m:1"), [DiskSource(disk, X86)], level=1)
        yield server


@pytest.fixture
def tag(registry):
    return f"{registry.host}/m:1"


def test_text_does_for_every_argument(tag, disk, tmp_path):
    by_text = pull(tag, architecture="amd64", disk_type="raw", output=str(tmp_path / "a"), seeds=[str(disk)])
    parsed = parse_reference(tag)
    by_value = pull(parsed, architecture=X86, disk_type=DiskType.APPLEHV, output=tmp_path / "a", seeds=[disk])
    assert sha256(tmp_path / "a") == sha256(disk)
    assert (by_text.pinned, by_value.status) == (by_value.pinned, "present")
    assert resolve(tag, architecture="amd64") == resolve(parsed, architecture=X86)
    assert inventory(tag) == inventory(parsed)
    with pytest.raises(InvalidPlatform, match="format"):
        pull(tag, architecture="amd64", as_format="vdi")


def test_results_are_documents(tag, tmp_path):
    result = pull(tag, architecture="amd64", output=tmp_path / "a").to_dict()
    assert (result["path"], result["reference"], result["seeds"]) == (str(tmp_path / "a"), tag, [])
    found = resolve(tag, architecture="amd64").to_dict()
    assert (found["manifest"], found["blob"]) == (result["manifest"], result["blob"])


POOLS = ("fetch", "rebuild", "scan", "search", "survey", "compare", "hints", "expand", "load")


class _Cancelled(Exception):  # noqa: N818 - a caller's own
    pass


class _Task:
    def __init__(self, advance) -> None:
        self.advance = advance

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


class Cancelling(NullProgress):
    """Raises at the third step of one task, and at all that follow."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._steps = 0
        self._lock = threading.Lock()

    def task(self, name, total, **_):
        return _Task(lambda _amount: self._step(name))

    def _step(self, name: str) -> None:
        with self._lock:
            self._steps += name.startswith(self._name)
            if self._steps >= 3:
                raise _Cancelled


@pytest.mark.parametrize("where", ["pulling", "reusing", "searching", "checking"])
def test_what_progress_raises_ends_the_pull_which_is_resumed(tag, disk, tmp_path, where):
    out = tmp_path / "out"
    seed = tmp_path / "seed"
    seed.write_bytes(noise("other", 5 * MIB) + disk.read_bytes()[: 6 * MIB])
    options = {"architecture": "amd64", "output": out, "find_seeds": False}
    options["seeds"] = [seed] if where in {"reusing", "searching"} else []
    if where == "checking":
        with pytest.raises(_Cancelled):
            pull(tag, progress=Cancelling("pulling"), **options)
    with pytest.raises(_Cancelled):
        pull(tag, progress=Cancelling(where), **options)
    # The registry answers in this process, too.
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith(POOLS)] == []
    assert not out.exists()
    assert not leftovers(tmp_path) or where in {"pulling", "reusing", "checking"}
    result = pull(tag, **options)
    assert sha256(out) == sha256(disk)
    assert (result.moved.reused > 0) == (where in {"pulling", "reusing", "checking"})
    assert leftovers(tmp_path) == []


def test_several_threads_pull_to_different_targets(tag, disk, tmp_path):
    def one(number: int):
        return pull(tag, architecture="amd64", output=tmp_path / f"{number}.raw")

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(one, range(6)))
    assert {result.status for result in results} == {"pulled"}
    assert {sha256(tmp_path / f"{number}.raw") for number in range(6)} == {sha256(disk)}
    assert leftovers(tmp_path) == []


def test_two_threads_to_one_target_conflict_and_say_so(tag, disk, tmp_path):
    out = tmp_path / "out"
    with open_partial(out, resolve(tag, architecture="amd64").layer.digest):
        with pytest.raises(ConflictError, match="another pull is writing to") as caught:
            pull(tag, architecture="amd64", output=out)
        assert "process" not in str(caught.value)
    assert pull(tag, architecture="amd64", output=out).status == "pulled"
    assert sha256(out) == sha256(disk)


@pytest.mark.parametrize("options", [{"dry_run": True}, {}])
def test_without_numpy_seeds_are_passed_over_with_one_note(tag, disk, tmp_path, monkeypatch, options):
    monkeypatch.setitem(sys.modules, "numpy", None)
    progress = RecordingProgress()
    result = pull(tag, architecture="amd64", output=tmp_path / "out", seeds=[disk], progress=progress, **options)
    (note,) = progress.notes
    assert "numpy" in note
    assert "haulout[deltas]" in note
    assert result.moved.seeds == ()
    assert result.moved.ranges >= 1


_WHOLE_PULL = """
import os, sys
sys.path.insert(0, sys.argv[1])
sys.modules["numpy"] = None
from haulout import pull
for status in ("planned", "pulled", "present"):
    result = pull(sys.argv[2], architecture="amd64", output=sys.argv[3], dry_run=status == "planned", find_seeds=False)
    assert result.status == status, result
"""


def test_a_whole_pull_needs_no_numpy(tag, disk, tmp_path):
    source = str(Path(__file__).parents[3] / "src")
    done = subprocess.run(
        [sys.executable, "-c", _WHOLE_PULL, source, tag, str(tmp_path / "out")],
        env={**os.environ, "no_proxy": "*"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sha256(tmp_path / "out") == sha256(disk)


def test_a_dry_run_is_the_plan_that_is_carried_out(tag, disk, tmp_path):
    seed = tmp_path / "seed"
    seed.write_bytes(disk.read_bytes()[: 6 * MIB])
    options = {"architecture": "amd64", "output": tmp_path / "out", "seeds": [seed], "find_seeds": False}
    planned, done = pull(tag, dry_run=True, **options), pull(tag, **options)
    assert planned.moved == done.moved
    assert planned.moved.seeds[0].size > 3 * MIB

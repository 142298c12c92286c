"""Killed at the last steps of a pull, where everything is fetched: the next one fetches nothing and leaves nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.disks import leftovers, raw_disk, sha256
from tests.support.publish import publish_blob
from tests.support.servers import needs
from tests.support.simulators.registry import SimulatedRegistry

from haulout.disk import DiskFormat
from haulout.oci import Architecture, parse_reference
from haulout.usecases.pull import pull
from haulout.usecases.push import DiskSource, push

X86 = Architecture.X86_64
SOURCE = Path(__file__).parents[2] / "src"

VICTIM = """
import importlib, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
module = importlib.import_module("haulout.fetch.disk")
from haulout.usecases.pull import pull
from haulout.disk import DiskFormat
from haulout.oci import Architecture, parse_reference
from haulout.fetch.records import Records
from haulout.fetch.target import Partial

_, _, reference, output, form, step, when = sys.argv
holder = {"remember": Records, "publish": Partial, "discard": Partial, "convert": module}[step]
real = getattr(holder, step)

def dies(*arguments, **named):
    if when == "before":
        os._exit(9)
    real(*arguments, **named)
    os._exit(9)

setattr(holder, step, dies)
pull(
    parse_reference(reference), architecture=Architecture.X86_64, output=Path(output),
    as_format=None if form == "plain" else DiskFormat(form),
)
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    return raw_disk(tmp_path_factory.mktemp("disk") / "d.raw", data_mib=3, size_mib=16)


@pytest.fixture
def registry(disk):
    with SimulatedRegistry() as server:
        push(parse_reference(f"{server.host}/m:frames"), [DiskSource(disk, X86)], level=1)
        packed = subprocess.check_output(["zstd", "-qc", disk])
        publish_blob(server, "m", "zstd", packed, "d.x86_64.applehv.raw.zst", "applehv")
        publish_blob(server, "m", "bare", disk.read_bytes(), "d.x86_64.applehv.raw", "applehv")
        yield server


def died(registry, tag, out, form, step, when) -> bool:
    """Pull in another process that ends without a word at a step; whether it came there."""
    argv = [sys.executable, "-c", VICTIM, str(SOURCE), f"{registry.host}/m:{tag}", str(out), form, step, when]
    return subprocess.run(argv, check=False, stderr=subprocess.DEVNULL, timeout=60).returncode == 9


STEPS = [(step, when) for step in ("remember", "publish", "convert", "discard") for when in ("before", "after")]


@pytest.mark.parametrize("form", ["plain", pytest.param("qcow2", marks=[pytest.mark.tools, needs("qemu-img")])])
@pytest.mark.parametrize("tag", ["frames", "zstd", "bare"])
def test_who_dies_at_the_last_steps_has_nothing_to_fetch_again(registry, tmp_path, disk, tag, form):
    as_format = None if form == "plain" else DiskFormat.QCOW2
    came_there = 0
    for step, when in STEPS:
        folder = tmp_path / f"{step}-{when}"
        folder.mkdir()
        out = folder / "out"
        if not died(registry, tag, out, form, step, when):
            continue
        came_there += 1
        result = pull(parse_reference(f"{registry.host}/m:{tag}"), architecture=X86, output=out, as_format=as_format)
        assert result.moved.fetched == result.moved.index, (step, when)
        assert leftovers(folder) == [], (step, when)
        if as_format is None:
            assert sha256(out) == sha256(disk)
        else:
            compare = ["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", disk, out]
            subprocess.run(compare, check=True)
    assert came_there >= 2, "a step that is never reached tests nothing"

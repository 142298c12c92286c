"""Without numpy: a first push and a whole pull do the same, and what needs it is refused or done without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.disks import noise

if TYPE_CHECKING:
    from pathlib import Path

BLOCKED = """
import sys
sys.modules["numpy"] = None
from haulout.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
FORBIDDEN = """
import sys
from haulout.cli.main import main
code = main(sys.argv[1:])
assert "numpy" not in sys.modules, "it was loaded"
sys.exit(code)
"""


def haulout(code: str, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def done(code: str, folder: Path, *arguments: object) -> dict[str, Any]:
    ended = haulout(code, folder, *arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    printed: dict[str, Any] = json.loads(ended.stdout)
    return printed


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.write(bytes(510) + b"\x55\xaa" + noise("a disk", 3_000_000))
        file.seek(9 << 20)
        file.write(noise("more", 100_000) + bytes(300_000) + noise("the end", 896))
    return path


def blobs(layout: Path) -> set[str]:
    return {path.name for path in (layout / "blobs" / "sha256").iterdir()}


def test_a_first_push_neither_loads_nor_needs_numpy_and_makes_the_same_bytes(disk, tmp_path):
    for name, code in (("without", BLOCKED), ("with", FORBIDDEN)):
        done(code, tmp_path, "push", f"oci:{tmp_path / name}:1", "--disk", f"x86_64/raw={disk}", "--title", "d")
    assert blobs(tmp_path / "without") == blobs(tmp_path / "with")
    assert len(blobs(tmp_path / "with")) >= 5, "the disk, its table, its hints, and manifests"


def test_resolve_and_inspect_load_no_numpy(disk, tmp_path):
    reference = f"oci:{tmp_path / 'l'}:1"
    done(FORBIDDEN, tmp_path, "push", reference, "--disk", f"x86_64/raw={disk}")
    for code in (BLOCKED, FORBIDDEN):
        assert done(code, tmp_path, "resolve", reference, "--arch", "x86_64")
        assert done(code, tmp_path, "inspect", reference)


def test_a_push_that_finds_a_base_by_itself_does_without_it(disk, tmp_path):
    reference = f"oci:{tmp_path / 'l'}:1"
    done(BLOCKED, tmp_path, "push", reference, "--disk", f"x86_64/raw={disk}")
    with disk.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"changed")
    ended = haulout(BLOCKED, tmp_path, "push", reference, "--disk", f"x86_64/raw={disk}", "--json")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("haulout[deltas]") == 1
    assert json.loads(ended.stdout)["disks"][0]["base"] is None


@pytest.mark.parametrize("option", ["--base", "--delta-from"])
def test_a_push_that_was_asked_for_what_needs_it_is_refused(disk, tmp_path, option):
    reference = f"oci:{tmp_path / 'l'}"
    done(BLOCKED, tmp_path, "push", f"{reference}:1", "--disk", f"x86_64/raw={disk}")
    ended = haulout(
        BLOCKED, tmp_path, "push", f"{reference}:2", "--disk", f"x86_64/raw={disk}", option, f"{reference}:1"
    )
    assert ended.returncode == 11, ended.stderr
    assert "pip install 'haulout[deltas]'" in ended.stderr


def test_a_delta_is_refused(disk, tmp_path):
    reference = f"oci:{tmp_path / 'l'}:1"
    done(BLOCKED, tmp_path, "push", reference, "--disk", f"x86_64/raw={disk}")
    ended = haulout(BLOCKED, tmp_path, "delta", reference, reference)
    assert ended.returncode == 11, ended.stderr
    assert "pip install 'haulout[deltas]'" in ended.stderr


def test_a_whole_pull_neither_loads_nor_needs_it(disk, tmp_path):
    reference = f"oci:{tmp_path / 'l'}:1"
    done(BLOCKED, tmp_path, "push", reference, "--disk", f"x86_64/raw={disk}")
    for name, code, more in (("with", FORBIDDEN, ()), ("without", BLOCKED, ("--no-seeds",))):
        target = tmp_path / name
        pulled = done(code, tmp_path, "pull", reference, "--arch", "x86_64", "--output", target, *more)
        assert pulled["verified"] == "frames"
        assert target.read_bytes() == disk.read_bytes()


def test_a_pull_that_could_reuse_blocks_fetches_them_with_one_note(disk, tmp_path):
    reference = f"oci:{tmp_path / 'l'}:1"
    done(BLOCKED, tmp_path, "push", reference, "--disk", f"x86_64/raw={disk}")
    output = tmp_path / "out"
    ended = haulout(
        BLOCKED, tmp_path, "pull", reference, "--arch", "x86_64", "--seed", disk, "--output", output, "--json"
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("haulout[deltas]") == 1
    assert output.read_bytes() == disk.read_bytes()

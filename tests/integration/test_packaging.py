"""What people install: the wheel in clean environments of each Python, and the sources with their tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.support.disks import raw_disk
from tests.support.sandbox import ROOT

PYTHONS = ("3.11", "3.12", "3.13")
LARGEST_MIB = 60
"""What `pip install haulout` may take, over an empty environment."""
UV = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent)) or ""

pytestmark = pytest.mark.skipif(not UV, reason="not installed: uv")


def run(*argv: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run(
        [os.fspath(each) for each in argv],
        cwd=cwd, env=kept | environment, capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """A folder with the wheel and the sources, built from a copy."""
    folder = tmp_path_factory.mktemp("dist")
    done = run(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def wheel(dist):
    (found,) = dist.glob("haulout-*.whl")
    return found


def installed(place: Path, python: str, *what: str | Path) -> Path:
    """Make an environment with what is named; skip where this Python or the packages cannot be had."""
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = shutil.which(f"python{python}") or next(iter(sorted(versions.glob(f"{python}.*/bin/python"))), None)
    if found is None:
        pytest.skip(f"not installed: Python {python}")
    done = run(found, "-m", "venv", "--without-pip", place)
    assert done.returncode == 0, done.stderr
    done = run(UV, "pip", "install", "-q", "--system-certs", "--python", place / "bin/python", *what)
    if done.returncode and "error sending request" in done.stderr:
        pytest.skip("PyPI cannot be reached")
    assert done.returncode == 0, done.stderr
    return place


def mib(place: Path) -> float:
    return sum(path.lstat().st_size for path in place.rglob("*") if path.is_file()) / (1 << 20)


@pytest.mark.parametrize("python", PYTHONS)
def test_the_wheel_works_in_a_clean_environment(wheel, tmp_path, python):
    place = installed(tmp_path / "venv", python, wheel)
    raw_disk(tmp_path / "disk.raw", data_mib=1, size_mib=4)
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    haulout = place / "bin/haulout"
    for argv in (
        ("push", "oci:machines:5.0", "disk.raw"),
        ("pull", "oci:machines:5.0", "--type", "raw", "-o", "again.raw"),
        ("inspect", "again.raw"),
        ("pull", "--help"),
    ):
        done = run(haulout, *argv, cwd=tmp_path, **home)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        assert "Traceback" not in done.stderr
    assert (tmp_path / "again.raw").read_bytes() == (tmp_path / "disk.raw").read_bytes()


def test_the_wheel_installs_manuals_completion_and_little_else(wheel, tmp_path):
    empty = run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "empty")
    assert empty.returncode == 0
    place = installed(tmp_path / "venv", "3.11", wheel)
    for name in (
        "man/man1/haulout-pull.1",
        "bash-completion/completions/haulout",
        "zsh/site-functions/_haulout",
        "fish/vendor_completions.d/haulout.fish",
        "doc/haulout/json.md",
    ):
        assert (place / "share" / name).is_file(), name
    assert mib(place) - mib(tmp_path / "empty") <= LARGEST_MIB


def test_the_wheel_holds_the_whole_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith("dist-info/METADATA"))
        text = archive.read(metadata).decode()
    assert "haulout/py.typed" in names
    modules = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src/haulout").rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}
    assert not [name for name in names if "test" in name.split("/")[0]]
    for label in ("Homepage", "Documentation", "Changelog", "Issues"):
        assert f"Project-URL: {label}, https://" in text


def test_the_sources_hold_what_it_takes_to_test_them(dist):
    (found,) = dist.glob("haulout-*.tar.gz")
    with tarfile.open(found) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in (
        "Makefile",
        "tools/make-venv",
        "requirements/dev.txt",
        "tests/conftest.py",
        "demo/demo.py",
        "SECURITY.md",
    ):
        assert name in names, name
    assert len([name for name in names if name.startswith("tests/unit/")]) > 40


def test_the_containerfile_names_what_is_there():
    """Building it takes a base image; here it is only read."""
    text = (ROOT / "Containerfile").read_text()
    assert "/src[deltas,confidential]" in text
    assert 'ENTRYPOINT ["haulout"]' in text

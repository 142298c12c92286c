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
from tests.support.servers import needs

PYTHONS = ("3.11", "3.12", "3.13")
LARGEST_MIB = 60
"""What `pip install haulout` may take, over an empty environment."""
UV = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent)) or ""

pytestmark = pytest.mark.skipif(not UV, reason="not installed: uv")


def run(
    *argv: str | Path, cwd: Path | None = None, seconds: float = 170, **environment: str
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run(
        [os.fspath(each) for each in argv],
        cwd=cwd, env=kept | environment, capture_output=True, text=True, timeout=seconds, check=False,
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
    # A shim of pyenv may be on the path without that version being active.
    found = next(iter(sorted(versions.glob(f"{python}.*/bin/python"))), None) or shutil.which(f"python{python}")
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
    haulout = place / "bin/haulout"
    for argv in (
        ("push", "oci:machines:5.0", "disk.raw"),
        ("pull", "oci:machines:5.0", "--type", "raw", "-o", "again.raw"),
        ("inspect", "again.raw"),
        ("pull", "--help"),
    ):
        done = run(haulout, *argv, cwd=tmp_path, HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
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


@pytest.mark.tools
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif("HAULOUT_TEST_CONTAINER" not in os.environ, reason="takes minutes: make container-test")
@pytest.mark.skipif(os.geteuid() != 0, reason="building an image in a chroot needs root")
@needs("buildah", "mmdebstrap")
def test_the_container_image_builds_and_runs(tmp_path):
    mirror = next((line for line in _debian_sources() if line), None)
    if mirror is None:
        pytest.skip("no Debian mirror is configured here")
    chosen = ("--variant=minbase", "--include=python3,ca-certificates")
    done = run(
        "mmdebstrap", "--quiet", *chosen, "bookworm", tmp_path / "base.tar", f"deb {mirror} bookworm main", seconds=400
    )
    if done.returncode:
        pytest.skip(f"Debian's packages cannot be had: {done.stderr[-200:]}")
    (tmp_path / "Base").write_text("FROM scratch\nADD base.tar /\n")
    storage = ("--root", tmp_path / "root", "--runroot", tmp_path / "runroot", "--storage-driver", "vfs")
    build = ("buildah", *storage, "bud", "--isolation", "chroot", "--network", "host")
    certificates = ("--volume", "/etc/ssl/certs:/etc/ssl/certs:ro")
    assert run(*build, "-q", "-f", tmp_path / "Base", "-t", "base", tmp_path).returncode == 0
    done = run(*build, *certificates, "--build-arg", "BASE=localhost/base", "-t", "haulout", ROOT, seconds=400)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    container = run("buildah", *storage, "from", "localhost/haulout").stdout.strip()
    script = (
        "haulout --version && qemu-img --version && git --version && cd /tmp && truncate -s 1M disk.raw && "
        "printf '\\125\\252' | dd of=disk.raw bs=1 seek=510 conv=notrunc status=none && haulout push oci:m:1 disk.raw --also qemu && "
        "haulout pull oci:m:1 --type raw -o again.raw && cmp disk.raw again.raw"
    )
    done = run("buildah", *storage, "run", "--isolation", "chroot", container, "--", "sh", "-c", script)
    assert done.returncode == 0, done.stdout + done.stderr


def _debian_sources() -> list[str]:
    path = Path("/etc/apt/sources.list.d/debian.sources")
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.removeprefix("URIs:").split()[0] for line in lines if line.startswith("URIs:")]

"""The command line and the library where Python lacks what Linux has: macOS works, Windows says that it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.support import platforms
from tests.support.disks import raw_disk, sha256
from tests.support.servers import docker_registry, needs

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
COMMAND = "import sys; from haulout.cli.main import main; sys.exit(main())"


class Elsewhere:
    """A machine of another system, with a home of its own."""

    def __init__(self, platform: str, place: Path) -> None:
        self.platform = platform
        self.place = place
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "HAULOUT"))},
            "HOME": str(place),
        }

    def python(self, script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script."""
        argv = [sys.executable, platforms.__file__, self.platform, script, *map(str, arguments)]
        return subprocess.run(
            argv,
            cwd=self.place,
            env=self.environment | environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def haulout(self, *arguments: object) -> dict[str, object]:
        """Run a command line that works, and return its JSON."""
        done = self.python(COMMAND, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def mac(tmp_path):
    return Elsewhere("darwin", tmp_path)


@pytest.fixture(params=["layout", pytest.param("registry", marks=[pytest.mark.tools, needs("docker-registry")])])
def repository(request, tmp_path):
    """Where disks are pushed to, as a reference begins."""
    if request.param == "layout":
        yield "oci:machines"
        return
    (tmp_path / "registry").mkdir()
    with docker_registry(tmp_path / "registry") as server:
        yield f"{server.host}/machines"


@pytest.fixture
def disk(tmp_path):
    return raw_disk(tmp_path / "disk.raw", data_mib=3, size_mib=16)


def test_a_disk_goes_out_and_comes_back_on_macos(mac, repository, disk):
    pushed = mac.haulout("push", f"{repository}:1", disk, "--arch", "aarch64")
    assert pushed["disks"][0]["status"] == "pushed"
    assert mac.haulout("push", f"{repository}:1", disk, "--arch", "aarch64")["disks"][0]["status"] == "present"
    wanted = (f"{repository}:1", "--arch", "aarch64", "-o", "out.raw")
    assert mac.haulout("pull", *wanted)["status"] == "pulled"
    assert sha256(mac.place / "out.raw") == sha256(disk)
    assert mac.haulout("pull", *wanted)["status"] == "present"
    assert mac.haulout("resolve", f"{repository}:1", "--arch", "aarch64")["disk_type"] == "applehv"
    assert mac.haulout("inspect", f"{repository}:1")["shape"] == "index"


def test_an_interrupted_pull_resumes_on_macos(mac, repository, disk):
    blob = mac.haulout("push", f"{repository}:1", disk, "--arch", "aarch64")["disks"][0]["blob"]["size"]
    wanted = ("pull", f"{repository}:1", "--arch", "aarch64", "-o", "out.raw", "--no-seeds", "--jobs", "1")
    assert mac.python(COMMAND, *wanted, PWRITES="8").returncode == 9
    assert not (mac.place / "out.raw").exists()
    again = mac.haulout(*wanted)
    assert sha256(mac.place / "out.raw") == sha256(disk)
    assert again["fetched"] < blob


def test_an_update_fetches_what_changed_on_macos(mac, repository, disk):
    mac.haulout("push", f"{repository}:1", disk, "--arch", "aarch64")
    mac.haulout("pull", f"{repository}:1", "--arch", "aarch64", "-o", "machine.raw")
    with disk.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(os.urandom(MIB // 8))
    pushed = mac.haulout("push", f"{repository}:2", disk, "--arch", "aarch64", "--delta-from", f"{repository}:1")
    update = mac.haulout("pull", f"{repository}:2", "--arch", "aarch64", "-o", "machine.raw")
    assert sha256(mac.place / "machine.raw") == sha256(disk)
    assert update["fetched"] < pushed["disks"][0]["blob"]["size"] // 2
    seeded = mac.haulout("pull", f"{repository}:1", "--arch", "aarch64", "-o", "old.raw", "--seed", "machine.raw")
    assert seeded["fetched"] < pushed["disks"][0]["blob"]["size"] // 2


@pytest.mark.tools
@pytest.mark.parametrize("form", ["qcow2", "vmdk"])
@needs("qemu-img")
def test_a_disk_is_converted_on_macos(mac, disk, form):
    mac.haulout("push", "oci:machines:1", disk, "--arch", "aarch64")
    mac.haulout("pull", "oci:machines:1", "--arch", "aarch64", "--as", form, "-o", f"out.{form}")
    found = mac.haulout("inspect", f"out.{form}")
    assert (found["format"], found["virtual_size"]) == (form, 16 * MIB)
    mac.haulout("push", "oci:machines:2", disk, "--arch", "aarch64", "--also", "qemu")


LIBRARY = """
import sys
from pathlib import Path

import haulout

disk, reference = Path(sys.argv[1]), haulout.parse_reference(sys.argv[2])
arm = haulout.Architecture.parse("arm64")
pushed = haulout.push(reference, [haulout.DiskSource(disk, arm)])
assert pushed.disks[0].status == "pushed"
pulled = haulout.pull(reference, architecture=arm, output=Path("out.raw"))
assert pulled.status == "pulled", pulled
assert haulout.resolve(reference, architecture=arm).disk_type == "applehv"
assert haulout.inspect("out.raw").safe
assert len(haulout.inventory(reference).disks) == 1
"""


def test_the_library_works_on_macos(mac, disk):
    done = mac.python(LIBRARY, disk, "oci:machines:1")
    assert done.returncode == 0, done.stderr
    assert sha256(mac.place / "out.raw") == sha256(disk)


@pytest.mark.parametrize("arguments", [[], ["--version"], ["pull", "oci:machines:1"]])
def test_windows_gets_one_plain_line(tmp_path, arguments):
    done = Elsewhere("win32", tmp_path).python(COMMAND, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "haulout: Windows is not supported; run haulout in WSL (wsl --install)\n"


def test_windows_gets_the_same_as_json(tmp_path):
    done = Elsewhere("win32", tmp_path).python(COMMAND, "pull", "oci:machines:1", "--json")
    assert json.loads(done.stdout)["error"]["exit_code"] == done.returncode == 2


def test_the_module_can_be_imported_on_windows(tmp_path):
    done = Elsewhere("win32", tmp_path).python("import haulout; print(haulout.__version__, *dir(haulout))")
    assert done.returncode == 0, done.stderr
    assert "pull" in done.stdout

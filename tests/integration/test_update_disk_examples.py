"""The hooks in examples/update-disk: real QEMU and real libvirt get a new disk, and the old one back if it does not boot."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.support.machines import short_folder
from tests.support.sandbox import BOOTED, ROOT, raw_disk, sandbox
from tests.support.servers import needs

from haulout import Architecture, DiskSource, push

HOOKS = ROOT / "examples/update-disk"
HEALTHY = f"for try in $(seq 600); do grep -q '{BOOTED.decode()}' console && exit; sleep 0.1; done; exit 1"
NOT_HEALTHY = HEALTHY.replace("600", "20")
"""The wait for a system that never comes up."""
pytestmark = pytest.mark.tools


@pytest.fixture
def place(tmp_path):
    """Version 1 boots and greets, 2 does not boot, 3 is fixed; ``vm`` runs 1."""
    with sandbox(tmp_path, registry=False) as made:
        disks = {1: raw_disk(made.path / "1.raw", 1), 2: made.path / "2.raw", 3: made.path / "3.raw"}
        data = bytearray(disks[1].read_bytes())
        data[1 << 20 : (1 << 20) + 100] = bytes(100)
        disks[3].write_bytes(data)
        data[0] = 0xF4
        disks[2].write_bytes(data)
        for number, disk in disks.items():
            push(f"oci:{made.path}/m:{number}", [DiskSource(disk, Architecture.X86_64)], level=1)
        vm = made.path / "vm"
        vm.mkdir()
        (vm / "1.raw").write_bytes(disks[1].read_bytes())
        yield made


def update(place, hook, version, old, **environment):
    vm = place.path / "vm"
    (vm / "console").unlink(missing_ok=True)
    return place.haulout(
        *("update-disk", old, f"oci:m:{version}", "-o", str(vm), "--arch", "x86_64"),
        *("--hook", str(HOOKS / hook), "--json"),
        **environment,
    )


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@needs("qemu-system-x86_64")
def test_a_plain_qemu_script_gets_the_new_disk_or_keeps_the_old(place):
    vm = place.path / "vm"
    (vm / "disk").symlink_to(vm / "1.raw")
    program(
        vm / "start",
        "rm -f console; exec qemu-system-x86_64 -M pc,accel=tcg -m 64 -display none -nodefaults "
        "-drive file=disk,format=raw,if=ide -serial file:console -daemonize -pidfile pid",
    )
    program(
        vm / "stop",
        "[ ! -e pid ] || kill $(cat pid) || true; while [ -e pid ] && kill -0 $(cat pid) 2>/dev/null; do sleep 0.1; done; rm -f pid",
    )
    program(vm / "healthy", NOT_HEALTHY)
    try:
        bad = update(place, "qemu-hook", 2, "vm/disk", VM=str(vm))
        assert (bad.code, bad.json["error"]["kind"]) == (11, "HookFailed"), bad.err
        assert (vm / "disk").readlink() == vm / "1.raw"
        assert sorted(each.name for each in vm.glob("*.raw")) == ["1.raw"]
        refused = update(place, "qemu-hook", 2, "vm/disk", VM=str(vm))
        assert "did not come up before" in refused.json["error"]["message"]
        program(vm / "healthy", HEALTHY)
        good = update(place, "qemu-hook", 3, "vm/disk", VM=str(vm))
        assert (good.code, good.json["status"]) == (0, "staged"), good.err
        assert (vm / "disk").resolve() == Path(place.path / good.json["path"]).resolve()
        assert (vm / "current").read_text().strip() == good.json["manifest"]
        same = place.shell('haulout update-disk vm/disk oci:m:3 -o vm --arch x86_64 --current "$(cat vm/current)"')
        assert same.code == 1, same.err
    finally:
        subprocess.run([vm / "stop"], cwd=vm, check=False)


DOMAIN = """\
<domain type='qemu'>
  <name>web</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{vm}/1.raw'/>
      <target dev='hda' bus='ide'/>
    </disk>
    <serial type='file'><source path='{vm}/console'/></serial>
  </devices>
</domain>
"""


@contextmanager
def session_libvirt():
    """Run libvirt's daemon of a user's session, with a home and a runtime folder of its own; yield its environment."""
    with short_folder() as home:
        environment = {"XDG_RUNTIME_DIR": str(home), "HOME": str(home)}
        environment["LIBVIRT_DEFAULT_URI"] = f"qemu+unix:///session?socket={home}/libvirt/libvirt-sock"
        environment |= {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "CACHE", "DATA")}
        with (home / "log").open("wb") as log:
            # That of root would be the host's: here it is another user's, to whom root's files belong.
            as_user = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
            daemon = subprocess.Popen(
                [*as_user, "libvirtd", "--config", "/dev/null"], env=os.environ | environment, stdout=log, stderr=log
            )
        try:
            deadline = time.monotonic() + 120
            while not (home / "libvirt/libvirt-sock").exists():
                assert daemon.poll() is None, (home / "log").read_text()
                assert time.monotonic() < deadline, (home / "log").read_text()
                time.sleep(0.1)
            yield environment
        finally:
            daemon.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(30)
            daemon.kill()
            daemon.wait()


@pytest.mark.skipif(
    not os.environ.get("HAULOUT_TEST_LIBVIRT"),
    reason="takes half a minute: HAULOUT_TEST_LIBVIRT=1, or make test-libvirt",
)
@needs("qemu-system-x86_64", "virsh", "libvirtd")
def test_a_domain_of_libvirt_gets_the_new_disk_or_the_old_one_back(place):
    vm = place.path / "vm"
    (vm / "domain.xml").write_text(DOMAIN.format(vm=vm))
    with session_libvirt() as environment:

        def virsh(*arguments):
            done = subprocess.run(
                ["virsh", *arguments],
                env=os.environ | environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        def disk():
            return virsh("domblklist", "web", "--inactive", "--details").split()[-1]

        mine = {"DOMAIN": "web", "STATE": str(vm), "GRACE": "0", **environment}
        mine.pop("HOME")
        virsh("define", str(vm / "domain.xml"))
        virsh("start", "web")
        try:
            bad = update(place, "libvirt-hook", 2, "vm/1.raw", HEALTHY=f"cd {vm}; {NOT_HEALTHY}", **mine)
            assert (bad.code, bad.json["error"]["kind"]) == (11, "HookFailed"), bad.err + bad.out
            assert disk() == str(vm / "1.raw")
            assert sorted(each.name for each in vm.glob("*.raw")) == ["1.raw"]
            refused = update(place, "libvirt-hook", 2, "vm/1.raw", HEALTHY="true", **mine)
            assert "did not come up before" in refused.json["error"]["message"]
            good = update(place, "libvirt-hook", 3, "vm/1.raw", HEALTHY=f"cd {vm}; {HEALTHY}", **mine)
            assert (good.code, good.json["status"]) == (0, "staged"), good.err
            assert disk() == str(Path(place.path / good.json["path"]))
        finally:
            subprocess.run(["virsh", "destroy", "web"], env=os.environ | environment, capture_output=True, check=False)

"""Mounts for real: odd names, read-only, again after a reboot, and folders that are gone."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from tests.support.machines import listed, machines, processes, supervisor, until, vm

pytestmark = [pytest.mark.tools, pytest.mark.slow, pytest.mark.timeout(900)]


def kill(pids):
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.long
@pytest.mark.skipif(not Path("/usr/lib/qemu/virtiofsd").exists(), reason="not installed: virtiofsd")
@pytest.mark.skipif(os.geteuid() != 0, reason="the virtiofsd of Debian 12 writes as root for root alone")
def test_mounts_are_what_was_asked_for_and_stay_it(tmp_path):
    with machines(tmp_path) as place:
        odd, kept = place.path / "a b,c", place.path / "kept"
        odd.mkdir()
        kept.mkdir()
        (kept / "f").write_text("from the host\n")
        options = ("--cpus", "1", "--memory", "256", "--disk", "1")
        made = place.haulout(
            *("machine", "init", "web", "oci:machines:5.0", *options),
            *("--mount", f"{odd}:/mnt/a b", "--mount", f"{kept}:/mnt/kept:ro"),
        )
        assert made.code == 0, made.err

        def root(script):
            return place.haulout("machine", "ssh", "web", "--user", "root", "--", "sh", "-c", script)

        assert place.haulout("machine", "start", "web", "--no-connect").code == 0
        assert root("echo from the guest >'/mnt/a b/f'").code == 0
        assert (odd / "f").read_text() == "from the guest\n"
        # The host keeps it read-only, whatever the guest's root says.
        assert root("cat /mnt/kept/f; mount -o remount,rw /mnt/kept; rm /mnt/kept/f").out == "from the host\n"
        assert (kept / "f").exists()

        # A guest that reboots by itself has them again.
        boot = "/proc/sys/kernel/random/boot_id"
        before = root(f"cat {boot}").out
        assert before
        # Its answer may be lost: the guest ends.
        root("reboot")
        mounted = "cut -d' ' -f1,3 /proc/mounts | grep virtiofs"
        until(lambda: root(f"[ $(cat {boot}) != {before.strip()} ] && {mounted}").out.count("virtiofs") == 2, 150)

        # A mount whose server dies hangs in the guest: that is told, also by a supervisor that did not start it.
        until(lambda: listed(place)["web"]["state"] == "running", 60)
        kill(processes(rf"virtiofsd .*source={kept}"))
        until(lambda: listed(place)["web"]["state"] == "degraded", 60)
        told = f"the mount of {kept} hangs: virtiofsd was killed by signal 9 (SIGKILL)"
        assert (listed(place)["web"]["lost"], vm(place, "web") != []) == ([told], True)
        assert told in place.haulout("machine", "list").out
        last = place.haulout("machine", "events", "web", "--json").out.splitlines()[-1]
        assert (json.loads(last)["kind"], json.loads(last)["data"]) == ("degraded", {"lost": [told]})
        kill(supervisor(place, "web"))
        until(lambda: listed(place)["web"]["state"] == "unattended", 60)
        assert place.haulout("machine", "start", "web", "--no-connect").code == 0
        until(lambda: listed(place)["web"]["lost"] == ["mount 2 hangs: virtiofsd ended"], 60)
        kill(processes(rf"virtiofsd .*source={str(odd).replace(',', '.*')}"))
        until(lambda: len(listed(place)["web"]["lost"]) == 2, 60)

        assert place.haulout("machine", "stop", "web", "--wait", "0").code == 0
        (odd / "f").unlink()
        odd.rmdir()
        gone = place.haulout("machine", "start", "web", "--no-connect")
        assert gone.code != 0
        assert "is a mount of the machine, but not a directory on this host" in gone.err

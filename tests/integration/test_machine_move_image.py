"""The real machine image moved: volumes of both users, what exports send, and space that comes back. ``make test-machines``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.disks import MIB
from tests.support.machines import short_folder
from tests.support.sandbox import sandbox
from tests.support.servers import needs

# Commands run in another folder.
IMAGE = str(Path(os.environ.get("HAULOUT_TEST_MACHINE_IMAGE", "none")).resolve())
pytestmark = [
    pytest.mark.tools,
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not Path(IMAGE).is_file(), reason="takes minutes: make test-machines"),
]
USERS = {"podman": "core", "podman-root": "root"}
MOUNTPOINT = "$(podman volume inspect -f '{{.Mountpoint}}' kept)"


@needs("podman", "qemu-system-x86_64")
def test_volumes_of_both_users_survive_export_and_import(tmp_path):
    with short_folder() as runtime, sandbox(tmp_path) as place:
        place.environment.update(XDG_RUNTIME_DIR=str(runtime), XDG_DATA_HOME=str(tmp_path / "data"))
        data = tmp_path / "data/haulout/machines/web/data.raw"

        def run(*argv):
            done = subprocess.run(
                argv, cwd=place.path, env=place.environment, capture_output=True, text=True, timeout=900, check=False
            )
            assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
            return done.stdout

        def machine(*words):
            return run("haulout", "machine", *words)

        def in_guest(user, script):
            return machine("ssh", "web", "--user", user, "--", "sh", "-c", script)

        def export():
            done = json.loads(machine("export", "web", "oci:backup:web", "--json"))
            facts = ("data_size", "data_content", "chunks", "sent_chunks", "sent_bytes", "seconds")
            sys.stdout.write(f"export: { {name: done[name] for name in facts} }\n")
            return done

        try:
            run("haulout", "push", "oci:machines:5.0", IMAGE, "--level", "1", "--arch", "x86_64", "--type", "qemu")
            machine("init", "web", "oci:machines:5.0", "--disk", "20", "--memory", "1024")
            machine("start", "web", "--wait", "900")
            for user in USERS.values():
                in_guest(user, f"podman volume create kept; echo of {user} >{MOUNTPOINT}/file")
            # A guest that passes over its power button, and is exported while it runs.
            folder = "/etc/systemd/logind.conf.d"
            ignore = f"mkdir {folder}; echo '[Login]\nHandlePowerKey=ignore' >{folder}/key.conf"
            in_guest("root", f"{ignore}; systemctl restart systemd-logind")
            machine("export", "web", "oci:running:web")
            machine("import", "oci:running:web", "early")
            early = tmp_path / "data/haulout/machines/early/data.raw"
            assert "needs_recovery" not in run("dumpe2fs", "-h", early), "its file systems were at rest"
            machine("rm", "early", "--data")
            in_guest("root", "head -c 32000000 /dev/urandom >/var/lib/data/part; sync; fstrim /var/lib/data")
            before = data.stat().st_blocks * 512
            in_guest("root", "cd /var/lib/data; for n in $(seq 64); do cat part; done >big; sync; rm big")
            assert "the guest shut down" in machine("stop", "web"), "its agent was asked, too"
            after = data.stat().st_blocks * 512
            sys.stdout.write(
                f"2 GB written and deleted: {before / MIB:.1f} MiB before, {after / MIB:.1f} after the stop\n"
            )
            assert after <= before * 1.05
            first = export()
            assert first["sent_bytes"] < before
            machine("rm", "web", "--data")
            machine("import", "oci:backup:web")
            machine("start", "web", "--wait", "900")
            for socket, user in USERS.items():
                url = f"unix://{runtime}/haulout/web/{socket}.sock"
                assert run("podman", "--remote", "--url", url, "volume", "ls", "-q").split() == ["kept"]
                assert in_guest(user, f"cat {MOUNTPOINT}/file") == f"of {user}\n"
            in_guest("core", f"echo little >>{MOUNTPOINT}/file")
            machine("stop", "web")
            second = export()
            assert second["sent_bytes"] < first["sent_bytes"] / 4
        finally:
            place.haulout("machine", "stop", "web", "--wait", "0")

"""The machine image updated under load, with podman itself; minutes, by ``make test-machines``."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from demo.box import NAME, write_box
from tests.support.machines import short_folder
from tests.support.sandbox import sandbox
from tests.support.servers import needs

IMAGE = os.environ.get("HAULOUT_TEST_MACHINE_IMAGE", "")
SECONDS = 900
pytestmark = [
    pytest.mark.tools,
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not Path(IMAGE).is_file(), reason="takes minutes: make test-machines"),
]
SOCKETS = ("podman", "podman-root")


@needs("podman", "qemu-system-x86_64", "busybox")
def test_an_update_under_load_loses_no_container_and_no_line_that_was_synced(tmp_path):
    with short_folder() as runtime, sandbox(tmp_path) as place:
        place.environment.update(XDG_RUNTIME_DIR=str(runtime), XDG_DATA_HOME=str(tmp_path / "data"))

        def run(command, code=0):
            done = subprocess.run(
                ["bash", "-c", command], cwd=place.path, env=place.environment, capture_output=True, text=True,
                timeout=SECONDS, check=False,
            )  # fmt: skip
            assert done.returncode == code, f"{command}\n{done.stdout}{done.stderr}"
            return done.stdout.strip()

        def podman(socket):
            return f"podman --remote --url unix://{runtime}/haulout/web/{socket}.sock"

        def names(socket):
            return sorted(run(f"{podman(socket)} ps --format '{{{{.Names}}}}'").split())

        write_box(place.path / "box.tar")
        push = f"haulout push oci:machines:5.0 {Path(IMAGE).resolve()} --arch x86_64 --type qemu"
        run(push)
        run("haulout machine init web oci:machines:5.0 --cpus 2 --memory 1024 --disk 4")
        # Without acceleration, on a busy host.
        file = tmp_path / "data/haulout/machines/web/machine.json"
        file.write_text(file.read_text().replace('"health_seconds": 300', f'"health_seconds": {SECONDS - 100}'))
        try:
            run(f"haulout machine start web --no-connect --wait {SECONDS - 100}")
            for socket in SOCKETS:
                run(f"{podman(socket)} load -q -i box.tar")
                for name, policy in (("policy", "unless-stopped"), ("plain", "no")):
                    write = "while date +%s >>/v/f && sync; do sleep 1; done"
                    options = f"--name {name} --restart {policy} --network none -v {name}:/v"
                    run(f"{podman(socket)} run -d {options} {NAME} sh -c {shlex.quote(write)}")
                run(f"{podman(socket)} run -d --name stopped --network none {NAME} sleep 100000")
                run(f"{podman(socket)} stop --time 1 stopped")
            # The same disk under another digest: what the gate has to see is the same.
            run(f"{push} --annotation org.opencontainers.image.version=5.0.1")
            lines = {}
            for socket in SOCKETS:
                for name in ("policy", "plain"):
                    lines[socket, name] = run(f"{podman(socket)} exec {name} cat /v/f").split()
            updated = json.loads(run("haulout machine update web --json"))
            assert updated["status"] == "updated"
            sys.stdout.write(f"\ndowntime {updated['downtime']} s, {updated['fetched']} bytes fetched\n")
            for _ in range(2):
                for socket in SOCKETS:
                    assert names(socket) == ["plain", "policy"], "what was stopped by hand stays down"
                    for name in ("policy", "plain"):
                        now = run(f"{podman(socket)} exec {name} cat /v/f").split()
                        assert now[: len(lines[socket, name])] == lines[socket, name]
                        assert len(now) > len(lines[socket, name])
                        lines[socket, name] = now
                run("[ -e back ] || haulout machine rollback web --json >back")
            assert json.loads((place.path / "back").read_text())["status"] == "rolled-back"
        finally:
            run("haulout machine stop web")

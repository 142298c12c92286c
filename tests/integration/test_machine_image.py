"""The machine image (images/machine.py), for real: podman as user and as root, and volumes that stay. ``make test-machines``."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.machines import short_folder
from tests.support.sandbox import sandbox
from tests.support.servers import needs

IMAGE = os.environ.get("HAULOUT_TEST_MACHINE_IMAGE", "")
pytestmark = [
    pytest.mark.tools,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    needs("podman", "docker-registry", "qemu-system-x86_64", "busybox"),
    pytest.mark.skipif(not IMAGE, reason="takes minutes: make test-machines"),
]
SOCKETS = {"podman": "true", "podman-root": "false"}
START_SECONDS = 300


def test_containers_of_both_users_run_and_their_volumes_stay(tmp_path):
    with short_folder() as runtime, sandbox(tmp_path) as place:
        place.environment.update(XDG_RUNTIME_DIR=str(runtime), XDG_DATA_HOME=str(tmp_path / "data"))
        image = shlex.quote(str(Path(IMAGE).resolve()))

        def run(command, seconds=START_SECONDS):
            text = command.replace("registry.example.com", place.host or "")
            argv = ["bash", "-c", text]
            done = subprocess.run(
                argv,
                cwd=place.path,
                env=place.environment,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            return done.stdout

        def podman(socket, words):
            return run(f"podman --remote --url unix://{runtime}/haulout/web/{socket}.sock {words}").strip()

        tree = place.path / "tree/bin"
        tree.mkdir(parents=True)
        shutil.copy("/bin/busybox", tree)
        run("tar -C tree -cf box.tar . && haulout login registry.example.com -u builder --password-stdin <token")
        run(f"haulout push registry.example.com/machines:5.0 {image} --arch x86_64 --type qemu")
        make = "haulout machine init web registry.example.com/machines:5.0 --cpus 1 --memory 1024 --disk 4"
        run(make)
        try:
            run("haulout machine start web --no-connect")
            for socket, rootless in SOCKETS.items():
                info = podman(socket, "info --format '{{.Host.Security.Rootless}} {{.Store.GraphDriverName}}'")
                assert info == f"{rootless} overlay"
                podman(socket, "import -q box.tar localhost/box")
                write = f"/bin/busybox sh -c 'echo by {socket} >/v/f'"
                podman(socket, f"run --rm --network none -v kept:/v localhost/box {write}")
            failed = run("haulout machine ssh web -- systemctl --failed --no-legend")
            assert failed == ""
            run("haulout machine stop web && haulout machine rm web")
            run(make.replace(" --disk 4", ""))
            run("haulout machine start web --no-connect")
            for socket in SOCKETS:
                read = "run --rm --network none -v kept:/v localhost/box /bin/busybox cat /v/f"
                assert podman(socket, read) == f"by {socket}"
        finally:
            run("haulout machine rm web --force --data")

"""The machine image started before its disk is here, and podman run in it while the registry is off; ``make test-machines``."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from demo.box import NAME, write_box
from tests.integration.test_machine_lazy import Registry
from tests.support.machines import listed, short_folder, until
from tests.support.sandbox import sandbox
from tests.support.servers import needs

IMAGE = os.environ.get("HAULOUT_TEST_MACHINE_IMAGE", "")
SECONDS = 1800
OFF_SECONDS = 30.0
pytestmark = [
    pytest.mark.tools,
    pytest.mark.slow,
    pytest.mark.timeout(2 * SECONDS),
    pytest.mark.skipif(not Path(IMAGE).is_file(), reason="takes minutes: make test-machines"),
]


@needs("podman", "qemu-system-x86_64", "busybox", "docker-registry")
def test_podman_runs_a_container_whose_program_is_not_here_while_the_registry_is_off(tmp_path):
    registry = Registry(tmp_path)
    with short_folder() as runtime, sandbox(tmp_path) as place:
        place.environment.update(XDG_RUNTIME_DIR=str(runtime), XDG_DATA_HOME=str(tmp_path / "data"))

        def run(command):
            done = subprocess.run(
                ["bash", "-c", command], cwd=place.path, env=place.environment, capture_output=True, text=True,
                timeout=SECONDS, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

        write_box(place.path / "box.tar")
        reference = f"{registry.host}/machines:5.0"
        run(f"haulout push {reference} {Path(IMAGE).resolve()} --arch x86_64 --type qemu")
        run(f"haulout machine init web {reference} --lazy --cpus 1 --memory 1024 --disk 2")
        file = tmp_path / "data/haulout/machines/web/machine.json"
        file.write_text(file.read_text().replace('"health_seconds": 300', f'"health_seconds": {SECONDS - 100}'))
        try:
            run(f"haulout machine start web --lazy --no-connect --wait {SECONDS - 100}")
            registry.stop()
            off = time.monotonic()
            podman = f"podman --remote --url unix://{runtime}/haulout/web/podman.sock"
            command = f"{podman} load -q -i box.tar && {podman} run --rm --network none {NAME} echo ran"
            with subprocess.Popen(
                ["bash", "-c", command], cwd=place.path, env=place.environment, stdout=subprocess.PIPE, text=True
            ) as container:
                until(lambda: listed(place)["web"]["disk_waits_for"], 240)
                time.sleep(max(0.0, off + OFF_SECONDS - time.monotonic()))
                assert container.poll() is None, "it waits"
                registry.start()
                said = container.communicate(timeout=SECONDS)[0]
            assert (container.returncode, said.splitlines()[-1:]) == (0, ["ran"])
            until(lambda: listed(place)["web"]["disk_missing"] == 0, SECONDS)
            assert listed(place)["web"]["disk_waits_for"] is None
        finally:
            run("haulout machine stop web")
            registry.stop()

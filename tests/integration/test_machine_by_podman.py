"""The machine image as podman machine's own, with podman of Debian sid. ``make test-machines``.

podman machine asks QEMU for KVM, and for nothing else; where that does not work, a program in its place gives QEMU TCG instead.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.support.machines import short_folder
from tests.support.peers import peers
from tests.support.sandbox import sandbox
from tests.support.servers import docker_registry, find, needs

# Commands run in another folder.
IMAGE = str(Path(os.environ.get("HAULOUT_TEST_MACHINE_IMAGE", "none")).resolve())
pytestmark = [
    pytest.mark.tools,
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not Path(IMAGE).is_file(), reason="takes minutes: make test-machines"),
]
QEMU = """#!/bin/bash
words=()
while [ $# -gt 0 ]; do
    case $1 in
    -accel) words+=(-accel tcg,thread=multi); shift ;;
    -cpu) words+=(-cpu max); shift ;;
    *) words+=("$1") ;;
    esac
    shift
done
exec PROGRAM "${words[@]}"
"""


def programs(folder, tools):
    """What podman machine starts: sid's gvproxy, through sid's loader, and QEMU."""
    folder.mkdir()
    for name, text in (
        ("gvproxy", f'#!/bin/sh\nexec {" ".join(tools.program("usr/bin/gvproxy"))} "$@"\n'),
        ("qemu-system-x86_64", QEMU.replace("PROGRAM", str(find("qemu-system-x86_64")))),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


@needs("docker-registry", "qemu-system-x86_64", "qemu-img", "ssh")
def test_podman_machine_makes_and_runs_a_machine_of_it(tmp_path):
    tools = peers()
    # podman machine refuses to run as root.
    user = ["unshare", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
    if user and subprocess.run([*user, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no other user can be had: unshare is not permitted")
    with short_folder() as home, docker_registry(tmp_path) as registry, sandbox(tmp_path) as place:
        reference = f"{registry.url.partition('//')[2]}/machines:12"
        pushed = place.haulout("push", reference, IMAGE, "--level", "1", "--arch", "x86_64", "--type", "qemu")
        assert pushed.code == 0, pushed.err
        for name in ("containers", "data", "run", "tmp"):
            (home / name).mkdir()
        (home / "containers/policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        helpers = [programs(home / "bin", tools), tools.root / "usr/lib/podman", tools.root / "usr/libexec/podman"]
        config = home / "containers/containers.conf"
        config.write_text(
            f"[engine]\nhelper_binaries_dir={json.dumps([str(each) for each in helpers])}\n[machine]\nvolumes=[]\n"
        )
        environment = os.environ | {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "XDG_DATA_HOME": f"{home}/data",
            "XDG_RUNTIME_DIR": f"{home}/run",
            "TMPDIR": f"{home}/tmp",
            "PATH": f"{home}/bin:{os.environ['PATH']}",
            "CONTAINERS_CONF": str(config),
        }

        def podman(*words):
            return subprocess.run(
                [*user, *tools.argv("podman"), *words], env=environment, cwd=home, capture_output=True, text=True,
                timeout=900, check=False,
            )  # fmt: skip

        def told(*words):
            done = podman(*words)
            assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
            return done.stdout.strip()

        options = ("--cpus", "2", "--memory", "1024", "--disk-size", "20")
        told("machine", "init", "--tls-verify=false", "--image", f"docker://{reference}", *options, "peer")
        try:
            started = podman("machine", "start", "peer")
            log = home / "run/podman/gvproxy.log"
            if started.returncode and "setupProxy failed: timeout" in log.read_text():
                pytest.skip("gvproxy waits a minute and a half for ssh, and this host boots the image more slowly")
            assert started.returncode == 0, started.stderr
            assert told("machine", "ssh", "peer", "systemctl is-system-running") == "running"
            for connection, rootless in (("peer", "true"), ("peer-root", "false")):
                ask = ("info", "--format", "{{.Host.Security.Rootless}}")
                assert told("--connection", connection, *ask) == rootless
        finally:
            told("machine", "stop", "peer")
        assert '"stopped"' in told("machine", "inspect", "peer")

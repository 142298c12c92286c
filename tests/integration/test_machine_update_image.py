"""The machine image updated under load to one with a package fixed, and to one with another kernel; ``make test-machines``.

The images are built of the same list of packages, but for the versions of two of them: those of Debian's last point
release, and those of its security updates. It takes most of an hour without KVM.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from demo.box import NAME, write_box
from images import machine
from tests.support.machines import short_folder, vm
from tests.support.sandbox import sandbox
from tests.support.servers import needs

IMAGE = os.environ.get("HAULOUT_TEST_MACHINE_IMAGE", "")
SECONDS = 1800
pytestmark = [
    pytest.mark.tools,
    pytest.mark.slow,
    pytest.mark.timeout(3 * 3600),
    pytest.mark.skipif(not Path(IMAGE).is_file(), reason="takes most of an hour: make test-machines"),
]
SOCKETS = ("podman", "podman-root")
LIBRARY, KERNEL = "libssl3", "linux-image-cloud-amd64"
UNITES = "writing what changed since the last update into the data disk"


def depends(package, version):
    """Return the package of the kernel that this one stands for."""
    said = subprocess.run(
        ["apt-cache", "show", f"{package}={version}"], capture_output=True, text=True, check=True
    ).stdout
    return re.findall(r"(?m)^Depends: (linux-image-\S+)", said)[0]


def versions(package):
    """Return the versions of a package that the mirror has, newest first."""
    said = subprocess.run(["apt-cache", "madison", package], capture_output=True, text=True, check=True).stdout
    return list(dict.fromkeys(line.split("|")[1].strip() for line in said.splitlines() if "Packages" in line))


def built():
    """Return the images: with both packages as they were, with one fixed, and as they are now; they are kept beside it."""
    now = dict(line.split("=", 1) for line in Path(IMAGE).with_suffix(".packages").read_text().split())
    kernels, libraries = versions(KERNEL), versions(LIBRARY)
    if len(kernels) < 2 or len(libraries) < 2 or (now[KERNEL], now[LIBRARY]) != (kernels[0], libraries[0]):
        pytest.skip("the mirror has one version of these packages, or the image is older than its updates")
    old_kernel = {KERNEL: kernels[1], depends(KERNEL, kernels[1]): kernels[1]}
    listed = now | old_kernel
    del listed[depends(KERNEL, kernels[0])]
    older = listed | dict.fromkeys((LIBRARY, "openssl"), libraries[1])
    made = []
    for name, wanted in (("old", older), ("fixed", listed)):
        image = Path(IMAGE).resolve().with_name(f"{name}.qcow2")
        names = image.with_suffix(".list")
        text = "".join(f"{package}={version}\n" for package, version in wanted.items())
        if not image.exists() or not names.exists() or names.read_text() != text:
            names.write_text(text)
            machine.main(image, names)
        made.append(image)
    return [*made, Path(IMAGE).resolve()]


@needs("podman", "qemu-system-x86_64", "busybox", "mmdebstrap", "apt-cache")
def test_updates_under_load_lose_no_container_and_no_line_that_was_synced(tmp_path):
    images = built()
    with short_folder() as runtime, sandbox(tmp_path) as place:
        place.environment.update(XDG_RUNTIME_DIR=str(runtime), XDG_DATA_HOME=str(tmp_path / "data"))

        def run(command, code=0):
            done = subprocess.run(
                ["bash", "-c", command], cwd=place.path, env=place.environment, capture_output=True, text=True,
                timeout=SECONDS, check=False,
            )  # fmt: skip
            assert done.returncode == code, f"{command}\n{done.stdout}{done.stderr}"
            return done

        def said(command):
            return run(command).stdout.strip()

        def podman(socket):
            return f"podman --remote --url unix://{runtime}/haulout/web/{socket}.sock"

        def names(socket):
            return sorted(said(f"{podman(socket)} ps --format '{{{{.Names}}}}'").split())

        def inside():
            """Return the versions of library and kernel that the machine runs."""
            script = f"dpkg-query -W -f '${{Version}}' {LIBRARY}; echo; uname -v"
            library, kernel = said(f"haulout machine ssh web -- {shlex.quote(script)}").splitlines()
            return library, re.findall(r"Debian (\S+)", kernel)[0]

        def push(image):
            """Publish another version, and what changed since the one before; return the bytes of that."""
            before = said("haulout resolve oci:machines:5.0 --quiet") if image != images[0] else ""
            run(f"haulout push oci:machines:5.0 {image} --arch x86_64 --type qemu")
            return json.loads(said(f"haulout delta {before} oci:machines:5.0 --json"))["blob"]["size"] if before else 0

        lines: dict[tuple[str, str], list[str]] = {
            (socket, name): [] for socket in SOCKETS for name in ("policy", "plain")
        }

        def check(library, kernel):
            """Check what the machine runs, and that each container goes on where it was."""
            assert inside() == (library, kernel)
            for (socket, name), before in lines.items():
                assert names(socket) == ["plain", "policy"], "what was stopped by hand stays down"
                now = said(f"{podman(socket)} exec {name} cat /v/f").split()
                assert now[: len(before)] == before
                assert len(now) > len(before)
                before[:] = now

        (new_kernel, old_kernel), (fixed, faulty) = versions(KERNEL)[:2], versions(LIBRARY)[:2]
        write_box(place.path / "box.tar")
        push(images[0])
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
            check(faulty, old_kernel)
            for image, kernel in ((images[1], old_kernel), (images[2], new_kernel)):
                delta = push(image)
                done = run("haulout machine update web --json --progress plain")
                updated = json.loads(done.stdout)
                assert updated["status"] == "updated"
                sys.stdout.write(f"\n{image.name}: downtime {updated['downtime']} s, {updated['fetched']} bytes fetched, "
                                 f"delta of {delta}\n{done.stderr}")  # fmt: skip
                assert updated["fetched"] <= delta * 1.01 + 65536
                check(fixed, kernel)
                # What the update before has left to do is done before the machine stops.
                notes = done.stderr
                assert (UNITES in notes) is (image == images[2])
                assert notes.find(UNITES) < notes.index("stopping")
            # A guest that hangs cannot be asked for its containers.
            for pid in vm(place, "web"):
                os.kill(pid, signal.SIGSTOP)
            back = json.loads(said("haulout machine rollback web --json"))
            assert back["status"] == "rolled-back"
            sys.stdout.write(f"\nback: downtime {back['downtime']} s\n")
            check(fixed, old_kernel)
        finally:
            run("haulout machine stop web")

"""The main job on real input: build disks, publish them, pull them, boot them; then a machine with podman."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from box import NAME, write_box
from disks import build_disk, fetch_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

HAULOUT = Path(sys.executable).with_name("haulout")
TREE = Path(__file__).resolve().parents[1]
IMAGE = TREE / "build/machine.qcow2"
NEEDED = {
    "docker-registry": "docker-registry",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "mcopy": "mtools",
    "syslinux": "syslinux syslinux-common",
    "busybox": "busybox-static",
    "cpio": "cpio",
}


def say(text: str) -> None:
    """Print a heading."""
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def show(*argv: str | Path) -> None:
    """Print a command, with short paths."""
    words = (
        str(word).replace(f"{TREE}/", "").replace(os.environ["XDG_RUNTIME_DIR"], "$XDG_RUNTIME_DIR") for word in argv
    )
    print("$ " + " ".join(word if word.startswith("unix:") else shlex.quote(word) for word in words), flush=True)


def haulout(*argv: str | Path) -> dict:
    """Run haulout as a user would, showing the command, and return its JSON."""
    show("haulout", *argv)
    done = subprocess.run([HAULOUT, *argv, "--json", "--progress", "none"], stdout=subprocess.PIPE, check=False)
    result = json.loads(done.stdout or "{}")
    if done.returncode:
        raise SystemExit(f"failed: {result.get('error', {}).get('message', done.returncode)}")
    return result


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Run Debian's docker-registry on a free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "registry.yml"
    config.write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
    )
    log = (folder / "registry.log").open("wb")
    with log, subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log) as server:
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()


def boot(disk: Path) -> tuple[list[str], float, str]:
    """Boot a disk in QEMU until it powers off; return its greeting, the seconds, and how it ran."""
    # /dev/kvm may be there and yet run no guest; only booting shows it.
    for accelerator, patience in (("kvm", 20), ("tcg", 120)):
        if accelerator == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
            continue
        begun = time.monotonic()
        argv = ["qemu-system-x86_64", "-accel", accelerator, "-m", "512", "-nodefaults", "-no-reboot"]
        argv += ["-display", "none", "-serial", "stdio", "-blockdev"]
        argv += [f"driver=qcow2,node-name=disk,file.driver=file,file.filename={disk}", "-device", "ide-hd,drive=disk"]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience, check=False)
        except subprocess.TimeoutExpired:
            continue
        lines = [line.strip() for line in done.stdout.decode(errors="replace").splitlines() if "===" in line]
        if lines:
            return lines, time.monotonic() - begun, accelerator
    raise SystemExit("the machine did not greet")


def spell(size: int) -> str:
    """Spell bytes."""
    return f"{size / 1e6:.1f} MB" if size >= 1_000_000 else f"{size / 1e3:.1f} kB"


def machine_image() -> Path | None:
    """Return the machine image, built unless ``make image`` has; None, saying why, where it cannot be."""
    if missing := [program for program in ("podman", "mmdebstrap", "sfdisk") if shutil.which(program) is None]:
        print(f"  skipped, since there is no {', '.join(missing)} here")
        return None
    if not IMAGE.exists():
        IMAGE.parent.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "images.machine", IMAGE], cwd=TREE, stderr=subprocess.PIPE, check=False
        )
        if done.returncode:
            why = (done.stderr.decode(errors="replace").strip().splitlines() or ["it failed"])[-1]
            print(f"  skipped, since the image cannot be built here: {why[:200]}")
            return None
    print(f"  build/{IMAGE.name}: {spell(IMAGE.stat().st_size)}, its SBOM: build/{IMAGE.stem}.cdx.json")
    return IMAGE


def run_machine(host: str, image: Path) -> None:
    """Publish a machine image, make a machine of it, and run a container through each of its sockets."""
    box = write_box(Path("box.tar"))
    haulout("push", f"{host}/demo/podman:12", image)
    haulout(
        "attach", f"{host}/demo/podman:12", image.with_suffix(".cdx.json"), "--type", "application/vnd.cyclonedx+json"
    )
    say("7. Pull it as a machine, start it (half a minute without KVM), run a container through each of its sockets")
    haulout("machine", "init", "demo", f"{host}/demo/podman:12", "--memory", "1024", "--disk", "5")
    started = time.monotonic()
    try:
        haulout("machine", "start", "demo", "--no-connect")
        print(f"  running, with both sockets, after {time.monotonic() - started:.0f} s")
        for name in ("podman", "podman-root"):
            remote = ["podman", "--remote", "--url", f"unix://{os.environ['XDG_RUNTIME_DIR']}/haulout/demo/{name}.sock"]
            for words in (
                ["load", "-q", "-i", box],
                ["run", "--rm", "--network", "none", NAME, "cat", "/proc/self/uid_map"],
            ):
                show(*remote, *words)
                said = subprocess.run([*remote, *words], capture_output=True, text=True, check=False)
                if said.returncode:
                    raise SystemExit(f"failed: {said.stderr.strip()[-300:]}")
            first = said.stdout.split()
            print(f"  root in this container is user {first[1]} of the machine")
        haulout("machine", "stop", "demo")
    finally:
        subprocess.run([HAULOUT, "machine", "rm", "demo", "--force", "--data"], capture_output=True, check=False)
    print("  stopped, and removed")


def main() -> None:
    """Run every step."""
    missing = sorted({package for tool, package in NEEDED.items() if shutil.which(tool) is None})
    if missing:
        raise SystemExit(f"please install as root: apt-get install --no-install-recommends {' '.join(missing)}")
    begun = time.monotonic()
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="haulout-demo-", dir="/var/tmp")))
        os.chdir(folder)
        runtime = exits.enter_context(tempfile.TemporaryDirectory(prefix="hd-", dir="/tmp"))
        os.environ.update(
            XDG_CACHE_HOME=str(folder / "cache"), XDG_DATA_HOME=str(folder / "data"), XDG_RUNTIME_DIR=runtime
        )
        say("1. Two bootable disks from Debian's kernel and busybox: 5.0, and 5.1 with one fix")
        vmlinuz = fetch_kernel(folder)
        build_disk(folder, "5.0", "machine 5.0 says helo", vmlinuz)
        build_disk(folder, "5.1", "machine 5.1 says hello", vmlinuz)
        for disk in sorted(folder.glob("machine-*.raw")):
            print(f"{disk.name}: {spell(disk.stat().st_size)}, {spell(disk.stat().st_blocks * 512)} of it data")
        with registry(folder) as host:
            say("2. Publish each for two disk types (raw for Apple, qcow2 for QEMU): a layout on disk, and a registry")
            for version in ("5.0", "5.1"):
                for place in (f"oci:machines:{version}", f"{host}/demo/machine:{version}"):
                    result = haulout("push", place, f"machine-{version}.raw", "--title", "machine", "--also", "qemu")
                    for disk in result["disks"]:
                        print(
                            f"  {disk['architecture']}/{disk['disk_type']}: "
                            f"{spell(disk['blob']['size'])} compressed, {disk['status']}"
                        )
            for version in ("5.0", "5.1"):
                first = version == "5.0"
                say(
                    "3. Pull 5.0 for this processor, and boot it"
                    if first
                    else "4. The fix is out: pull 5.1, and boot it"
                )
                started = time.monotonic()
                result = haulout("pull", f"{host}/demo/machine:{version}", "-o", f"machine-{version}.qcow2")
                print(
                    f"  {result['status']} and verified in {time.monotonic() - started:.1f} s: "
                    f"{spell(result['fetched'])} fetched in {result['requests']} requests"
                )
                lines, seconds, how = boot(folder / f"machine-{version}.qcow2")
                for line in lines:
                    print(f"  {line}")
                print(f"  booted with {how} in {seconds:.1f} s")
            say("5. Pull 5.1 again: it is here, so no disk bytes move")
            result = haulout("pull", f"{host}/demo/machine:5.1", "-o", "machine-5.1.qcow2")
            print(f"  {result['status']}: {spell(result['fetched'])} fetched in {result['requests']} requests")
            say("6. A machine image from Debian's packages, with podman: about a minute")
            image = machine_image()
            if image is not None:
                run_machine(host, image)
    say(f"Done in {time.monotonic() - begun:.0f} s.")


if __name__ == "__main__":
    main()

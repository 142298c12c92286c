"""The main job on real input: build two bootable disks, publish them, pull them, boot them."""

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
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from disks import build_disk, fetch_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

HAULOUT = Path(sys.executable).with_name("haulout")
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


def haulout(*argv: str | Path) -> dict:
    """Run haulout as a user would, showing the command, and return its JSON."""
    print("$ haulout " + shlex.join(map(str, argv)), flush=True)
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


def main() -> None:
    """Run every step."""
    missing = sorted({package for tool, package in NEEDED.items() if shutil.which(tool) is None})
    if missing:
        raise SystemExit(f"please install as root: apt-get install --no-install-recommends {' '.join(missing)}")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="haulout-demo-", dir="/var/tmp") as name:
        folder = Path(name)
        os.chdir(folder)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
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
    say(f"Done in {time.monotonic() - begun:.0f} s.")


if __name__ == "__main__":
    main()

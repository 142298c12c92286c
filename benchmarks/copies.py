"""`haulout copy` from registry to registry, beside `oras copy -r`, turn and turn about.

Usage: python benchmarks/copies.py [ROUNDS [MEGABYTES]]. Publishes disks of random bytes with an SBOM, copies them into fresh
repositories of a second registry, and prints medians, their ratio, the bytes and requests that the second registry
took, and the memory. Needs docker-registry and the peers' oras (tests/support/peers.py). Machines are noisy, so look at the ratio.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from tests.support.peers import peers  # noqa: E402 - a script beside the tests
from tests.support.servers import Server, docker_registry  # noqa: E402

HAULOUT = Path(sys.executable).with_name("haulout")
DISKS = (("x86_64", "applehv"), ("x86_64", "qemu"), ("aarch64", "applehv"), ("aarch64", "qemu"))
LIMIT = 0.9


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    megabytes = int(sys.argv[2]) if len(sys.argv) > 2 else 256
    with tempfile.TemporaryDirectory(prefix="haulout-bench-", dir="/var/tmp") as made:
        folder = Path(made)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        oras = peers().argv("oras")
        with docker_registry(folder) as source, docker_registry(folder) as target:
            publish(folder, source, megabytes // len(DISKS))
            reference = f"{source.host}/m:1"
            ways = {
                "haulout": [[str(HAULOUT), "copy", reference, f"{target.host}/h{n}:1", "-q"] for n in range(rounds)],
                "oras": [
                    [*oras, "copy", "-r", "--from-plain-http", "--to-plain-http", reference, f"{target.host}/o{n}:1"]
                    for n in range(rounds)
                ],
            }
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            for n in range(rounds):
                for name in sorted(ways, reverse=bool(n % 2)):
                    before = len(target.accesses())
                    took, peak = run(ways[name][n])
                    seconds[name].append(took)
                    requests = len(target.accesses()) - before
                    print(
                        f"  {name:8} {took:6.2f} s  {requests:4} requests to the target  {peak / 1024:6.1f} MiB resident"
                    )
    ours, theirs = (statistics.median(seconds[name]) for name in ("haulout", "oras"))
    print(f"{megabytes} MB, {rounds} rounds: haulout {ours:.2f} s, oras {theirs:.2f} s")
    print(f"throughput beside oras copy -r: {theirs / ours:.2f} (limit {LIMIT})")
    return 0 if theirs / ours >= LIMIT else 1


def publish(folder: Path, server: Server, megabytes: int) -> None:
    """Push the disks, each of other random bytes, and attach an SBOM."""
    named = []
    for number, (architecture, disk_type) in enumerate(DISKS):
        path = folder / f"{number}.raw"
        with path.open("wb") as file:
            file.write(bytes(510) + b"\x55\xaa")
            for _ in range(megabytes):
                file.write(os.urandom(1 << 20))
            file.truncate((megabytes + 1) << 20)
        if disk_type == "qemu":
            raw, path = path, path.with_suffix(".qcow2")
            subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, path], check=True)
        named += ["--disk", f"{architecture}/{disk_type}={path}"]
    subprocess.run([HAULOUT, "push", f"{server.host}/m:1", *named, "--level", "1", "-q"], check=True)
    sbom = folder / "sbom.json"
    sbom.write_text("{}")
    subprocess.run([HAULOUT, "attach", f"{server.host}/m:1", sbom, "--type", "application/spdx+json", "-q"], check=True)


def run(argv: list[str]) -> tuple[float, int]:
    """Run a command; return its seconds and its peak memory in KiB."""
    began = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    took = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{argv}: {errors.decode()}")
    return took, usage.ru_maxrss


if __name__ == "__main__":
    sys.exit(main())

"""Push and pull beside the tools people use today, in one run: medians, ratios, bytes and requests.

Usage: python benchmarks/transfer.py [DISK]. Without DISK it makes one: 4 GiB, sparse, with 630 MB of this machine's /usr.
Needs docker-registry, skopeo, zstd and curl. Everything is on loopback; machines are noisy, so look at the ratios.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import zstandard

from haulout.frames.seektable import seek_table_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HAULOUT = Path(sys.executable).with_name("haulout")
ROUNDS = int(os.environ.get("ROUNDS", "5"))
LEVEL = 6
DATA = 630_000_000
# Users have compiled modules, from pip; where this is set, each start of ours would compile them anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def make_disk(path: Path) -> Path:
    """Write a sparse 4 GiB disk whose data is what a Debian machine holds: the files below /usr, one after another."""
    with path.open("wb") as disk:
        disk.truncate(4 << 30)
        disk.write(bytes(510) + b"\x55\xaa")
        disk.seek(1 << 20)
        left = DATA
        for file in sorted(Path("/usr").rglob("*")):
            if left <= 0 or not file.is_file() or file.is_symlink():
                continue
            data = file.read_bytes()[:left]
            disk.write(data + bytes(-len(data) % 4096))
            left -= len(data)
    return path


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
    with subprocess.Popen(["docker-registry", "serve", config], stdout=-3, stderr=-3) as server:
        try:
            time.sleep(1)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()


def sh(*argv: object) -> str:
    """Run one command and return its output."""
    return subprocess.run([str(word) for word in argv], check=True, stdout=subprocess.PIPE, text=True).stdout


def alternate(ways: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Run all ways in turn, ROUNDS times after one warm-up, and return the seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, way in ways.items():
            begun = time.monotonic()
            way()
            if number:
                seconds[name].append(time.monotonic() - begun)
    return seconds


def show(title: str, seconds: dict[str, list[float]], ours: str) -> None:
    """Print medians, and ours against the best of the others."""
    print(f"\n{title}")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        print(f"  {name:28} median {medians[name]:6.2f} s   min {min(values):6.2f}   max {max(values):6.2f}")
    best = min((median, name) for name, median in medians.items() if name != ours)
    print(f"  ratio {ours} / {best[1]}: {medians[ours] / best[0]:.2f}")


def floor(blob: Path, out: Path) -> float:
    """Seconds of one processor to decode, hash and write every frame of a blob that is in memory already."""
    data = blob.read_bytes()
    frames = int.from_bytes(data[-9:-5], "little")
    entries = struct.unpack_from(f"<{2 * frames}I", data, len(data) - seek_table_size(frames) + 8)
    compressed, plain = entries[0::2], entries[1::2]
    context, at, place = zstandard.ZstdDecompressor(), 0, 0
    with out.open("wb", buffering=0) as file:
        begun = time.process_time()
        for size, length in zip(compressed, plain, strict=True):
            # Frames of zeros are tiny, and never decoded.
            if size > length // 1000:
                piece = context.decompress(data[at : at + size], max_output_size=length)
                hashlib.sha256(piece).digest()
                os.pwrite(file.fileno(), piece, place)
            at, place = at + size, place + length
        return time.process_time() - begun


def peak_mib() -> float:
    """Largest resident set of any child so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main() -> None:
    """Run everything."""
    with tempfile.TemporaryDirectory(prefix="haulout-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        disk = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else make_disk(folder / "disk.raw")
        with registry(folder) as host:
            run(folder, disk, host)


def run(folder: Path, disk: Path, host: str) -> None:
    """Measure against the registry at ``host``."""
    ref = f"{host}/bench/machine:5.0"
    flags = ("--type", "raw", "--arch", "x86_64", "--json", "--progress", "none")
    pushed = json.loads(sh(HAULOUT, "push", ref, disk, "--level", LEVEL, *flags))
    print(f"peak memory of push: {peak_mib():.0f} MiB")
    blob = pushed["disks"][0]["blob"]
    single = folder / "single.zst"
    sh("zstd", "-q", "-f", f"-{LEVEL}", disk, "-o", single)
    ratio = blob["size"] / single.stat().st_size
    print(f"blob: {blob['size']} bytes, {ratio:.3f} of one stream at level {LEVEL}")
    url = f"http://{host}/v2/bench/machine/blobs/{blob['digest']}"
    out = folder / "out.raw"
    layout = folder / "copied"

    def pull() -> None:
        out.unlink(missing_ok=True)
        reports.append(json.loads(sh(HAULOUT, "pull", ref, "-o", out, *flags)))

    def curl() -> None:
        out.unlink(missing_ok=True)
        sh("sh", "-c", f"curl -sf {url} | zstd -q -d -o {out}")

    def skopeo() -> None:
        out.unlink(missing_ok=True)
        sh("rm", "-rf", layout)
        sh("skopeo", "copy", "-q", "--all", "--src-tls-verify=false", f"docker://{ref}", f"oci:{layout}:5.0")
        sh("zstd", "-q", "-d", "-f", layout / "blobs/sha256" / blob["digest"][7:], "-o", out)

    def checked() -> None:
        out.unlink(missing_ok=True)
        digest = folder / "sum"
        sh("bash", "-c", f"set -o pipefail; curl -sf {url} | tee >(sha256sum > {digest}) | zstd -q -d -o {out}")
        while not digest.stat().st_size:
            time.sleep(0.001)
        if digest.read_text().split()[0] != blob["digest"][7:]:
            raise SystemExit("curl fetched something else")
        sh("sync", out)

    reports: list[dict] = []
    show(
        "pull, from nothing to a disk",
        alternate(
            {
                "haulout": pull,
                "curl | zstd -d": curl,
                "skopeo + zstd -d": skopeo,
                "curl | tee sha256sum | zstd -d, sync": checked,
            }
        ),
        "haulout",
    )
    least = floor(layout / "blobs/sha256" / blob["digest"][7:], out) / (os.cpu_count() or 1)
    print(f"  floor: decoding, hashing and writing alone take {least:.2f} s on {os.cpu_count()} processors")
    print("  haulout verifies the disk and brings it to stable storage before it names it; so does the last row alone")
    pull()
    last = reports[-1]
    print(f"  haulout: {last['fetched']} of {blob['size']} bytes in {last['requests']} requests")
    again = json.loads(sh(HAULOUT, "pull", ref, "-o", out, *flags))
    print(f"  again: {again['status']}, {again['fetched']} blob bytes in {again['requests']} requests")
    count = iter(range(1000))

    def push() -> None:
        sh(
            "rm",
            "-rf",
            folder / "registry/docker/registry/v2/blobs",
            folder / "registry/docker/registry/v2/repositories",
        )
        sh(HAULOUT, "push", f"{host}/bench/push{next(count)}:5.0", disk, "--level", LEVEL, *flags)

    def stock() -> None:
        sh(
            "rm",
            "-rf",
            folder / "registry/docker/registry/v2/blobs",
            folder / "registry/docker/registry/v2/repositories",
        )
        sh("zstd", "-q", "-f", "-T2", f"-{LEVEL}", disk, "-o", single)
        sh(
            "skopeo",
            "copy",
            "-q",
            "--all",
            "--dest-tls-verify=false",
            f"oci:{layout}:5.0",
            f"docker://{host}/bench/s{next(count)}:5.0",
        )

    show(f"push, level {LEVEL}", alternate({"haulout": push, "zstd -T2 + skopeo copy": stock}), "haulout")
    sparse = folder / "sparse.raw"
    with sparse.open("wb") as file:
        file.truncate(64 << 30)
        file.write(bytes(510) + b"\x55\xaa")
        file.seek(32 << 30)
        file.write(os.urandom(64 << 20))
    for verb, argv in (("push", [sparse]), ("pull", ["-o", out])):
        before = time.monotonic()
        place = f"{host}/bench/sparse:1"
        done = subprocess.run(
            ["/usr/bin/time", "-f", "%M", HAULOUT, verb, place, *map(str, argv), *flags],
            stderr=-1,
            stdout=-3,
            check=True,
        )
        print(
            f"{verb} of a 64 GiB sparse disk: {int(done.stderr.split()[-1]) // 1024} MiB peak, {time.monotonic() - before:.1f} s"
        )
    sh("rm", "-f", out)


if __name__ == "__main__":
    main()

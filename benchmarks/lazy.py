"""Machines that start before their disk is here, beside a start from a local file; and the server of such disks beside others.

``python benchmarks/lazy.py``, with the tiny image, or the one that ``HAULOUT_TEST_MACHINE_IMAGE`` names (``make image``).
``ROUNDS`` (3) is how often each is measured, ours and the peer in turn; ``PARTS`` (``server,fast,slow``) names what is.
Needs docker-registry, qemu-utils, libnbd-bin and, for the other server written in Python, nbdkit-plugin-python.

A lazy start is ``machine init --lazy`` and ``machine start --lazy`` through a proxy with the bandwidth and delay of a line;
its peer is ``machine start`` of a machine whose disk is here. Both are first boots, and end when ssh and the sockets answer.
``slow`` has a boot trace, ``fast`` has none.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from throttle import slow_line
from transfer import registry

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from images import tiny  # noqa: E402 - the path is set just above

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = int(os.environ.get("ROUNDS", "3"))
PARTS = os.environ.get("PARTS", "server,fast,slow").split(",")
IMAGE = os.environ.get("HAULOUT_TEST_MACHINE_IMAGE", "")
SHAPE = ("--cpus", 1, "--memory", 1024 if IMAGE else 256, "--disk", 1)
LINES = {"fast": (200e6, 0.02), "slow": (20e6, 0.02)}
"""Bits per second, and seconds that a request takes to arrive."""
LIMITS = {"fast": 1.15 if IMAGE else 1.5, "slow": 1.5, "moved": 0.2, "server": 0.7, "memory": 100.0}
STREAM = 500_000_000
PLUGIN = """import os
API_VERSION = 2
def config(key, value):
    globals()[key] = value
def thread_model():
    import nbdkit
    return nbdkit.THREAD_MODEL_PARALLEL
def open(readonly):
    return os.open(path, os.O_RDONLY)
def get_size(h):
    return os.fstat(h).st_size
def pread(h, buf, offset, flags):
    os.preadv(h, [buf], offset)
"""


class Lab:
    """A home of our own, and a registry with the image in it."""

    def __init__(self, folder: Path, host: str) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "XDG_DATA_HOME": f"{folder}/data",
            "XDG_RUNTIME_DIR": f"{folder}/run",
            "XDG_CACHE_HOME": f"{folder}/cache",
            "PYTHONPATH": str(ROOT / "src"),
        }
        self.host = host
        self.image = Path(IMAGE) if IMAGE else tiny.cached(ROOT / ".cache")
        self.haulout("push", f"{host}/bench/image:1", self.image, "--arch", "x86_64", "--type", "qemu")
        found = json.loads(self.haulout("resolve", f"{host}/bench/image:1", "--json"))
        self.blob = found["blob"]["size"]
        self.haulout("machine", "init", "local", f"{host}/bench/image:1", *SHAPE)

    def haulout(self, *words: object) -> str:
        argv = [sys.executable, "-m", "haulout", *map(str, words)]
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{words}: {done.stderr}")
        return done.stdout

    def remove(self, name: str) -> None:
        self.haulout("machine", "rm", name, "--force", "--data")

    def local(self) -> float:
        """Boot a machine for the first time; return the seconds."""
        self.haulout("machine", "clone", "local", "copy")
        try:
            return self.timed("machine", "start", "copy", "--no-connect")
        finally:
            self.remove("copy")

    def timed(self, *words: object) -> float:
        begun = time.monotonic()
        self.haulout(*words)
        return time.monotonic() - begun

    def lazy(self, line: str) -> tuple[float, float, float, float]:
        """Start a machine lazily; return the seconds in all and of the start, the share of bytes moved, and memory."""
        bits, delay = LINES[line]
        home, self.environment = self.environment, self.environment | {"XDG_DATA_HOME": f"{self.folder}/lazy"}
        try:
            with slow_line(self.host, bits, delay) as (host, carrier):
                first = self.timed("machine", "init", "lazy", f"{host}/bench/image:1", "--lazy", *SHAPE)
                try:
                    start = self.timed("machine", "start", "lazy", "--lazy", "--no-connect")
                    moved = carrier.carried / self.blob
                    memory = max(map(high_water, servers(self.folder / "lazy")))
                finally:
                    self.remove("lazy")
        finally:
            self.environment = home
            shutil.rmtree(self.folder / "lazy", ignore_errors=True)
        return first + start, start, moved, memory


def verdict(name: str, value: float, limit: float, what: str, *, least: bool = False) -> bool:
    holds = value >= limit if least else value <= limit
    print(f"{name:24} {value:7.2f} ({'at least' if least else 'at most'} {limit}) {what}", flush=True)
    return holds


def starts(lab: Lab, line: str) -> Iterator[bool]:
    if line == "slow":
        print(lab.haulout("machine", "record", "local", "--push"), end="", flush=True)
    plain, lazily = [], []
    for _ in range(ROUNDS):
        plain.append(lab.local())
        lazily.append(lab.lazy(line))
    peer = statistics.median(plain)
    whole, start, moved, memory = (statistics.median(each) for each in zip(*lazily, strict=True))
    bits = LINES[line][0] / 1e6
    said = f"init and start {whole:.1f} s, of which start {start:.1f} s; local start {peer:.1f} s; at {bits:.0f} Mbit/s"
    yield verdict("memory", memory, LIMITS["memory"], "MiB, the server's at its most until then")
    yield verdict(f"lazy start, {line}", start / peer, LIMITS[line], said)
    if IMAGE and line == "fast":
        yield verdict("bytes moved by then", moved, LIMITS["moved"], f"of {lab.blob / 1e6:.0f} MB")
    else:
        print(f"{'bytes moved by then':24} {moved:7.2f} of {lab.blob / 1e6:.0f} MB")


@contextmanager
def serving(argv: list[str], path: Path) -> Iterator[int]:
    path.unlink(missing_ok=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(argv, env=environment) as server:
        try:
            while not path.exists():
                time.sleep(0.02)
            time.sleep(0.2)
            yield server.pid
        finally:
            server.kill()


def throughput(path: Path) -> dict[str, float]:
    """Return MB/s in order, by one connection, and thousands of reads of 4 KiB a second, 16 at once."""
    begun = time.monotonic()
    uri = f"nbd+unix:///?socket={path}"
    subprocess.run(["nbdcopy", "--connections=1", uri, "null:"], check=True)
    took = time.monotonic() - begun
    size = int(subprocess.run(["nbdinfo", "--size", uri], check=True, capture_output=True, text=True).stdout)
    where = f"driver=nbd,server.type=unix,server.path={path}"
    reads = 30000
    argv = ["qemu-img", "bench", "-c", reads, "-d", 16, "-s", 4096, "-S", 12288, "--image-opts", where]
    said = subprocess.run([*map(str, argv)], check=True, capture_output=True, text=True).stdout
    found = re.search(r"completed in ([0-9.]+) seconds", said)
    return {"MB/s": size / 1e6 / took, "thousand reads/s": reads / 1e3 / float(found[1] if found else "nan")}


def server(lab: Lab) -> Iterator[bool]:
    disk, path = lab.folder / "disk", lab.folder / "s"
    with disk.open("wb") as copy:
        while copy.tell() < STREAM:
            copy.write(lab.image.read_bytes())
    (lab.folder / "plugin.py").write_text(PLUGIN)
    (lab.folder / "plugin.py").chmod(0o755)
    ours = [sys.executable, "-m", "haulout.lazy", "--record", f"{lab.folder}/uses", f"{disk}", f"{path}"]
    theirs = ["qemu-nbd", "-r", "-t", "-f", "raw", "-e", "16", "-k", f"{path}", f"{disk}"]
    plugin = ["nbdkit", "-f", "-r", "-U", f"{path}", "python", f"{lab.folder}/plugin.py", f"path={disk}"]
    found: dict[str, list[dict[str, float]]] = {"ours": [], "qemu-nbd": [], "nbdkit": []}
    memory = 0.0
    for _ in range(ROUNDS):
        for name, argv in (("ours", ours), ("qemu-nbd", theirs), ("nbdkit", plugin)):
            if shutil.which(argv[0]) is None:
                continue
            with serving(argv, path) as pid:
                found[name].append(throughput(path))
                if name == "ours":
                    memory = max(memory, high_water(pid))
    median = {
        name: {unit: statistics.median(each[unit] for each in runs) for unit in runs[0]}
        for name, runs in found.items()
        if runs
    }
    for unit, value in median["ours"].items():
        others = "; ".join(f"{name} {value[unit]:.1f}" for name, value in median.items() if name != "ours")
        peer = median["qemu-nbd"][unit]
        yield verdict("server", value / peer, LIMITS["server"], f"{value:.1f} {unit}; {others}", least=True)
    print(f"{'server, memory':24} {memory:7.1f} MiB, of a whole file")


def high_water(pid: int) -> float:
    """Return the most memory a process had, in MiB."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def servers(data: Path) -> list[int]:
    """Return the processes that serve a base below this folder."""
    found = []
    for each in Path("/proc").glob("[1-9]*/cmdline"):
        with suppress(OSError):
            line = each.read_bytes()
            if b"haulout.lazy" in line and os.fsencode(data) in line:
                found.append(int(each.parent.name))
    return found


def main() -> int:
    """Measure; 1 where a bound is exceeded."""
    with tempfile.TemporaryDirectory(prefix="hb-", dir="/tmp") as name, registry(Path(name)) as host:
        lab = Lab(Path(name), host)
        print(f"{lab.image.name}, blob of {lab.blob / 1e6:.0f} MB; medians of {ROUNDS}; load {os.getloadavg()}")
        held = []
        for part in PARTS:
            held += list(server(lab) if part == "server" else starts(lab, part))
        return int(not all(held))


if __name__ == "__main__":
    sys.exit(main())

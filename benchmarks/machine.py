"""Machines beside plain tools: start, clone, throughput of the sockets, the supervisor, and ``list`` of many.

``python benchmarks/machine.py``, with the tiny image, or the one that ``HAULOUT_TEST_MACHINE_IMAGE`` names (``make image``).
``ROUNDS`` (3) is how often everything is measured, we and the peer in turn; ``IDLE_SECONDS`` (60) how long idleness lasts.

The peer of a start is QEMU with the same disks, processors, memory and firmware, and one ``ssh -N -L … -L …`` that is
tried until it connects; both end where ``/_ping`` was answered through both sockets. On a busy host, only the processor
time that QEMU took until then compares them. The peer of the sockets is ``ssh -L`` into the same machine.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
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

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from images import tiny  # noqa: E402 - the path is set just above

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = int(os.environ.get("ROUNDS", "3"))
IDLE_SECONDS = float(os.environ.get("IDLE_SECONDS", "60"))
IMAGE = os.environ.get("HAULOUT_TEST_MACHINE_IMAGE", "")
CPUS, MEMORY = 1, 1024 if IMAGE else 256
STREAM = 16 << 20
MANY = 20
GUEST = {"podman": "/run/user/1000/podman/podman.sock", "podman-root": "/run/podman/podman.sock"}
PATIENCE = 300.0
LIMITS = {
    "start": 1.1,
    "start, processor": 1.1,
    "clone and start": 1.1,
    "clone, processor": 1.1,
    "throughput": 0.8,
    "memory": 60.0,
    "idle": 0.5,
    "list": 150.0,
}


class Lab:
    """A home of our own, with a machine ``web`` that has booted once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "XDG_DATA_HOME": f"{folder}/data",
            "XDG_RUNTIME_DIR": f"{folder}/run",
            "XDG_CACHE_HOME": f"{folder}/cache",
            "PYTHONPATH": str(ROOT / "src"),
        }
        image = Path(IMAGE) if IMAGE else tiny.cached(ROOT / ".cache")
        self.haulout("push", f"oci:{folder}/image:1", image, "--arch", "x86_64", "--type", "qemu", "--level", 1)
        shape = ("--cpus", CPUS, "--memory", MEMORY, "--disk", 1)
        self.haulout("machine", "init", "web", f"oci:{folder}/image:1", *shape)
        self.start("web")
        self.stop("web")

    def begin(self, *words: object) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "haulout", *map(str, words)]
        return subprocess.Popen(argv, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def haulout(self, *words: object) -> str:
        with self.begin(*words) as process:
            out, err = process.communicate()
            if process.returncode:
                raise SystemExit(f"{words}: {err}")
            return out

    def place(self, name: str) -> Path:
        return self.folder / "data/haulout/machines" / name

    def socket(self, name: str, which: str) -> Path:
        return self.folder / "run/haulout" / name / f"{which}.sock"

    def start(self, name: str) -> tuple[float, float]:
        """Start a machine; return the seconds until both sockets answer, and those of QEMU's processor time."""
        begun = time.monotonic()
        with self.begin("machine", "start", name, "--no-connect") as process:
            for which in GUEST:
                ping(self.socket(name, which))
            took = time.monotonic() - begun, processor(listener(self.socket(name, "qmp")))
            process.communicate()
        return took

    def stop(self, name: str) -> None:
        self.haulout("machine", "stop", name)


def ping(path: Path) -> None:
    """Ask until there is an answer."""
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(PATIENCE)
            try:
                link.connect(str(path))
                link.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
                answer = b""
                while piece := link.recv(4096):
                    answer += piece
                    if answer.endswith(b"OK"):
                        return
            except OSError:
                pass
        time.sleep(0.05)
    raise SystemExit(f"{path} did not answer")


@contextmanager
def ssh(lab: Lab, port: int, forwards: dict[str, Path]) -> Iterator[None]:
    """Plain ssh as root, tried until it connects; its sockets are there inside."""
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes"]
    options += ["ExitOnForwardFailure=yes", "StreamLocalBindUnlink=yes"]
    argv = ["ssh", "-F", "none", "-i", str(lab.place("web") / "key"), "-p", str(port), "-N"]
    argv += [word for option in options for word in ("-o", option)]
    argv += [word for guest, here in forwards.items() for word in ("-L", f"{here}:{guest}")]
    patience, process = 2.0, None
    try:
        begun = time.monotonic()
        while process is None or process.poll() is not None:
            if time.monotonic() - begun > PATIENCE:
                raise SystemExit("plain ssh does not connect")
            for here in forwards.values():
                here.unlink(missing_ok=True)
            more = ["-o", f"ConnectTimeout={patience:.0f}", "root@127.0.0.1"]
            process = subprocess.Popen([*argv, *more], stderr=subprocess.DEVNULL)
            while process.poll() is None and not all(here.exists() for here in forwards.values()):
                time.sleep(0.02)
            patience *= 1.2
            time.sleep(0.1 if process.poll() is not None else 0)
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def bare(lab: Lab, accelerator: str) -> tuple[float, float]:
    """Boot copies of the machine's disks by a bare command line; return the same as for a start of ours."""
    folder, place = lab.folder / "bare", lab.place("web")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ("system.qcow2", "data.raw", "firmware.vars"):
        if (place / name).exists():
            subprocess.run(["cp", "--sparse=always", place / name, folder / name], check=True)
    machine = json.loads((place / "machine.json").read_text())["image"]
    base = lab.folder / "data/haulout/images" / machine["pinned"].rpartition("@")[2].replace(":", "-")
    rebase = ["qemu-img", "rebase", "-u", "-b", base, "-F", machine["format"], folder / "system.qcow2"]
    subprocess.run(rebase, check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine", "q35", "-smp", str(CPUS)]
    argv += ["-accel", accelerator, "-cpu", "host" if accelerator == "kvm" else "max", "-m", str(MEMORY)]
    if (folder / "firmware.vars").exists():
        argv += ["-drive", f"if=pflash,format=raw,readonly=on,file={firmware_code()}"]
        argv += ["-drive", f"if=pflash,format=raw,file={folder}/firmware.vars"]
    argv += ["-drive", f"if=none,id=system,format=qcow2,file={folder}/system.qcow2"]
    argv += ["-device", "virtio-blk-pci,drive=system,bootindex=0"]
    argv += ["-drive", f"if=none,id=data,format=raw,file={folder}/data.raw"]
    argv += ["-device", "virtio-blk-pci,drive=data,serial=haulout-data", "-device", "virtio-rng-pci"]
    argv += ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22", "-device", "virtio-net-pci,netdev=net"]
    argv += ["-fw_cfg", f"name=opt/com.coreos/config,file={place}/ignition.json", "-serial", f"file:{folder}/console"]
    begun = time.monotonic()
    with subprocess.Popen(argv) as qemu:
        try:
            forwards = {guest: folder / f"{which}.sock" for which, guest in GUEST.items()}
            with ssh(lab, port, forwards):
                for path in forwards.values():
                    ping(path)
                return time.monotonic() - begun, processor(qemu.pid)
        finally:
            qemu.kill()


def firmware_code() -> str:
    found = [
        path for path in ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd") if Path(path).exists()
    ]
    return found[0]


def stream(path: Path) -> float:
    """Return MB/s of one stream: down from the tiny image, which has an address for it, up into podman."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(PATIENCE)
        link.connect(str(path))
        begun = time.monotonic()
        if IMAGE:
            head = f"POST /v4.0.0/libpod/images/load HTTP/1.1\r\nHost: d\r\nContent-Length: {STREAM}\r\n\r\n"
            link.sendall(head.encode() + bytes(STREAM))
            link.recv(1)
        else:
            link.sendall(f"GET /bytes/{STREAM} HTTP/1.1\r\nHost: d\r\n\r\n".encode())
            left = STREAM
            while left > 0 and (piece := link.recv(1 << 18)):
                left -= len(piece)
        return STREAM / 1e6 / (time.monotonic() - begun)


def listener(path: Path) -> int:
    """Return the process that listens."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(path))
        return int(struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


def processor(pid: int) -> float:
    """Return the processor time of a process, in seconds."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def listing(lab: Lab) -> float:
    """Return the milliseconds of ``machine list`` with many machines, of which one runs."""
    text = json.loads((lab.place("web") / "machine.json").read_text())
    for number in range(1, MANY):
        other = lab.place(f"other{number}")
        other.mkdir(exist_ok=True)
        (other / "machine.json").write_text(json.dumps(text | {"name": other.name}))
    took = []
    for _ in range(max(5, ROUNDS)):
        begun = time.monotonic()
        found = lab.haulout("machine", "list", "--json")
        took.append(time.monotonic() - begun)
    assert len(json.loads(found)["machines"]) == MANY
    for number in range(1, MANY):
        shutil.rmtree(lab.place(f"other{number}"))
    return 1000 * statistics.median(took)


def verdict(name: str, value: float, what: str) -> bool:
    """Print a figure beside its bound; return whether it holds."""
    limit = LIMITS[name]
    holds = value >= limit if name == "throughput" else value <= limit
    print(f"{name:16} {value:7.2f} ({'at least' if name == 'throughput' else 'at most'} {limit}) {what}", flush=True)
    return holds


def measured(lab: Lab) -> Iterator[bool]:
    """Measure in turn, and print the medians."""
    starts, bares, clones, ours, plain = [], [], [], [], []
    accelerator = ""
    for _ in range(ROUNDS):
        starts.append(lab.start("web"))
        found = json.loads(lab.haulout("machine", "inspect", "web", "--json"))
        accelerator = accelerator or found["accelerator"]
        lab.stop("web")
        bares.append(bare(lab, accelerator))
        begun = time.monotonic()
        before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        lab.haulout("machine", "clone", "web", "copy")
        copying = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before
        booting = lab.start("copy")[1]
        clones.append((time.monotonic() - begun, copying + booting))
        lab.haulout("machine", "rm", "copy", "--force", "--data")
    (start, cost), (other, least), (cloned, copied) = (
        [statistics.median(each) for each in zip(*found, strict=True)] for found in (starts, bares, clones)
    )
    yield verdict("start", start / other, f"{start:.2f} s until both sockets answer; bare QEMU and ssh {other:.2f} s")
    yield verdict("start, processor", cost / least, f"{cost:.2f} s of QEMU; bare {least:.2f} s")
    yield verdict("clone and start", cloned / start, f"{cloned:.2f} s")
    yield verdict("clone, processor", copied / cost, f"{copied:.2f} s, of the copying and of QEMU")
    lab.start("web")
    found = json.loads(lab.haulout("machine", "inspect", "web", "--json"))
    by_ssh = lab.folder / "plain.sock"
    with ssh(lab, found["ssh_port"], {GUEST["podman-root"]: by_ssh}):
        for _ in range(ROUNDS):
            plain.append(stream(by_ssh))
            ours.append(stream(lab.socket("web", "podman-root")))
    us, them = statistics.median(ours), statistics.median(plain)
    yield verdict("throughput", us / them, f"{us:.1f} MB/s through the socket; ssh -L {them:.1f} MB/s")
    pid = listener(lab.socket("web", "podman"))
    before = processor(pid)
    time.sleep(IDLE_SECONDS)
    share = 100 * (processor(pid) - before) / IDLE_SECONDS
    resident = int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024
    yield verdict("memory", resident, "MiB, the supervisor's resident memory")
    yield verdict("idle", share, f"% of a processor, over {IDLE_SECONDS:.0f} s")
    yield verdict("list", listing(lab), f"ms for {MANY} machines")


def main() -> int:
    """Measure; 1 where a bound is exceeded."""
    with tempfile.TemporaryDirectory(prefix="hb-", dir="/tmp") as folder:
        lab = Lab(Path(folder))
        try:
            print(f"{Path(IMAGE).name if IMAGE else 'the tiny image'}, {CPUS} CPU, {MEMORY} MiB; medians of {ROUNDS}")
            return int(not all(list(measured(lab))))
        finally:
            for name in ("web", "copy"):
                if lab.place(name).exists():
                    lab.haulout("machine", "rm", name, "--force", "--data")


if __name__ == "__main__":
    sys.exit(main())

"""Confidential images against the tools at hand; verdicts a second on one core, and the memory that they take.

Usage: python benchmarks/confidential.py [--seconds N] [--gib SIZE] [--runs N]. Needs mke2fs and qemu-img. `haulout cw build` of a
folder is timed beside `mke2fs -d` and `qemu-img convert -O luks` of the same one, into a file system of the same size, with the same
time for the passphrase, in turns. Ours also hashes every block for dm-verity, makes the layer, and waits until it is on the disk.

Evidence is emulated, and certificates were read before. A verifier that is asked again and again (a broker) meets the same
chips and the same collateral; what is measured is a new piece of evidence each time, under a policy, with its report data.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from haulout.emulator import Boot, CcaEmulator, SnpEmulator, TdxEmulator, make_bundle
from haulout.tee import Given, parse_policy, verify
from haulout.workload import luks

if TYPE_CHECKING:
    from haulout.emulator import Platform

AT = datetime(2026, 6, 1, tzinfo=UTC)
BOOT = Boot((b"kernel" * 1000,))
WANTED = {"snp": 400, "tdx": 250}
"""Verdicts a second and core, at least."""


ENCRYPTED = 300
"""MB a second and core, at least."""


def encryption(seconds: float) -> None:
    volume = luks.create(b"benchmark", iterations=1000)
    plain = os.urandom(1 << 20)
    for verb, work in (("encrypt", volume.encrypt), ("decrypt", volume.decrypt)):
        begin, count = time.process_time(), 0
        while (spent := time.process_time() - begin) < seconds:
            work(count * len(plain) // luks.SECTOR, plain)
            count += 1
        print(f"  {verb:8} {count * len(plain) / spent / 1e6:6.0f} MB/s  (wanted: {ENCRYPTED})")


def rate(name: str, platform: Platform, seconds: float) -> None:
    nonces = [os.urandom(64) for _ in range(50)]
    made = [make_bundle(platform, BOOT, AT, report_data=nonce) for nonce in nonces]
    files = made[0].files
    certificates = [Given("certificates", files["certificates.pem"])] if "certificates.pem" in files else []
    collateral = [Given("collateral", files["collateral.json"])] if "collateral.json" in files else []
    policy = parse_policy(files["policy.toml"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin, count = time.process_time(), 0
    for one, nonce in cycle(zip(made, nonces, strict=True)):
        verdict = verify(
            one.files["evidence.bin"],
            at=AT,
            certificates=certificates,
            collateral=collateral,
            policy=policy,
            report_data=nonce,
        )
        assert verdict.accepted, verdict.refusal
        count += 1
        if count % 50 == 0 and time.process_time() - begin > seconds:
            break
    spent = time.process_time() - begin
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    wanted = f"  (wanted: {WANTED[name]})" if name in WANTED else ""
    print(f"  {name:4} {count / spent:8.0f} verdicts/s  +{grown:.1f} MiB after {count}{wanted}")


RATIO = 1.2
"""Time of cw build by that of the others, at most."""
_SIZES = (4_000, 20_000, 100_000, 1 << 20, 16 << 20)


def make_root(folder: Path, size: int) -> int:
    """Fill a folder with files of random bytes, small and large; returns how many."""
    chosen = random.Random(1)
    number = done = 0
    while done < size:
        amount = min(chosen.choice(_SIZES), size - done)
        path = folder / f"d{number % 100}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(amount))
        done += amount
        number += 1
    return number


def timed(*argvs: list[str], cwd: Path) -> tuple[float, float]:
    """Run programs one after another; returns seconds and the largest memory in MiB."""
    begin, peak = time.perf_counter(), 0.0
    for argv in argvs:
        process = subprocess.Popen(argv, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, argv
        peak = max(peak, usage.ru_maxrss / 1024)
    return time.perf_counter() - begin, peak


def builds(size: int, runs: int) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR") or "/var/tmp") as name:
        work = Path(name)
        count = make_root(work / "root", size)
        (work / "secret").write_text("benchmark")
        haulout = [sys.executable, "-m", "haulout", "cw"]
        build = [*haulout, "build", "root", "oci:out:1", "--passphrase-file", "secret", "--quiet"]
        timed(build, cwd=work)
        shown = subprocess.run([*haulout, "inspect", "oci:out:1", "--json"], cwd=work, capture_output=True, check=True)
        blocks = json.loads(shown.stdout)["binding"]["verity"]["hash_offset"] // 4096
        mke2fs = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-d", "root", "plain", str(blocks)]
        options = "key-secret=k,iter-time=1000"
        convert = [
            "qemu-img",
            "convert",
            "--object",
            "secret,id=k,file=secret",
            "-f",
            "raw",
            "-O",
            "luks",
            "-o",
            options,
            "plain",
            "disk",
        ]
        print(f"cw build of {size / 2**30:.2f} GiB in {count} files, {runs} runs in turns:")
        ours: list[tuple[float, float]] = []
        theirs: list[tuple[float, float]] = []
        for _ in range(runs):
            shutil.rmtree(work / "out")
            ours.append(timed(build, cwd=work))
            for leftover in ("plain", "disk"):
                (work / leftover).unlink(missing_ok=True)
            theirs.append(timed(mke2fs, convert, cwd=work))
        for label, found in (("haulout cw build", ours), ("mke2fs + qemu-img", theirs)):
            seconds = statistics.median(one for one, _ in found)
            spread = ", ".join(f"{one:.1f}" for one, _ in found)
            print(f"  {label:18} {seconds:6.1f} s ({spread}), memory {max(peak for _, peak in found):.0f} MiB")
        ratio = statistics.median(one for one, _ in ours) / statistics.median(one for one, _ in theirs)
        print(f"  ratio of medians   {ratio:6.2f}  (wanted: at most {RATIO})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--gib", type=float, default=1.0, help="size of the root; 0 leaves builds out")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    seconds = arguments.seconds
    if arguments.gib:
        builds(int(arguments.gib * 2**30), arguments.runs)
    print("LUKS1 in buffers of 1 MiB, one core:")
    encryption(seconds)
    print("evidence, one core:")
    rate("snp", SnpEmulator.make(AT), seconds)
    rate("tdx", TdxEmulator.make(AT), seconds)
    rate("cca", CcaEmulator.make(AT), seconds)


if __name__ == "__main__":
    main()

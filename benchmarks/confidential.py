"""Verdicts a second on one core, and the memory that they take: emulated evidence, certificates read before.

Usage: python benchmarks/confidential.py [--seconds N]. A verifier that is asked again and again (a broker) meets the same
chips and the same collateral; what is measured is a new piece of evidence each time, under a policy, with its report data.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from datetime import UTC, datetime
from itertools import cycle
from typing import TYPE_CHECKING

from haulout.confidential.emulator import Boot, CcaEmulator, SnpEmulator, TdxEmulator
from haulout.confidential.emulator.scene import scene
from haulout.confidential.evidence import Given, parse_policy, verify
from haulout.confidential.evidence.snp.report import Product

if TYPE_CHECKING:
    from haulout.confidential.emulator.keeping import Emulator

AT = datetime(2026, 6, 1, tzinfo=UTC)
BOOT = Boot((b"kernel" * 1000,))
WANTED = {"snp": 400, "tdx": 250}
"""Verdicts a second and core, at least."""


def rate(name: str, platform: Emulator, seconds: float) -> None:
    nonces = [os.urandom(64) for _ in range(50)]
    made = [scene(platform, BOOT, AT, report_data=nonce) for nonce in nonces]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    seconds = parser.parse_args().seconds
    print("evidence, one core:")
    rate("snp", SnpEmulator.make(Product.GENOA, AT), seconds)
    rate("tdx", TdxEmulator.make(AT), seconds)
    rate("cca", CcaEmulator.make(AT), seconds)


if __name__ == "__main__":
    main()

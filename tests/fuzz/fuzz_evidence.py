"""Fuzz evidence, certificates, collateral and policies with coverage as the guide: ``make fuzz``.

The first byte of an input says what the rest is. Anything but an error that is declared ends the run, and leaves its input
in a file beside.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

with atheris.instrument_imports(include=["haulout.tee", "haulout.workload"]):
    from tests.support.evidence import AT, BOOT, DATA, cca, cca_policy, given, snp, snp_policy, tdx, tdx_policy

    from haulout.errors import InvalidEvidence, InvalidPolicy
    from haulout.tee import parse_policy, verify
    from haulout.tee.certificates import read_bundle
    from haulout.tee.revocation import read_revocation_list
    from haulout.tee.tdx import collateral, documents
    from haulout.tee.verdict import Refused

CERTIFICATES = {"snp": given(snp().certificates()), "cca": given(cca().certificates())}
COLLATERAL = given(tdx().collateral(AT))

TARGETS = (
    lambda data: verify(data, at=AT, certificates=CERTIFICATES["snp"], policy=snp_policy()),
    lambda data: verify(data, at=AT, collateral=COLLATERAL, policy=tdx_policy()),
    lambda data: verify(data, at=AT, certificates=CERTIFICATES["cca"], policy=cca_policy()),
    lambda data: read_bundle(data, "certificates"),
    lambda data: read_revocation_list(data, "list"),
    lambda data: collateral.parse(data, "collateral"),
    documents.tcb_info,
    documents.qe_identity,
    parse_policy,
)


def seeds() -> list[bytes]:
    """Return one good input for each target."""
    import json

    whole = tdx().collateral(AT)
    values = json.loads(whole)
    return [
        snp().report(DATA, BOOT),
        tdx().quote(DATA, BOOT),
        cca().token(DATA, BOOT),
        snp().certificates(),
        bytes.fromhex(values["pck_crl"]),
        whole,
        values["tcb_info"].encode(),
        values["qe_identity"].encode(),
        b'schema = 1\n[snp]\nproducts = ["Genoa"]\n[tdx]\n[cca]\n',
    ]


def one(data: bytes) -> None:
    """Run one input."""
    if not data:
        return
    try:
        TARGETS[data[0] % len(TARGETS)](data[1:])
    except (InvalidEvidence, InvalidPolicy, Refused) as error:
        if not str(error).isprintable():
            raise RuntimeError("an error that is no line") from error


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="haulout-fuzz-") as corpus:
        for number, seed in enumerate(seeds()):
            Path(corpus, str(number)).write_bytes(bytes([number]) + seed)
        atheris.Setup([*sys.argv, corpus], one)
        atheris.Fuzz()

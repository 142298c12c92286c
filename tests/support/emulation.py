"""Emulated platforms and verdicts on their evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.evidence import AT, cca, given, snp, tdx

from haulout.tee import parse_policy, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.emulator import Platform


MADE: dict[str, Callable[[], Platform]] = {"snp": snp, "tdx": tdx, "cca": cca}


def judge(kind, made, *, policy=None, at=AT, report_data=None):
    asked = parse_policy(made.files["policy.toml"] if policy is None else policy)
    certificates = given(made.files["certificates.pem"]) if "certificates.pem" in made.files else []
    collateral = given(made.files["collateral.json"]) if "collateral.json" in made.files else []
    return verify(
        made.files["evidence.bin"],
        at=at,
        certificates=certificates,
        collateral=collateral,
        policy=asked,
        report_data=report_data,
    )

"""Emulated platforms, policies and real evidence for tests.

RSA keys of 4096 bits take a second each: three are made once, and stand above every emulated processor.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from haulout.emulator import Boot, CcaEmulator, SnpEmulator, TdxEmulator, authorities
from haulout.tee import Given, Verdict, parse_policy, verify
from haulout.tee.snp.endorsement import Signer
from haulout.tee.snp.parse import Product

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import rsa

    from haulout.emulator.snp import SnpState
    from haulout.tee import Policy

ROOT = Path(__file__).resolve().parents[2]
VECTORS = Path(os.environ.get("HAULOUT_VECTORS") or ROOT.parent / "shared" / "vectors")
"""Real evidence of other projects, which is not ours to hand on: beside the checkout, or where the variable says."""

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
BOOT = Boot((b"firmware" * 700, b"kernel" * 2000, b"initrd" * 900), "console=ttyS0 root=/dev/vda")
DATA = bytes(range(1, 65))


def vector(name: str) -> bytes:
    """Read a real file, or skip the test that needs it."""
    path = VECTORS / name
    if not path.is_file():
        pytest.skip(f"real evidence is not at hand: {name} (HAULOUT_VECTORS may name its folder)")
    return path.read_bytes()


def given(*data: bytes) -> list[Given]:
    """Give files without a name of their own."""
    return [Given(f"file {number}", one) for number, one in enumerate(data)]


@cache
def rsa_keys() -> tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey, rsa.RSAPrivateKey]:
    """Keys of ARK, ASK and ASVK."""
    return authorities.rsa_key(), authorities.rsa_key(), authorities.rsa_key()


def snp(product: Product = Product.GENOA) -> SnpEmulator:
    """An emulated processor."""
    return _snp(product)


@cache
def _snp(product: Product) -> SnpEmulator:
    return SnpEmulator.make(AT, product=product, keys=rsa_keys())


@cache
def tdx() -> TdxEmulator:
    """An emulated Intel platform."""
    return TdxEmulator.make(AT)


@cache
def cca() -> CcaEmulator:
    """An emulated Arm platform."""
    return CcaEmulator.make(AT)


def policy(table: str, *, roots: tuple[str, ...] = (), top: str = "") -> Policy:
    """Read a policy; with roots it is one for tests."""
    named = ", ".join(f'"{root}"' for root in roots)
    tests = f"test = true\nroots = [{named}]\n" if roots else ""
    return parse_policy(f"schema = 1\n{tests}{top}\n{table}\n".encode())


def snp_policy(table: str = "", product: Product = Product.GENOA, *, top: str = "") -> Policy:
    """A policy for tests that trusts the emulated processors; ``table`` goes into its [snp]."""
    lines = table if "products" in table else f'products = ["{product}"]\n{table}'
    return policy(f"[snp]\n{lines}", roots=(snp(product).ark.fingerprint(),), top=top)


def tdx_policy(table: str = "", *, top: str = "") -> Policy:
    """A policy for tests that trusts the emulated Intel platform."""
    return policy(f"[tdx]\n{table}", roots=(tdx().root.fingerprint(),), top=top)


def cca_policy(table: str = "", *, top: str = "") -> Policy:
    """A policy for tests that trusts the emulated Arm platform's maker."""
    return policy(f"[cca]\n{table}", roots=(cca().root.fingerprint(),), top=top)


def judge_snp(
    state: SnpState | None = None,
    table: str = "",
    *,
    product: Product = Product.GENOA,
    signer: Signer = Signer.VCEK,
    certificates: bytes | None = None,
    **more: Any,
) -> Verdict:
    """Judge a report of an emulated processor in some state."""
    platform = snp(product)
    report = platform.report(DATA, BOOT, state, signer=signer)
    chain = platform.certificates(signer) if certificates is None else certificates
    asked: dict[str, Any] = {"at": AT, "policy": snp_policy(table, product)} | more
    return verify(report, certificates=given(chain), **asked)


def rule_of(verdict: Verdict) -> str | None:
    """The rule that was broken; None where it was accepted."""
    return None if verdict.refusal is None else str(verdict.refusal.rule)

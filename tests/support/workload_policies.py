"""Policies of workloads, and emulated evidence to decide about."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from tests.support.bindings import BINDING
from tests.support.evidence import AT, BOOT, DATA, given, snp

from haulout.broker.policy import Facts, decide, parse
from haulout.emulator.snp import SnpState
from haulout.tee import verify

if TYPE_CHECKING:
    from haulout.broker.policy import Decision, WorkloadPolicy
    from haulout.tee import Verdict

NOW = AT + timedelta(seconds=10)
FACTS = Facts(now=NOW, verified=AT, releases=0)
MEASURED = BOOT.snp().hex()
OTHER = "ab" * 48
BINDINGS = {epoch: replace(BINDING, root=bytes([epoch]) * 32) for epoch in range(1, 6)}
"""Of images of one workload, by epoch."""


def image(epoch: int = 1, measurement: str | None = MEASURED, *, name: str | None = None) -> str:
    """Write an entry of [[images]] in TOML."""
    lines = [
        "[[images]]",
        f'name = "{name or f"1.{epoch}"}"',
        f"epoch = {epoch}",
        f"binding = '{BINDINGS[epoch].to_bytes().decode()}'",
    ]
    return "\n".join([*lines, *([f'snp.measurements = ["{measurement}"]'] if measurement else []), ""])


def document(*images: str, snp_section: str = "", release: str = "", more: str = "") -> bytes:
    """Write a policy for emulated SEV-SNP."""
    return f"""schema = 1
name = "web"
test = true
roots = ["{snp().ark.fingerprint()}"]
[snp]
products = ["Genoa"]
{snp_section}
[release]
{release}
{more}
{"".join(images)}
""".encode()


def bound(epoch: int = 1) -> str:
    """Write the keys of [snp] that bind one image and list its measurement."""
    return f'host-data = ["{BINDINGS[epoch].host_data.hex()}"]\nmeasurements = ["{MEASURED}"]'


def policy(*images: str, **more: str) -> WorkloadPolicy:
    """Read a policy for emulated SEV-SNP."""
    return parse(document(*images, **more))


@cache
def report(epoch: int = 1) -> bytes:
    """Make the report of a guest that booted an image."""
    return snp().report(DATA, BOOT, SnpState(host_data=BINDINGS[epoch].host_data))


def judge(asked: WorkloadPolicy, evidence: bytes | None = None, **more: object) -> Verdict:
    """Verify evidence as a broker does."""
    return verify(
        report() if evidence is None else evidence,
        **{
            "at": AT,
            "certificates": given(snp().certificates()),
            "policy": asked.evidence,
            "report_data": DATA,
            **more,
        },  # type: ignore[arg-type]
    )


def decided(asked: WorkloadPolicy, evidence: bytes | None = None, facts: Facts = FACTS) -> Decision:
    """Verify, then decide."""
    return decide(asked, judge(asked, evidence), facts)

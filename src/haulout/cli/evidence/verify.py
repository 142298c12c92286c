"""``haulout evidence verify``: is it genuine, and does it satisfy a policy?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from haulout.cli import options
from haulout.cli.evidence.params import BytesParam, TimeParam
from haulout.cli.params import ReferenceParam
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from haulout import EvidenceResult
    from haulout.cli.session import Session
    from haulout.oci import Reference

_NO = 1
"""Exit code where the evidence is refused."""


@click.command(
    "verify",
    cls=Verb,
    examples=(
        Example(
            "haulout evidence verify lab/evidence.bin --cert lab/certificates.pem --policy lab/policy.toml",
            "verify evidence against a policy",
        ),
        Example(
            "haulout evidence verify lab/evidence.bin --cert lab/certificates.pem --policy lab/policy.toml "
            "--at 2030-01-31 --json",
            "the same for another day, as JSON",
        ),
    ),
)
@click.argument("file", metavar="FILE", type=click.Path())
@click.option(
    "--cert",
    "certificates",
    metavar="FILE",
    multiple=True,
    type=click.Path(),
    help="Certificates of the signing key and those above it, in PEM or DER (AMD's own are known), or a driver's table "
    "of them; for CCA also a JSON Web Key. May be repeated, in any order.",
)
@click.option(
    "--collateral",
    metavar="FILE",
    multiple=True,
    type=click.Path(),
    help="Intel's collateral in JSON, a revocation list in DER or PEM, or the enrolment of a TPM's key. May be "
    "repeated.",
)
@click.option(
    "--policy",
    metavar="FILE",
    type=click.Path(),
    help="Policy that the evidence must satisfy (docs/evidence.md). Without one, only genuineness is verified.",
)
@click.option(
    "--image",
    metavar="REF",
    type=ReferenceParam(),
    help="Image of a confidential workload that the evidence must name, by the image's binding. With --policy, the "
    "evidence must satisfy both.",
)
@click.option("--at", metavar="TIME", type=TimeParam(), help="Verify for this time instead of now.")
@click.option(
    "--report-data",
    metavar="HEX",
    type=BytesParam(64),
    help="Expected report data, 64 bytes: proves that the evidence is fresh and made for you.",
)
@options.registry
@options.common
@click.pass_obj
def command(
    session: Session,
    file: str,
    certificates: tuple[str, ...],
    collateral: tuple[str, ...],
    policy: str | None,
    image: Reference | None,
    at: datetime | None,
    report_data: bytes | None,
) -> int:
    """Verify that evidence is genuine and satisfies a policy.

    FILE is an SEV-SNP report, a TDX quote, an Arm CCA token, or a TPM's quote. The type is detected automatically.
    Evidence inside of hexadecimal or base64 text, JSON (Trustee, dstack), protobuf, a driver's buffer or Azure's HCL
    report is found.

    Without a policy only genuineness is verified: signature, chain, a pinned root, and that all of it is valid at the
    time. Genuine evidence may still come from an attacker's machine, or allow debugging: a policy says what you accept.

    Exit status is 0 if the evidence is accepted, 1 if it is refused (the broken rule is printed), 2 or more if
    there is no verdict.
    """
    from haulout import verify_evidence  # noqa: PLC0415 - loads the cryptography

    result = verify_evidence(
        file,
        policy=policy,
        certificates=certificates,
        collateral=collateral,
        nonce=report_data,
        at=at,
        image=image,
        connections=session.connections(),
    )
    refusal = result.verdict.refusal
    session.result(
        "evidence verify",
        result.to_dict(),
        _lines(result),
        brief="accepted" if refusal is None else f"refused: {refusal.rule}",
    )
    return 0 if result.accepted else _NO


def _lines(result: EvidenceResult) -> Iterator[str]:
    verdict = result.verdict
    refusal, claims = verdict.refusal, verdict.claims
    if refusal is None:
        against = "genuine (no policy was given)" if verdict.policy is None else f"by the policy {verdict.policy}"
        yield f"{result.path}: {verdict.title}: accepted, {against}"
    else:
        yield f"{result.path}: {verdict.title}: REFUSED: {refusal.reason} [{refusal.rule}]"
        if refusal.hint:
            yield f"  hint: {refusal.hint}"
    if result.wrapping:
        yield f"  found in: {', '.join(result.wrapping)}"
    statement = _brief(verdict.statement.to_dict())
    if unread := statement.pop("unread_bytes", 0):
        yield f"  note: {unread} bytes behind the {verdict.title} were not looked at: nothing signs them"
    if verdict.warning is not None:
        yield f"  warning: the default policy would reject it: {verdict.warning.reason} [{verdict.warning.rule}]"
    if claims is not None and claims.anchor.given:
        yield "  warning: its key is trusted only because you gave it; get it from its maker, not with the evidence"
    if verdict.open:
        yield f"  left open by the policy: {', '.join(verdict.open)}"
    if claims is None:
        yield "  claims (NOT verified):"
    else:
        yield from _spelled(claims.to_dict())
    yield from _spelled(statement)
    if result.vtpm is not None:
        yield "  virtual TPM" + (":" if verdict.genuine else " (NOT verified):")
        yield from _spelled(result.vtpm.to_dict() | {"pcrs": len(result.vtpm.pcrs)})


def _spelled(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if value is not None and value not in ([], {}, ""):
            yield f"  {name.replace('_', ' '):<20} {_plain(value)}"


def _brief(claims: dict[str, Any]) -> dict[str, Any]:
    """Shorten the components of firmware, of which there are many, to type and measurement."""
    components = claims.get("components", [])
    return claims | {"components": [f"{one['type']} {one['measurement'][:16]}…" for one in components]}


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        parts = (f"{name.replace('_', ' ')} {_plain(part)}" for name, part in value.items() if part is not None)
        return ", ".join(parts)
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return str(value)

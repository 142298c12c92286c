"""``haulout evidence verify``: is it genuine, and is it what a policy demands?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.evidence.params import BytesParam, TimeParam, read_file
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session

_NO = 1
"""Exit code of an honest "no": the evidence is refused."""


@click.command(
    "verify",
    cls=Verb,
    examples=(
        Example(
            "haulout evidence verify lab/tee.bin --cert lab/certificates.pem --policy lab/policy.toml",
            "check evidence against a policy",
        ),
        Example(
            "haulout evidence verify lab/tee.bin --cert lab/certificates.pem --policy lab/policy.toml "
            "--at 2030-01-31 --json",
            "the same for another day, for programs",
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
    help="Certificates of the signing key and those above it, in PEM or DER; for CCA also a JSON Web Key. May be "
    "repeated, in any order.",
)
@click.option(
    "--collateral",
    metavar="FILE",
    multiple=True,
    type=click.Path(),
    help="Intel's collateral in JSON, or a revocation list in DER or PEM. May be repeated.",
)
@click.option(
    "--policy",
    metavar="FILE",
    type=click.Path(),
    help="What the evidence has to say (docs/tee.md); without it, only whether it is genuine is judged.",
)
@click.option("--at", metavar="TIME", type=TimeParam(), help="Judge for this time instead of now.")
@click.option(
    "--report-data",
    metavar="HEX",
    type=BytesParam(64),
    help="The 64 bytes that the evidence was asked to carry, which prove that it was made for you, now.",
)
@options.common
@click.pass_obj
def command(
    session: Session,
    file: str,
    certificates: tuple[str, ...],
    collateral: tuple[str, ...],
    policy: str | None,
    at: datetime | None,
    report_data: bytes | None,
) -> int:
    """Judge evidence: genuine, and what a policy demands?

    It is a report of SEV-SNP, a quote of TDX or a token of Arm CCA; which of these, is seen by itself.

    Without a policy only its genuineness is judged: signature, chain, a pinned root, and that all of it is valid at the
    time. Genuine evidence may well be that of an attacker's machine, or allow debugging: a policy says what you want.

    Exit status is 0 where it is accepted, 1 where it is refused, with the rule it breaks, 3 or more where it cannot be
    read.
    """
    from haulout import tee  # noqa: PLC0415 - loads the cryptography
    from haulout.cli.evidence import report  # noqa: PLC0415

    read_policy = None if policy is None else tee.parse_policy(read_file(policy), policy)
    verdict = tee.verify(
        read_file(file),
        at=at or datetime.now(UTC),
        certificates=[tee.Given(name, read_file(name)) for name in certificates],
        collateral=[tee.Given(name, read_file(name)) for name in collateral],
        policy=read_policy,
        report_data=report_data,
    )
    session.result(
        "evidence verify",
        report.document(file, verdict),
        report.lines(file, verdict),
        brief="accepted" if verdict.accepted else f"refused: {verdict.refusal.rule}" if verdict.refusal else "",
    )
    return 0 if verdict.accepted else _NO

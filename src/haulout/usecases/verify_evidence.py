"""Verify attestation evidence that lies in files or in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

from haulout.documents import Document
from haulout.errors import InvalidEvidence
from haulout.local import read_small
from haulout.tee import Given, Policy, Verdict, as_report_data, parse_policy, verify

if TYPE_CHECKING:
    from collections.abc import Iterable

File: TypeAlias = str | os.PathLike[str] | bytes
"""A file by its path, or the content of one."""

LARGEST: Final = 4 << 20
"""Bytes of a file read; nothing that is verified is larger."""


@dataclass(frozen=True, slots=True)
class EvidenceResult(Document):
    """The verdict on some evidence.

    Attributes:
        path: of the evidence, as it was given; None where its content was given.
        verdict: whether it is accepted, and why not; what it says, and who signed it.
    """

    path: str | None
    verdict: Verdict

    json_members: ClassVar = ("path", "*verdict")

    @property
    def accepted(self) -> bool:
        """Return whether the evidence may be relied on."""
        return self.verdict.accepted


def verify_evidence(
    evidence: File,
    *,
    policy: File | Policy | None = None,
    certificates: Iterable[File] = (),
    collateral: Iterable[File] = (),
    nonce: bytes | None = None,
    at: datetime | None = None,
) -> EvidenceResult:
    """Verify evidence of SEV-SNP, TDX or Arm CCA; the kind is detected. Nothing is fetched.

    A refusal is not an error: see ``accepted`` and ``verdict`` of the result.

    Args:
        evidence: what the TEE signed.
        policy: what the evidence has to say (docs/evidence.md); None: only genuineness is verified.
        certificates: of the signing key and those above it, PEM or DER; for CCA also a JSON Web Key. In any order.
        collateral: Intel's collateral, or revocation lists.
        nonce: the bytes that the guest was asked to carry as report data, at most 64; zeros are added.
        at: the time for which to verify, with a time zone; None: now.

    Raises:
        NotFoundError: a file does not exist.
        StorageError: it is not a regular file, or cannot be read.
        InvalidPolicy: the policy is not one.
        InvalidEvidence: something else cannot be parsed, so there is no verdict.
        ValueError: the nonce is empty or too long, or the time has no time zone.
    """
    if policy is not None and not isinstance(policy, Policy):
        given = _given("policy", policy)
        policy = parse_policy(given.data, given.name)
    verdict = verify(
        _given("evidence", evidence).data,
        at=at or datetime.now(UTC),
        certificates=[_given("certificates", one) for one in certificates],
        collateral=[_given("collateral", one) for one in collateral],
        policy=policy,
        report_data=None if nonce is None else as_report_data(nonce),
    )
    return EvidenceResult(None if isinstance(evidence, bytes) else os.fspath(evidence), verdict)


def _given(what: str, file: File) -> Given:
    if isinstance(file, bytes):
        return Given(what, file)
    name = os.fspath(file)
    return Given(name, read_small(Path(name), LARGEST, too_large=partial(InvalidEvidence, name)))

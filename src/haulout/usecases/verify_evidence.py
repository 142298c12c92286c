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
from haulout.tee import Given, Policy, Verdict, as_report_data, certificates_of, parse_policy, unwrap, verify

if TYPE_CHECKING:
    from collections.abc import Iterable

    from haulout.oci import Reference
    from haulout.registry import ConnectionOptions
    from haulout.tee import Vtpm

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
        wrapping: what was around the evidence in the file, from the outside in: ``JSON``, ``base64``.
        vtpm: the virtual TPM that it vouches for, of a machine on Azure.
    """

    path: str | None
    verdict: Verdict
    wrapping: tuple[str, ...] = ()
    vtpm: Vtpm | None = None

    json_members: ClassVar = ("path", "wrapping", "*verdict", "vtpm")

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
    image: str | Reference | None = None,
    connections: ConnectionOptions | None = None,
) -> EvidenceResult:
    """Verify evidence of SEV-SNP, TDX or Arm CCA; the kind is detected. Nothing is fetched but an image that is given.

    A refusal is not an error: see ``accepted`` and ``verdict`` of the result.

    Args:
        evidence: what the TEE signed; also in hexadecimal, base64, JSON or protobuf, and in Azure's HCL report.
        policy: what the evidence has to say (docs/evidence.md); None: only genuineness is verified.
        certificates: of the signing key and those above it, PEM or DER; for CCA also a JSON Web Key. In any order.
        collateral: Intel's collateral, or revocation lists.
        nonce: the bytes that the guest was asked to carry as report data, at most 64; zeros are added.
        at: the time for which to verify, with a time zone; None: now.
        image: of a confidential workload: the evidence has to name it, by its binding; None: there is none.
        connections: how the image's registry is reached.

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
    if image is not None:
        # Images take packages that evidence does not.
        from haulout.usecases.bound_workload import bound_workload, policy_of_image  # noqa: PLC0415

        policy = policy_of_image(bound_workload(image, connections=connections), policy, str(image))
    found = unwrap(_given("evidence", evidence).data)
    given_certificates = [part for one in certificates for part in certificates_of(_given("certificates", one))]
    verdict = verify(
        found.evidence,
        at=at or datetime.now(UTC),
        certificates=[*given_certificates, *found.certificates],
        collateral=[_given("collateral", one) for one in collateral],
        policy=policy,
        report_data=None if nonce is None else as_report_data(nonce),
        vtpm=found.vtpm,
    )
    path = None if isinstance(evidence, bytes) else os.fspath(evidence)
    return EvidenceResult(path, verdict, found.layers, found.vtpm)


def _given(what: str, file: File) -> Given:
    if isinstance(file, bytes):
        return Given(what, file)
    name = os.fspath(file)
    return Given(name, read_small(Path(name), LARGEST, too_large=partial(InvalidEvidence, name)))

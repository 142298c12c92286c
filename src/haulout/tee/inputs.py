"""What a verifier is given: files, a policy, a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

Section = TypeVar("Section")


@dataclass(frozen=True, slots=True)
class Given:
    """A file that came with the evidence: its name, for errors, and its content."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as it was read.

    Attributes:
        name: for people.
        test: whether it may trust an emulator.
        roots: fingerprints of roots that it trusts besides the pinned ones, which only a policy for tests has.
        report_data_required: whether evidence without report data to expect is refused.
        nonce_seconds: how long a nonce is valid, for brokers; verifying evidence does not use it.
        sections: what it demands of each kind of TEE that it accepts, by the kind's name.
    """

    name: str
    test: bool = False
    roots: frozenset[str] = frozenset()
    report_data_required: bool = False
    nonce_seconds: int = 300
    sections: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inputs(Generic[Section]):
    """What evidence is verified with, besides itself.

    Attributes:
        at: the time at which certificates and collateral have to be valid.
        certificates: files of certificates or keys, in any order.
        collateral: files of revocation lists or the vendor's documents.
        policy: the policy, which may add roots; None: there is none.
        section: the policy's section about this kind of TEE.
    """

    at: datetime
    certificates: Sequence[Given] = ()
    collateral: Sequence[Given] = ()
    policy: Policy | None = None
    section: Section | None = None

    @property
    def trusted(self) -> frozenset[str]:
        """Return the fingerprints of the roots that the policy adds."""
        return frozenset() if self.policy is None else self.policy.roots

    @property
    def test(self) -> bool:
        """Return whether the policy is one for tests."""
        return self.policy is not None and self.policy.test

"""What vendors publish about their processors: certificates, revocation lists, documents about their state.

A verifier needs some of it besides the evidence. :func:`publications` names what one piece of evidence needs, and where
its vendor publishes it; :func:`accept` decides whether some bytes are that, so that nothing else is kept;
:func:`identify` says what a file is. Everything here is pure: something else fetches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from haulout.errors import InvalidEvidence
from haulout.tee import kinds
from haulout.tee.inputs import Given
from haulout.tee.snp import kds
from haulout.tee.tdx import pcs
from haulout.tee.verdict import Refused

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from haulout.tee.verdict import Span

KDS: Final = kds.SERVICE
PCS: Final = pcs.SERVICE
"""Where AMD's and Intel's publications are."""


class Publication(Protocol):
    """One thing that a vendor publishes.

    Attributes:
        renewed: whether the vendor replaces it from time to time; a certificate stays as it is.
        chain_header: the header of the vendor's answer that has the chain of its signer, percent-encoded PEM; "": none.
    """

    @property
    def renewed(self) -> bool:
        """Return whether the vendor replaces it from time to time."""

    @property
    def chain_header(self) -> str:
        """Return the answer's header that has the signer's chain."""

    @property
    def name(self) -> str:
        """Return the path of its file in a cache; unique."""

    @property
    def title(self) -> str:
        """Return what it is, for people."""

    @property
    def address(self) -> str:
        """Return its URL at the vendor; "" where the vendor does not publish it for everybody."""

    @property
    def above(self) -> Publication | None:
        """Return what its signature is verified with; None: it comes with its chain."""

    def kept(self, body: bytes, chain: bytes) -> bytes:
        """Return the form in which it is kept, from the vendor's answer and the PEM chain; raises InvalidEvidence."""

    def check(self, data: bytes, above: bytes, at: datetime, trusted: Collection[str], *, test: bool) -> Span:
        """Verify what is kept; raises Refused or InvalidEvidence."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What verifying one piece of evidence takes besides it.

    Attributes:
        kind: the kind of its TEE.
        certificates, collateral: what the vendor publishes, by the parameter of ``verify`` that takes it.
    """

    kind: str
    certificates: tuple[Publication, ...] = ()
    collateral: tuple[Publication, ...] = ()

    @property
    def all(self) -> tuple[Publication, ...]:
        """Return both, those first that others are verified with."""
        return (*self.certificates, *self.collateral)

    def given(self, found: Mapping[str, bytes]) -> tuple[list[Given], list[Given]]:
        """Return the files for :func:`haulout.tee.verify`, certificates and collateral, of what was found by name.

        Intel's documents become the one file that the verifier takes, if all are there.
        """
        certificates = [Given(one.name, found[one.name]) for one in self.certificates if one.name in found]
        there = [Given(one.name, found[one.name]) for one in self.collateral if one.name in found]
        if self.kind == "tdx":
            return certificates, [pcs.merged(there)] if there and len(there) == len(self.collateral) else []
        return certificates, there


def publications(data: bytes, *, early: bool = False) -> Needs:
    """Name what the verifier of some evidence needs from its vendor.

    Args:
        data: the evidence; it need not be genuine.
        early: Intel's documents as they will be once its next TCB recovery is in force.

    Raises:
        InvalidEvidence: it is not evidence.
    """
    kind = kinds.recognise(data)
    statement = kind.parse(data)
    try:
        if kind.name == "snp":
            return Needs(kind.name, *kds.needs(statement))
        if kind.name == "tdx":
            return Needs(kind.name, (), pcs.needs(statement, early=early))
    except Refused as exc:
        raise InvalidEvidence("evidence", exc.refusal.reason) from exc
    return Needs(kind.name)


def identify(data: bytes, what: str, *, early: bool = False) -> list[tuple[Publication, bytes]]:
    """Say what a file holds, which need not be genuine: each publication, and the bytes to keep.

    Args:
        data: certificates, a revocation list or collateral, in the forms that :func:`haulout.tee.verify` takes.
        what: the file, for the error.
        early: whether it is what Intel announces.

    Raises:
        InvalidEvidence: it holds nothing that is known.
    """
    try:
        found = pcs.identify(data, what, early=early) if data.lstrip()[:1] == b"{" else kds.identify(data, what)
    except Refused as exc:
        raise InvalidEvidence(what, exc.refusal.reason) from exc
    if not found:
        raise InvalidEvidence(what, "it holds neither AMD's certificates or revocation lists nor Intel's collateral")
    return [*found]


def accept(
    publication: Publication,
    data: bytes,
    *,
    at: datetime,
    above: bytes = b"",
    trusted: Collection[str] = (),
    test: bool = False,
) -> Span:
    """Verify that some bytes are a publication, genuine and valid.

    Args:
        publication: what they have to be.
        data: what was received, as it is to be kept.
        at: when it has to be valid.
        above: the content of ``publication.above``, verified before.
        trusted: fingerprints of roots that are trusted besides the vendors'.
        test: whether an emulator's root may be among them.

    Raises:
        InvalidEvidence: they are not.
    """
    try:
        return publication.check(data, above, at, trusted, test=test)
    except Refused as exc:
        raise InvalidEvidence(publication.title, exc.refusal.reason, hint=exc.refusal.hint) from exc

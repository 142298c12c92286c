"""What a broker asks: the certificates and collateral with which to verify some evidence, as far as they are here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.tee import publications

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.broker.operations.collateral.cache import Cache
    from haulout.broker.operations.collateral.fetch import Services
    from haulout.broker.operations.collateral.refresh import Refresher
    from haulout.tee import Given, Publication


@dataclass(frozen=True, slots=True)
class Supplied:
    """What is here for some evidence.

    Attributes:
        certificates, collateral: for :func:`haulout.tee.verify`, after those that the guest sent.
        missing: what is not here, in words with its address; only of interest where the evidence is refused.
        retry_after: seconds after which it may be here; None: it is not being fetched.
    """

    certificates: Sequence[Given] = ()
    collateral: Sequence[Given] = ()
    missing: tuple[str, ...] = ()
    retry_after: float | None = None


class Supply:
    """The cache, and the thread that fills it.

    Args:
        cache: the folder.
        services: where vendors are.
        refresher: fetches what is missing; None: offline.
    """

    def __init__(self, cache: Cache, services: Services, refresher: Refresher | None = None) -> None:
        self.cache = cache
        self.refresher = refresher
        self._services = services

    def for_evidence(self, evidence: bytes, *, early: bool = False) -> Supplied:
        """Return what is here, and have the rest fetched.

        Args:
            evidence: it need not be genuine.
            early: Intel's documents as they will be after its next TCB recovery.

        Raises:
            InvalidEvidence: it is not evidence.
        """
        needs = publications(evidence, early=early)
        found = self.cache.find(needs)
        certificates, collateral = needs.given(found.content)
        retry = self.refresher.want(found.missing) if self.refresher and found.missing else None
        return Supplied(certificates, collateral, tuple(map(self._described, found.missing)), retry)

    def _described(self, publication: Publication) -> str:
        address = self._services.address(publication)
        return f"{publication.title} is not in the cache{f': {address}' if address else ''}"

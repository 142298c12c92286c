"""Fetching what vendors publish, from them or from a cache of their services on one's own network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from haulout.broker.operations.collateral.cache import LARGEST
from haulout.errors import NotFoundError
from haulout.http import Request
from haulout.tee import KDS, PCS

if TYPE_CHECKING:
    from haulout.broker.operations.collateral.cache import Cache, Entry
    from haulout.http import Client
    from haulout.tee import Publication

_ROOT_LIST: Final = "https://certificates.trustedservices.intel.com/"


@dataclass(frozen=True, slots=True)
class Services:
    """Where the vendors' services are: AMD's KDS and Intel's PCS, or what caches them under the same paths (PCCS)."""

    kds: str = KDS
    pcs: str = PCS

    def address(self, publication: Publication) -> str:
        """Return the URL of a publication; "" where the vendor has none."""
        address = publication.address
        if address.startswith(_ROOT_LIST) and self.pcs != PCS:
            # Intel's own is a file of another host; a PCCS has it under this path, in hexadecimal.
            return f"{self.pcs}/sgx/certification/v4/rootcacrl"
        for vendor, here in ((KDS, self.kds), (PCS, self.pcs)):
            if address.startswith(vendor):
                return here.rstrip("/") + address.removeprefix(vendor)
        return address


def fetch(publication: Publication, cache: Cache, client: Client, services: Services) -> Entry:
    """Fetch a publication, what it is verified with first if that is not there, verify it and keep it.

    Raises:
        NotFoundError: the vendor does not publish it.
        HauloutError: it cannot be fetched, or is not genuine.
    """
    above = publication.above
    if above is not None and cache.get(above) is None:
        fetch(above, cache, client, services)
    address = services.address(publication)
    if not address:
        raise NotFoundError(
            f"{publication.title} is not published",
            hint="the guest has to send it, or import it: haulout broker collateral import FILE",
        )
    answer = client.read(Request("GET", address), what=publication.title, most=LARGEST, redirects=True)
    chain = answer.headers.get(publication.chain_header, "") if publication.chain_header else ""
    return cache.keep(publication, publication.kept(answer.body, unquote_to_bytes(chain)))

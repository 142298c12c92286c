"""AMD's certificates, which are public and the same for everybody, and where that of one chip is had.

``authorities.pem`` has ARK, ASK and ASVK of every product line. Nothing depends on it being right: the root is pinned
by its fingerprint, and every signature is verified.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pkgutil import get_data
from typing import TYPE_CHECKING

from haulout.tee.certificates import Certificate, read_bundle
from haulout.tee.snp import kds
from haulout.tee.snp.parse import Cpuid, Product

if TYPE_CHECKING:
    from haulout.tee.snp.parse import SnpReport

_MILAN = Cpuid(0x19, 0, 0)


@cache
def authorities() -> tuple[Certificate, ...]:
    """Return the certificates of AMD's authorities."""
    return read_bundle(get_data(__package__, "authorities.pem") or b"", "AMD's certificates")


def address(report: SnpReport) -> str:
    """Return what to say about where the certificate of the key that signed a report is had: a URL, if it has one."""
    named = report if report.cpuid is not None else replace(report, cpuid=_MILAN)
    keys = [one for one in kds.needs(named)[0] if isinstance(one, kds.EndorsementKey)]
    if not any(report.chip_id) or not keys or not keys[0].address:
        return "AMD does not publish it: it comes from the machine or its provider"
    # Reports of version 2 do not name the processor; those of Genoa have the same form.
    other = "" if report.cpuid is not None else f", or there with {Product.GENOA} in place of {Product.MILAN}"
    return f"AMD has it at {keys[0].address}{other}"

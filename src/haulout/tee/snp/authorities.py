"""AMD's certificates, which are public and the same for everybody, and where that of one chip is had.

``authorities.pem`` has ARK, ASK and ASVK of every product line. Nothing depends on it being right: the root is pinned
by its fingerprint, and every signature is verified.

Source: AMD, Versioned Chip Endorsement Key Certificate and KDS Interface Specification (57230).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from haulout.tee.certificates import Certificate, read_bundle
from haulout.tee.snp.parse import Product, read_tcb

if TYPE_CHECKING:
    from haulout.tee.snp.parse import SnpReport

_SERVICE: Final = "https://kdsintf.amd.com/vcek/v1"
_NAMES: Final = {"fmc": "fmcSPL", "bootloader": "blSPL", "tee": "teeSPL", "snp": "snpSPL", "microcode": "ucodeSPL"}
_TURIN_CHIP: Final = 8
"""Bytes by which a chip is named on Turin; elsewhere all 64."""


@cache
def authorities() -> tuple[Certificate, ...]:
    """Return the certificates of AMD's authorities."""
    return read_bundle(files(__package__).joinpath("authorities.pem").read_bytes(), "AMD's certificates")


def address(report: SnpReport) -> str:
    """Return what to say about where the certificate of the key that signed a report is had: a URL, if it has one."""
    if not any(report.chip_id):
        return "the report does not name its chip: the certificate comes from the machine's operator"
    product = None if report.cpuid is None else report.cpuid.product
    tcb = read_tcb(report.reported_tcb, product or Product.MILAN)
    chip = report.chip_id[:_TURIN_CHIP] if product is Product.TURIN else report.chip_id
    query = "&".join(f"{_NAMES[name]}={value:02}" for name, value in tcb.parts.items())
    # Reports of version 2 do not name the processor.
    other = "" if product else f" (or with {Product.GENOA} in place of {Product.MILAN})"
    return f"AMD has it at {_SERVICE}/{product or Product.MILAN}/{chip.hex()}?{query}{other}"

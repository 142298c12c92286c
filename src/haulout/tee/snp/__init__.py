"""AMD SEV-SNP: its report, whether it is genuine, and what a policy can require of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.tee.snp.endorsement import Signer
    from haulout.tee.snp.parse import SIGNED, SIZE, Product, SnpReport, Tcb

__all__ = ["SIGNED", "SIZE", "Product", "Signer", "SnpReport", "Tcb", "endorsement", "parse"]

open_face(__name__, {"endorsement": ("Signer",), "parse": ("SIGNED", "SIZE", "Product", "SnpReport", "Tcb")})

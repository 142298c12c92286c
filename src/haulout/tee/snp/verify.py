"""Whether an SEV-SNP report is genuine: signature, chain, chip, TCB, product."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from haulout.tee import certificates as x509
from haulout.tee.chains import chain_of
from haulout.tee.curves import P384_ORDER
from haulout.tee.revocation import RevocationList, require_not_revoked
from haulout.tee.roots import Anchor, anchor
from haulout.tee.snp import report as layout
from haulout.tee.snp.endorsement import COMMON_NAMES, Endorsement, Signer, read
from haulout.tee.snp.report import Product, SnpReport, Tcb, read_tcb
from haulout.tee.verdict import Kind, Refused, Rule

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class SnpClaims:
    """What a genuine report says."""

    report: SnpReport
    product: Product
    endorsement: Endorsement
    anchor: Anchor
    reported_tcb: Tcb
    committed_tcb: Tcb
    current_tcb: Tcb
    launch_tcb: Tcb
    revocation_checked: bool

    kind = Kind.SNP


def genuine(
    report: SnpReport,
    certificates: Sequence[x509.Certificate],
    lists: Sequence[RevocationList],
    at: datetime,
    *,
    trusted: Collection[str] = (),
    test: bool = False,
) -> SnpClaims:
    """Judge whether a report was made by an AMD processor in the state it tells of.

    Args:
        report: the report.
        certificates: of the signing key and those above it, in any order.
        lists: AMD's revocation lists, where they are at hand.
        at: the time at which certificates have to be valid.
        trusted: fingerprints of roots that a policy adds.
        test: whether that policy is marked as one for tests.

    Raises:
        Refused: it is not genuine.
    """
    _require_layout(report)
    signer = _signer(report)
    leaf, signed = _leaf(report, signer, list(x509.distinct(certificates)))
    chain = chain_of(leaf, certificates, at)
    if not signed:
        raise Refused(
            Rule.SIGNATURE,
            f"its signature is not that of the {signer.upper()} given: it was changed, or another chip made it",
        )
    covered = require_not_revoked(chain, lists, at)
    root = _root(chain, trusted=trusted, test=test)
    _require_roles(chain, signer, Product(root.product))
    endorsement = read(leaf, signer)
    product = _product(report, endorsement, root)
    reported = read_tcb(report.reported_tcb, product)
    # The key is derived from the reported TCB, not from the one that happens to run.
    if endorsement.tcb != reported:
        raise Refused(
            Rule.TCB_CERTIFICATE,
            f"the signing key's certificate is for TCB {_spelled(endorsement.tcb)}, "
            f"but the report tells of {_spelled(reported)}",
            hint="fetch the certificate for the reported TCB",
        )
    _require_chip(report, endorsement)
    return SnpClaims(
        report=report,
        product=product,
        endorsement=endorsement,
        anchor=root,
        reported_tcb=reported,
        committed_tcb=read_tcb(report.committed_tcb, product),
        current_tcb=read_tcb(report.current_tcb, product),
        launch_tcb=read_tcb(report.launch_tcb, product),
        revocation_checked=len(covered) == len(chain) - 1,
    )


def _require_layout(report: SnpReport) -> None:
    if report.version not in layout.VERSIONS:
        known = f"{layout.VERSIONS[0]} to {layout.VERSIONS[-1]}"
        raise Refused(Rule.FORMAT_VERSION, f"it is a report of version {report.version}; known are {known}")
    if report.signature_algorithm != 1:
        raise Refused(
            Rule.SIGNATURE_ALGORITHM,
            f"it is signed by algorithm {report.signature_algorithm}; only 1, ECDSA on P-384 with SHA-384, is known",
        )
    if report.key_info >> 5:
        raise Refused(Rule.RESERVED, "it uses reserved bits of its key information")
    if any(report.tail) or any(report.r[48:]) or any(report.s[48:]):
        raise Refused(Rule.SIGNATURE_ENCODING, "there are bytes in its signature where zeros belong")
    for number in (report.r, report.s):
        if not 0 < int.from_bytes(number, "little") < P384_ORDER:
            raise Refused(Rule.SIGNATURE_ENCODING, "a number of its signature is zero or too large")


def _signer(report: SnpReport) -> Signer:
    signers = {layout.SIGNER_VCEK: Signer.VCEK, layout.SIGNER_VLEK: Signer.VLEK}
    found = signers.get(report.signer)
    if found is None:
        raise Refused(Rule.CERTIFICATE_ROLE, f"it says that neither a VCEK nor a VLEK signed it ({report.signer})")
    return found


def _leaf(report: SnpReport, signer: Signer, given: Sequence[x509.Certificate]) -> tuple[x509.Certificate, bool]:
    """Find the certificate whose key signed the report, among those of the right sort; else the first, and False."""
    name = COMMON_NAMES[signer]
    candidates = [one for one in given if one.common_name == name]
    if not candidates:
        others = sorted({one.common_name for one in given})
        raise Refused(
            Rule.CERTIFICATE_ROLE if others else Rule.CERTIFICATE_MISSING,
            f"it was signed by a {signer.upper()}, whose certificate was not given"
            + (f"; there are {', '.join(map(repr, others[:4]))}" if others else ""),
            hint=f"add the {signer.upper()}'s certificate, and its chain, with --cert",
        )
    for candidate in candidates:
        if not isinstance(candidate.key, ec.EllipticCurvePublicKey) or candidate.key.curve.name != "secp384r1":
            raise Refused(Rule.CERTIFICATE_ROLE, f"the certificate {name!r} is for a key that is not of P-384")
        if _verifies(candidate.key, report):
            return candidate, True
    return candidates[0], False


def _verifies(key: ec.EllipticCurvePublicKey, report: SnpReport) -> bool:
    signature = encode_dss_signature(int.from_bytes(report.r, "little"), int.from_bytes(report.s, "little"))
    try:
        key.verify(signature, report.signed, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        return False
    return True


def _root(chain: Sequence[x509.Certificate], *, trusted: Collection[str], test: bool) -> Anchor:
    root = chain[-1]
    product = root.common_name.removeprefix("ARK-")
    found = anchor(root, "AMD", product=product, trusted=trusted, test=test)
    if found.product not in tuple(Product):
        raise Refused(Rule.PRODUCT, f"its chain ends in {root.common_name!r}, of no known product")
    return found


def _require_roles(chain: Sequence[x509.Certificate], signer: Signer, product: Product) -> None:
    """Require exactly ARK, ASK or ASVK, and the signing key, all of one product."""
    between = f"SEV-{product}" if signer is Signer.VCEK else f"SEV-VLEK-{product}"
    names = [one.common_name for one in chain]
    wanted = [COMMON_NAMES[signer], between, f"ARK-{product}"]
    if names != wanted:
        raise Refused(
            Rule.CERTIFICATE_ROLE, f"its chain is {' < '.join(names)}, where {' < '.join(wanted)} is expected"
        )
    for one in chain[1:]:
        if not isinstance(one.key, rsa.RSAPublicKey):
            raise Refused(Rule.CERTIFICATE_ROLE, f"the certificate {one.common_name!r} is not for an RSA key")


def _product(report: SnpReport, endorsement: Endorsement, root: Anchor) -> Product:
    """Require that root, certificate and, where it tells, the report name the same product."""
    product = Product(root.product)
    if endorsement.product is not product:
        raise Refused(
            Rule.PRODUCT, f"its certificate is for {endorsement.product_name}, but its chain ends in {root.name}"
        )
    if report.cpuid is not None and report.cpuid.product is not product:
        cpuid = report.cpuid
        raise Refused(
            Rule.PRODUCT,
            f"it tells of a processor of family {cpuid.family:#04x}, model {cpuid.model:#04x}, which is no {product}",
        )
    return product


def _require_chip(report: SnpReport, endorsement: Endorsement) -> None:
    if endorsement.hardware_id is None:
        return
    if not any(report.chip_id):
        raise Refused(Rule.CHIP, "it hides which chip made it, which a VCEK's certificate names")
    if not hmac.compare_digest(report.chip_id, endorsement.hardware_id.ljust(64, b"\0")):
        raise Refused(Rule.CHIP, "its signing key's certificate is for another chip")


def _spelled(tcb: Tcb) -> str:
    return " ".join(f"{name}={value}" for name, value in tcb.parts().items())

"""Whether an SEV-SNP report is genuine: signature, chain, chip, TCB, product."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from haulout.tee import certificates as x509
from haulout.tee.chains import chain_of
from haulout.tee.revocation import read_revocation_list, require_not_revoked
from haulout.tee.roots import anchor
from haulout.tee.signatures import P384, P384_ORDER, is_on, is_signed, require_numbers
from haulout.tee.snp.authorities import address, authorities
from haulout.tee.snp.endorsement import COMMON_NAMES, Endorsement, Signer, read
from haulout.tee.snp.parse import SIGNER_VCEK, SIGNER_VLEK, VERSIONS, Product, SnpReport, Tcb, read_tcb
from haulout.tee.snp.rules import SnpClaims, SnpPolicy
from haulout.tee.verdict import Anchor, Refused, Rule

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from haulout.tee.inputs import Inputs


def genuine(report: SnpReport, inputs: Inputs[SnpPolicy]) -> SnpClaims:
    """Verify that a report was made by an AMD processor in the state that it names.

    Args:
        report: the report.
        inputs: certificates of the signing key and those above it; AMD's revocation lists as collateral.

    Raises:
        Refused: it is not genuine.
    """
    certificates = x509.read_files(inputs.certificates)
    lists = [read_revocation_list(file.data, file.name) for file in inputs.collateral]
    _require_layout(report)
    signer = _signer(report)
    leaf, signed = _leaf(report, signer, list(x509.distinct(certificates)))
    chain = chain_of(leaf, [*certificates, *authorities()], inputs.at)
    if not signed:
        raise Refused(
            Rule.SIGNATURE,
            f"the {signer.upper()} given did not sign it: it was changed, or made by another chip",
        )
    covered = require_not_revoked(chain, lists, inputs.at)
    root = _root(chain, trusted=inputs.trusted, test=inputs.test)
    _require_roles(chain, signer, Product(root.product))
    endorsement = read(leaf, signer)
    product = _product(report, endorsement, root)
    reported = read_tcb(report.reported_tcb, product)
    # The key is derived from the reported TCB, not from the one that happens to run.
    if endorsement.tcb != reported:
        raise Refused(
            Rule.TCB_CERTIFICATE,
            f"the signing key's certificate is for TCB {_spelled(endorsement.tcb)}, "
            f"but the report is for {_spelled(reported)}",
            hint=f"add the certificate for the reported TCB; {address(report)}",
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
    if report.version not in VERSIONS:
        known = f"{VERSIONS[0]} to {VERSIONS[-1]}"
        raise Refused(Rule.FORMAT_VERSION, f"its report version {report.version} is not known; known are {known}")
    if report.signature_algorithm != 1:
        raise Refused(
            Rule.SIGNATURE_ALGORITHM,
            f"its signature algorithm {report.signature_algorithm} is not known; only 1, ECDSA P-384 with SHA-384, is",
        )
    if report.key_info >> 5:
        raise Refused(Rule.RESERVED, "it uses reserved bits of its key information")
    if any(report.tail) or any(report.r[48:]) or any(report.s[48:]):
        raise Refused(Rule.SIGNATURE_ENCODING, "its signature has other bytes where zeros are expected")
    require_numbers(_numbers(report), P384_ORDER)


def _signer(report: SnpReport) -> Signer:
    signers = {SIGNER_VCEK: Signer.VCEK, SIGNER_VLEK: Signer.VLEK}
    found = signers.get(report.signer)
    if found is None:
        raise Refused(Rule.CERTIFICATE_ROLE, f"its signer is neither a VCEK nor a VLEK ({report.signer})")
    return found


def _leaf(report: SnpReport, signer: Signer, given: Sequence[x509.Certificate]) -> tuple[x509.Certificate, bool]:
    """Find the certificate whose key signed the report, among those of the right type; else the first, and False."""
    name = COMMON_NAMES[signer]
    candidates = [one for one in given if one.common_name == name]
    if not candidates:
        others = sorted({one.common_name for one in given})
        raise Refused(
            Rule.CERTIFICATE_ROLE if others else Rule.CERTIFICATE_MISSING,
            f"it was signed by a {signer.upper()}, whose certificate was not given"
            + (f"; there are {', '.join(map(repr, others[:4]))}" if others else ""),
            hint=f"add the {signer.upper()}'s certificate with --cert; {address(report)}",
        )
    for candidate in candidates:
        if not isinstance(candidate.key, ec.EllipticCurvePublicKey) or not is_on(candidate.key, P384):
            raise Refused(Rule.CERTIFICATE_ROLE, f"the certificate {name!r} is for a key that is not on P-384")
        if is_signed(candidate.key, _numbers(report), report.signed):
            return candidate, True
    return candidates[0], False


def _numbers(report: SnpReport) -> tuple[int, int]:
    return int.from_bytes(report.r, "little"), int.from_bytes(report.s, "little")


def _root(chain: Sequence[x509.Certificate], *, trusted: Collection[str], test: bool) -> Anchor:
    root = chain[-1]
    product = root.common_name.removeprefix("ARK-")
    found = anchor(root, "AMD", product=product, trusted=trusted, test=test)
    if found.product not in tuple(Product):
        raise Refused(Rule.PRODUCT, f"its chain ends in {root.common_name!r}, an unknown product")
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
    """Require that root, certificate and, from version 3 on, the report name the same product."""
    product = Product(root.product)
    if endorsement.product is not product:
        raise Refused(
            Rule.PRODUCT, f"its certificate is for {endorsement.product_name}, but its chain ends in {root.name}"
        )
    if report.cpuid is not None and report.cpuid.product is not product:
        cpuid = report.cpuid
        raise Refused(
            Rule.PRODUCT,
            f"its processor, family {cpuid.family:#04x}, model {cpuid.model:#04x}, is not a {product}",
        )
    return product


def _require_chip(report: SnpReport, endorsement: Endorsement) -> None:
    if endorsement.hardware_id is None:
        return
    if not any(report.chip_id):
        raise Refused(Rule.CHIP, "it hides its chip, but the VCEK's certificate names one")
    if not hmac.compare_digest(report.chip_id, endorsement.hardware_id.ljust(64, b"\0")):
        raise Refused(Rule.CHIP, "its signing key's certificate is for another chip")


def _spelled(tcb: Tcb) -> str:
    return " ".join(f"{name}={value}" for name, value in tcb.parts.items())

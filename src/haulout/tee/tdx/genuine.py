"""Whether a TDX quote is genuine: quote, quoting enclave, platform, Intel; and how Intel rates the platform today."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from haulout.errors import InvalidEvidence
from haulout.tee import certificates as x509
from haulout.tee.chains import chain_of
from haulout.tee.roots import anchor
from haulout.tee.signatures import P256_ORDER, big_endian, require_numbers
from haulout.tee.tdx import collateral as intel
from haulout.tee.tdx import pck, tcb
from haulout.tee.tdx.parse import INTEL, TdxQuote
from haulout.tee.tdx.rules import TdxClaims, TdxPolicy
from haulout.tee.verdict import Refused, Rule

if TYPE_CHECKING:
    from haulout.tee.inputs import Inputs

_LEAF: Final = "Intel SGX PCK Certificate"
_AUTHORITIES: Final = ("Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA")
_ROOT: Final = "Intel SGX Root CA"


def genuine(quote: TdxQuote, inputs: Inputs[TdxPolicy]) -> TdxClaims:
    """Verify that a quote was made by an Intel processor.

    Args:
        quote: the quote, which contains its certificates: those given besides are not needed.
        inputs: Intel's collateral about such platforms.

    Raises:
        Refused: it is not genuine.
    """
    collateral = _collateral(inputs)
    at, trusted, test = inputs.at, inputs.trusted, inputs.test
    if quote.qe_vendor != INTEL:
        raise Refused(Rule.QE_VENDOR, f"its quoting enclave is not Intel's; its vendor is {quote.qe_vendor.hex()}")
    given = x509.read_bundle(quote.pck_chain, "chain of certificates in the quote")
    leaves = [one for one in given if not one.authority]
    if len(leaves) != 1:
        raise Refused(Rule.CERTIFICATE_ROLE, f"it contains {len(leaves)} certificates of signers; one is expected")
    chain = chain_of(leaves[0], given, at)
    root = anchor(chain[-1], "Intel", trusted=trusted, test=test)
    names = [one.common_name for one in chain]
    if len(names) != 3 or names[0] != _LEAF or names[1] not in _AUTHORITIES or names[2] != _ROOT:
        raise Refused(Rule.CERTIFICATE_ROLE, f"its chain is {' < '.join(names)}, not that of an Intel platform")
    platform = pck.read(chain[0])
    _require_signatures(quote, chain[0])
    rating = None
    if collateral is not None:
        intel.require(collateral, chain, root, at, test=test)
        rating = tcb.rate(quote.body, quote.qe, platform, collateral.tcb_info, collateral.qe_identity)
    return TdxClaims(quote, root, platform, rating)


def _collateral(inputs: Inputs[TdxPolicy]) -> intel.Collateral | None:
    files = inputs.collateral
    if len(files) > 1:
        raise InvalidEvidence(files[1].name, "the collateral of a TDX quote is one file, and another was given")
    return intel.parse(files[0].data, files[0].name) if files else None


def _require_signatures(quote: TdxQuote, certificate: x509.Certificate) -> None:
    for signature in (quote.signature, quote.qe_signature):
        require_numbers(big_endian(signature), P256_ORDER)
    if not intel.verifies(certificate.key, quote.qe_signature, quote.qe_signed):
        raise Refused(Rule.SIGNATURE, "its platform's key did not sign the report of its quoting enclave")
    if quote.qe.debug:
        raise Refused(Rule.QE_IDENTITY, "its quoting enclave can be debugged")
    bound = hashlib.sha256(quote.attestation_key + quote.qe_authentication).digest() + bytes(32)
    if not hmac.compare_digest(quote.qe.report_data, bound):
        raise Refused(Rule.QE_BINDING, "its quoting enclave does not confirm the key that signed it")
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + quote.attestation_key)
    except ValueError as exc:
        raise Refused(Rule.SIGNATURE_ENCODING, "its attestation key is not a point on P-256") from exc
    if not intel.verifies(key, quote.signature, quote.signed):
        raise Refused(Rule.SIGNATURE, "its attestation key did not sign it: it was changed")

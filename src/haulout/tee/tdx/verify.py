"""Whether a TDX quote is genuine: quote, quoting enclave, platform, Intel; and how Intel judges the platform today."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from haulout.tee import certificates as x509
from haulout.tee.chains import chain_of
from haulout.tee.curves import P256_ORDER
from haulout.tee.roots import Anchor, anchor
from haulout.tee.tdx import collateral as intel
from haulout.tee.tdx import pck, tcb
from haulout.tee.tdx.quote import INTEL, TdxQuote
from haulout.tee.verdict import Kind, Refused, Rule

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from haulout.tee.tdx.collateral import Collateral

_LEAF: Final = "Intel SGX PCK Certificate"
_AUTHORITIES: Final = ("Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA")
_ROOT: Final = "Intel SGX Root CA"


@dataclass(frozen=True, slots=True)
class TdxClaims:
    """What a genuine quote says.

    Attributes:
        tcb: how Intel judges the platform; None where no collateral was given.
    """

    quote: TdxQuote
    anchor: Anchor
    platform: pck.Platform
    tcb: tcb.TcbJudgement | None

    kind = Kind.TDX


def genuine(
    quote: TdxQuote,
    collateral: Collateral | None,
    at: datetime,
    *,
    trusted: Collection[str] = (),
    test: bool = False,
) -> TdxClaims:
    """Judge whether a quote was made by an Intel processor.

    Args:
        quote: the quote, which brings its certificates along.
        collateral: what Intel knows about such platforms.
        at: the time at which certificates and collateral have to be valid.
        trusted: fingerprints of roots that a policy adds.
        test: whether that policy is marked as one for tests.

    Raises:
        Refused: it is not genuine.
    """
    if quote.qe_vendor != INTEL:
        raise Refused(Rule.QE_VENDOR, f"its quoting enclave is not Intel's, but of {quote.qe_vendor.hex()}")
    given = x509.read_bundle(quote.pck_chain, "chain of certificates in the quote")
    leaves = [one for one in given if not one.authority]
    if len(leaves) != 1:
        raise Refused(Rule.CERTIFICATE_ROLE, f"it brings {len(leaves)} certificates of signers, where one is expected")
    chain = chain_of(leaves[0], given, at)
    root = anchor(chain[-1], "Intel", trusted=trusted, test=test)
    names = [one.common_name for one in chain]
    if len(names) != 3 or names[0] != _LEAF or names[1] not in _AUTHORITIES or names[2] != _ROOT:
        raise Refused(Rule.CERTIFICATE_ROLE, f"its chain is {' < '.join(names)}, not that of a platform of Intel")
    platform = pck.read(chain[0])
    _require_signatures(quote, chain[0])
    judged = None
    if collateral is not None:
        intel.require(collateral, chain, root, at, test=test)
        judged = tcb.judge(quote.body, quote.qe, platform, collateral.tcb_info, collateral.qe_identity)
    return TdxClaims(quote, root, platform, judged)


def _require_signatures(quote: TdxQuote, certificate: x509.Certificate) -> None:
    for signature in (quote.signature, quote.qe_signature):
        if not all(0 < int.from_bytes(half, "big") < P256_ORDER for half in (signature[:32], signature[32:])):
            raise Refused(Rule.SIGNATURE_ENCODING, "a number of its signature is zero or too large")
    if not intel.verifies(certificate.key, quote.qe_signature, quote.qe_signed):
        raise Refused(Rule.SIGNATURE, "its platform's key did not sign the report of its quoting enclave")
    if quote.qe.debug:
        raise Refused(Rule.QE_IDENTITY, "its quoting enclave can be debugged")
    bound = hashlib.sha256(quote.attestation_key + quote.qe_authentication).digest() + bytes(32)
    if not hmac.compare_digest(quote.qe.report_data, bound):
        raise Refused(Rule.QE_BINDING, "its quoting enclave does not vouch for the key that signed it")
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + quote.attestation_key)
    except ValueError as exc:
        raise Refused(Rule.SIGNATURE_ENCODING, "its attestation key is no point of P-256") from exc
    if not intel.verifies(key, quote.signature, quote.signed):
        raise Refused(Rule.SIGNATURE, "its signature is not that of its attestation key: it was changed")

"""Whether TPM evidence is genuine: the key, its signature, the PCRs, and that the key lives in a TPM of some maker."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from haulout.tee import certificates as x509
from haulout.tee.roots import anchor
from haulout.tee.tpm.endorsement import (
    AK_USAGE,
    EK_USAGE,
    Chip,
    chip_of,
    find,
    fingerprint,
    read_enrolments,
    vendor_chain,
)
from haulout.tee.tpm.rules import TpmClaims, TpmPolicy
from haulout.tee.tpm.structures import ATTRIBUTES, ECDSA, NULL, RSAPSS, Public
from haulout.tee.verdict import Anchor, Refused, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.tee.inputs import Inputs
    from haulout.tee.tpm.parse import TpmQuote

_MAKER: Final = "a maker of TPMs that the policy names"
_DEMANDED: Final = ("fixed-tpm", "fixed-parent", "sensitive-data-origin", "restricted", "sign")
"""Of an attestation key: made in this TPM, never outside of it, and signs only what the TPM itself says."""
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


def genuine(quote: TpmQuote, inputs: Inputs[TpmPolicy]) -> TpmClaims:
    """Verify that a quote was made by a TPM whose maker, or whose key, is trusted.

    Args:
        quote: the quote.
        inputs: certificates of the attestation key or of the endorsement key, and those above; an enrolment of the
            attestation key (:class:`~haulout.tee.tpm.endorsement.Enrolment`) as collateral. Without a policy, the root
            is trusted because the caller gave it.

    Raises:
        Refused: it is not genuine.
    """
    known = () if inputs.section is None else inputs.section.authorities
    certificates = list(x509.distinct([*known, *x509.read_files(inputs.certificates)]))
    enrolled = {one.ek for one in read_enrolments(inputs.collateral) if one.ak == quote.ak.name}
    _require_attestation_key(quote.ak)
    _require_signed(quote)
    _require_values(quote)
    root, chip = _origin(quote.ak, certificates, enrolled, inputs)
    return TpmClaims(quote, root, chip)


def _require_attestation_key(ak: Public) -> None:
    known = sum(1 << bit for bit in ATTRIBUTES.values())
    if ak.attributes & ~known:
        raise Refused(Rule.RESERVED, f"its key uses reserved attributes ({ak.attributes & ~known:#x})")
    missing = [name for name in _DEMANDED if not ak.has(name)]
    if missing:
        raise Refused(
            Rule.KEY_ATTRIBUTES,
            f"its key is not an attestation key: it lacks {', '.join(missing)}",
            hint="a key that may sign anything can sign a quote that no TPM made",
        )
    if ak.has("decrypt"):
        raise Refused(Rule.KEY_ATTRIBUTES, "its key is not an attestation key: it decrypts")


def _require_signed(quote: TpmQuote) -> None:
    ak, signature = quote.ak, quote.signature
    if ak.scheme != NULL and (ak.scheme, ak.scheme_hash) != (signature.scheme, signature.hash):
        raise Refused(Rule.SIGNATURE_ALGORITHM, "its signature is not of the scheme and hash that its key has")
    curve = isinstance(ak.key, ec.EllipticCurvePublicKey)
    if (signature.scheme == ECDSA) != curve:
        raise Refused(Rule.SIGNATURE_ALGORITHM, "its signature is not of the kind that its key makes")
    algorithm = _HASHES[signature.hash]
    try:
        if isinstance(ak.key, rsa.RSAPublicKey):
            if len(signature.numbers[0]) * 8 != ak.key.key_size:
                raise Refused(Rule.SIGNATURE_ENCODING, "its signature is not of the length of its key")
            salted = padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO)
            plain = padding.PKCS1v15()
            ak.key.verify(
                signature.numbers[0], quote.attest.raw, salted if signature.scheme == RSAPSS else plain, algorithm
            )
        else:
            r, s = (int.from_bytes(one, "big") for one in signature.numbers)
            ak.key.verify(encode_dss_signature(r, s), quote.attest.raw, ec.ECDSA(algorithm))
    except InvalidSignature as exc:
        raise Refused(Rule.SIGNATURE, "it was not signed by the key given with it, or was changed") from exc


def _require_values(quote: TpmQuote) -> None:
    # The digest is made with the hash of the signature, whatever the banks (Part 3, TPM2_Quote).
    found = hashlib.new(quote.signature.hash, b"".join(quote.values)).digest()
    if not hmac.compare_digest(found, quote.attest.digest):
        raise Refused(Rule.PCR_DIGEST, "the values of PCRs given with it are not those that were quoted")


def _origin(
    ak: Public, certificates: Sequence[x509.Certificate], enrolled: set[str], inputs: Inputs[TpmPolicy]
) -> tuple[Anchor, Chip | None]:
    """Find out why the key is known to live in a TPM."""
    section = inputs.section
    own = fingerprint(ak.key)
    if section is not None and section.aks is not None and ak.name in section.aks:
        return Anchor("a key that the policy names", "TPM", "", own, test=inputs.test), None
    leaf, chip = find(certificates, own, AK_USAGE), None
    if leaf is None:
        found = (find(certificates, ek, EK_USAGE) for ek in sorted(enrolled))
        leaf = next((one for one in found if one is not None), None)
        if leaf is None:
            raise _unknown(certificates, enrolled)
        chip = chip_of(leaf)
    root = vendor_chain(leaf, certificates, inputs.at)[-1]
    if inputs.policy is None:
        return Anchor(root.common_name, "TPM", "", root.fingerprint, given=True), chip
    trusted = inputs.trusted if section is None else inputs.trusted | section.roots
    return anchor(root, _MAKER, trusted=trusted, test=inputs.test), chip


def _unknown(certificates: Sequence[x509.Certificate], enrolled: set[str]) -> Refused:
    if enrolled:
        return Refused(
            Rule.CERTIFICATE_MISSING,
            "the certificate of the endorsement key beside which its key was enrolled was not given",
            hint="add it with --cert, and those above it",
        )
    if any(find([one], fingerprint(one.key), EK_USAGE) for one in certificates):
        return Refused(
            Rule.ENROLMENT,
            "nothing shows that its key lives in the TPM whose certificate was given",
            hint="a broker enrols the key when the guest attests; else list its name in the policy's aks",
        )
    return Refused(
        Rule.CERTIFICATE_MISSING,
        "nothing shows that its key lives in a TPM: no certificate was given",
        hint="add the certificate of its attestation key with --cert, or list the key's name in the policy's aks",
    )

"""Whether a guest's attestation key lives in the TPM whose certificate it sends: asked in each session, kept nowhere.

The challenge carries a secret that only that TPM can decrypt (:mod:`haulout.tee.tpm.credential`). It is derived from a
key of the broker, the nonce and both keys of the TPM, so any instance knows whether the answer is right.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING, Final

from haulout.broker.protocol import Rejected, Trouble
from haulout.errors import InvalidEvidence
from haulout.tee import Given
from haulout.tee.tpm import credential, endorsement, parse, structures

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from haulout.broker.protocol import SigningKey, TpmKeys

TEE: Final = "tpm"
_LABEL: Final = b"haulout: activation of a TPM's credential"


def credential_for(keys: TpmKeys, nonce: str, signing: SigningKey) -> bytes:
    """Return the credential of a challenge.

    Args:
        keys: of the guest's TPM; nothing about them is verified yet.
        nonce: of the challenge.
        signing: the newest key of the broker.

    Raises:
        Rejected: they cannot be read.
    """
    try:
        ((ek, key),) = endorsement.read_keys([Given("certificate of the endorsement key", keys.ek_certificate)]).items()
        name = structures.read_public(keys.ak, "attestation key").name
        secret = _secret(signing, nonce, name, ek)
        made = credential.make_credential(key, name, secret, secrets.token_bytes(credential.SEED))
    except (InvalidEvidence, ValueError) as exc:
        raise Rejected(Trouble.AUTH_FAILED, "the keys of the TPM cannot be read") from exc
    return made.to_bytes()


def enrolments(
    evidence: bytes, certificates: Sequence[Given], nonce: str, signing: Iterable[SigningKey]
) -> tuple[Given, ...]:
    """Return what the activation in some evidence shows, as collateral for the verifier.

    Args:
        evidence: of a TPM.
        certificates: that came with it.
        nonce: of the session.
        signing: keys of the broker, with one of which the challenge was made.
    """
    try:
        quote = parse.parse(evidence)
        keys = endorsement.read_keys(certificates)
    except InvalidEvidence:
        return ()  # the verifier says what is wrong with it
    if not quote.activation:
        return ()
    for one in signing:
        for ek in sorted(keys):
            if hmac.compare_digest(_secret(one, nonce, quote.ak.name, ek), quote.activation):
                found = endorsement.Enrolment(quote.ak.name, ek)
                return (Given("what the TPM activated in this session", found.to_bytes()),)
    return ()


def _secret(signing: SigningKey, nonce: str, ak: bytes, ek: str) -> bytes:
    return hmac.digest(signing.derive(_LABEL), b"\0".join([nonce.encode(), ek.encode(), ak]), "sha256")

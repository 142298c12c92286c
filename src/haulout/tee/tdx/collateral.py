"""Intel's collateral: what Intel publishes about the state of platforms that make quotes.

One JSON file holds it, under the names that other verifiers of quotes use, too: ``tcb_info``, ``tcb_info_signature``,
``tcb_info_issuer_chain``, the same for ``qe_identity``, ``root_ca_crl`` and ``pck_crl`` in hexadecimal (or base64), and
``pck_crl_issuer_chain``. The two documents are strings, because it is their bytes that are signed.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from haulout.errors import InvalidEvidence, InvalidManifest
from haulout.oci import loads
from haulout.tee import certificates as x509
from haulout.tee.chains import chain_of
from haulout.tee.revocation import RevocationList, read_revocation_list, require_not_revoked
from haulout.tee.roots import anchor
from haulout.tee.signatures import P256, big_endian, is_on, is_signed
from haulout.tee.tdx import documents
from haulout.tee.verdict import Anchor, Refused, Rule, stamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

SIGNER: Final = "Intel SGX TCB Signing"
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")


@dataclass(frozen=True, slots=True)
class Part:
    """One signed document with its chain."""

    content: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    given: tuple[x509.Certificate, ...] = field(repr=False)

    @classmethod
    def read(cls, data: bytes, name: str, what: str) -> Part:
        """Read a document of a file of collateral, or of one that holds nothing else; raises InvalidEvidence."""
        values = _values(data, what)
        signature = _binary(values, f"{name}_signature", what, size=64)
        return cls(_text(values, name, what), signature, _chain(values, f"{name}_issuer_chain", what))

    def path(self, what: str, at: datetime) -> tuple[x509.Certificate, ...]:
        """Follow its signer to a root."""
        signers = [one for one in self.given if one.common_name == SIGNER]
        if not signers:
            raise Refused(Rule.COLLATERAL, f"the {what} comes without the certificate of {SIGNER!r}")
        return chain_of(signers[0], self.given, at)

    def require_signed(self, what: str, signer: x509.Certificate) -> None:
        """Refuse what the signer did not sign."""
        if not verifies(signer.key, self.signature, self.content):
            raise Refused(Rule.COLLATERAL, f"the {what} is not signed by {SIGNER!r}")


@dataclass(frozen=True, slots=True)
class Collateral:
    """Collateral as it was parsed; nothing about it is verified."""

    tcb_info: documents.TcbInfo
    tcb_info_part: Part = field(repr=False)
    qe_identity: documents.QeIdentity
    qe_identity_part: Part = field(repr=False)
    root_list: RevocationList
    pck_list: RevocationList
    pck_list_chain: tuple[x509.Certificate, ...] = field(repr=False)


@lru_cache(maxsize=64)
def parse(data: bytes, what: str) -> Collateral:
    """Read collateral.

    Raises:
        InvalidEvidence: it is not collateral.
    """
    info, identity = Part.read(data, "tcb_info", what), Part.read(data, "qe_identity", what)
    pck_list, pck_list_chain = read_pck_list(data, what)
    return Collateral(
        tcb_info=documents.tcb_info(info.content),
        tcb_info_part=info,
        qe_identity=documents.qe_identity(identity.content),
        qe_identity_part=identity,
        root_list=read_root_list(data, what),
        pck_list=pck_list,
        pck_list_chain=pck_list_chain,
    )


def read_pck_list(data: bytes, what: str) -> tuple[RevocationList, tuple[x509.Certificate, ...]]:
    """Read the revocation list of platforms, and its chain; raises InvalidEvidence."""
    values = _values(data, what)
    return _list(values, "pck_crl", what), _chain(values, "pck_crl_issuer_chain", what)


def read_root_list(data: bytes, what: str) -> RevocationList:
    """Read the revocation list of the root; raises InvalidEvidence."""
    return _list(_values(data, what), "root_ca_crl", what)


def require(
    collateral: Collateral, chain: Sequence[x509.Certificate], root: Anchor, at: datetime, *, test: bool
) -> None:
    """Refuse collateral that Intel did not sign, that is not valid at a time, or that revokes a quote's chain.

    Args:
        collateral: the collateral.
        chain: the quote's certificates: PCK, its authority, root.
        root: what ``chain`` ends in; the collateral's chains have to end there, too.
        at: the time.
        test: whether the policy is one for tests.

    Raises:
        Refused: it cannot be relied on.
    """
    lists = (collateral.root_list, collateral.pck_list)
    covered = require_not_revoked(chain, lists, at)
    missing = next((place for place in range(len(chain) - 1) if place not in covered), None)
    if missing is not None:
        raise Refused(
            Rule.COLLATERAL,
            f"the collateral has no revocation list of {chain[missing + 1].common_name!r}, which issued "
            f"{chain[missing].common_name!r}",
        )
    for what, part in (("TCB info", collateral.tcb_info_part), ("QE identity", collateral.qe_identity_part)):
        path = part.path(what, at)
        found = anchor(path[-1], "Intel", trusted=(root.fingerprint,) if root.test else (), test=test)
        if found.fingerprint != root.fingerprint:
            raise Refused(Rule.ROOT, f"the {what} and the quote end in different roots")
        if not require_not_revoked(path, lists, at):
            raise Refused(Rule.COLLATERAL, f"the collateral has no revocation list for the signer of the {what}")
        part.require_signed(what, path[0])
    require_current("TCB info", collateral.tcb_info.issued, collateral.tcb_info.next_update, at)
    require_current("QE identity", collateral.qe_identity.issued, collateral.qe_identity.next_update, at)


def require_current(what: str, issued: datetime, until: datetime, at: datetime) -> None:
    """Refuse a document that is not valid at a time."""
    if at < issued:
        raise Refused(Rule.COLLATERAL_VALIDITY, f"the {what} is not valid before {stamp(issued)}")
    if at > until:
        raise Refused(Rule.COLLATERAL_VALIDITY, f"the {what} expired at {stamp(until)}", hint="fetch new collateral")


def verifies(key: x509.PublicKey, signature: bytes, signed: bytes) -> bool:
    """Return whether 64 bytes are the ECDSA signature of a key of P-256, with SHA-256."""
    if not isinstance(key, ec.EllipticCurvePublicKey) or not is_on(key, P256) or len(signature) != 64:
        return False
    return is_signed(key, big_endian(signature), signed)


def _values(data: bytes, what: str) -> dict[str, Any]:
    try:
        return loads(data, what)
    except InvalidManifest as exc:
        raise InvalidEvidence(what, exc.reason) from exc


def _text(values: dict[str, Any], name: str, what: str) -> bytes:
    value = values.get(name)
    if not isinstance(value, str):
        raise InvalidEvidence(what, f"{name} is missing, or not a string")
    try:
        return value.encode()
    except UnicodeEncodeError as exc:
        raise InvalidEvidence(what, f"{name} is not text") from exc


def _binary(values: dict[str, Any], name: str, what: str, *, size: int | None = None) -> bytes:
    text = _text(values, name, what).decode()
    try:
        found = bytes.fromhex(text) if _HEX.fullmatch(text) else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidEvidence(what, f"{name} is neither hexadecimal nor base64") from exc
    if size is not None and len(found) != size:
        raise InvalidEvidence(what, f"{name} has {len(found)} bytes; {size} are expected")
    return found


def _chain(values: dict[str, Any], name: str, what: str) -> tuple[x509.Certificate, ...]:
    return x509.read_bundle(_text(values, name, what), f"{name} in {what}")


def _list(values: dict[str, Any], name: str, what: str) -> RevocationList:
    return read_revocation_list(_binary(values, name, what), f"{name} in {what}")

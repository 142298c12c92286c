"""Request, Challenge and Attestation of the key broker service protocol, version 0.4.0.

Source: ``kbs/docs/kbs_attestation_protocol.md`` of Trustee, and where it differs, the code of Trustee 0.21.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from haulout.broker.protocol.errors import InvalidMessage
from haulout.broker.protocol.evidence import Evidence
from haulout.broker.protocol.keys import PublicKey
from haulout.broker.protocol.members import Members
from haulout.oci import json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERSION: Final = "0.4.0"
"""The only version that Trustee accepts."""
COOKIE: Final = "kbs-session-id"
"""Name of the cookie that carries the session."""
NONCE_BYTES: Final = 32
MAX_REQUEST: Final = 64 << 10
"""Bytes of a Request."""

HASHES: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "sha384": hashlib.sha384,
    "sha512": hashlib.sha512,
    "sha256": hashlib.sha256,
}
"""Algorithms for the digest in the report data, the preferred one first."""
DEFAULT_HASH: Final = "sha384"


@dataclass(frozen=True, slots=True)
class TpmKeys:
    """The keys of a guest's TPM: members of ``extra-params`` that Trustee does not have.

    Attributes:
        ek_certificate: of the endorsement key, in DER.
        ak: public area of the attestation key, TPMT_PUBLIC.
    """

    ek_certificate: bytes = field(repr=False)
    ak: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """The first message of a guest: which TEE it runs in.

    Attributes:
        tee: Trustee's word for it: ``snp``, ``tdx``, ``cca``, ``tpm``, …
        hashes: algorithms that the guest knows; empty: it did not say.
        workload: the workload that the guest says it is: a member of ``extra-params`` that Trustee does not have. With
            it the guest is judged by that workload's policy when it attests, and gets nothing else. None: not said.
        tpm: of a guest with a TPM: what the broker needs to ask whether both keys are in one TPM. None: not said.
    """

    tee: str
    hashes: tuple[str, ...] = ()
    workload: str | None = None
    tpm: TpmKeys | None = None

    def to_bytes(self) -> bytes:
        """Return the message."""
        extra: dict[str, Any] = {"supported-hash-algorithms": list(self.hashes)} if self.hashes else {}
        if self.workload is not None:
            extra["workload-id"] = self.workload
        if self.tpm is not None:
            certificate, ak = (base64.b64encode(one).decode() for one in (self.tpm.ek_certificate, self.tpm.ak))
            extra["tpm-keys"] = {"ek-certificate": certificate, "ak-public": ak}
        # Trustee's clients send an empty string where there is nothing.
        return json.dumps({"version": VERSION, "tee": self.tee, "extra-params": extra or ""})

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parse a Request.

        Raises:
            InvalidMessage: it is none, or not of version 0.4.0.
        """
        message = Members.parse(data, "Request", largest=MAX_REQUEST)
        version = message.text("version")
        if version != VERSION:
            raise message.wrong("version", f"this broker speaks {VERSION} only")
        extra = message.values.get("extra-params") or {}
        if isinstance(extra, str):
            extra = Members.parse(extra.encode("utf-8", "surrogatepass"), "Request", largest=MAX_REQUEST).values
        params = Members(extra, "Request", "extra-params")
        hashes = params.values.get("supported-hash-algorithms", [])
        if not isinstance(hashes, list) or len(hashes) > len(HASHES) * 4 or not all(isinstance(h, str) for h in hashes):
            raise params.wrong("supported-hash-algorithms", "expected a short list of names")
        known = tuple(name for name in hashes if name in HASHES)
        if hashes and not known:
            raise params.wrong("supported-hash-algorithms", f"none is known; known: {', '.join(HASHES)}")
        workload = params.text("workload-id") if "workload-id" in params.values else None
        tpm = None
        if "tpm-keys" in params.values:
            keys = params.object("tpm-keys")
            tpm = TpmKeys(keys.base64("ek-certificate", longest=8192), keys.base64("ak-public", longest=2048))
        return cls(message.text("tee", longest=32), known, workload, tpm)

    @property
    def selected_hash(self) -> str:
        """The algorithm that a broker selects: SHA-384 where the guest allows it."""
        return next((name for name in HASHES if name in self.hashes), DEFAULT_HASH)


@dataclass(frozen=True, slots=True)
class Challenge:
    """The answer to a Request.

    Attributes:
        nonce: in base64, as it is sent back and hashed.
        hash: the algorithm for the report data.
        credential: what the guest's TPM has to activate: TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET. None: nothing.
    """

    nonce: str
    hash: str = DEFAULT_HASH
    credential: bytes | None = field(default=None, repr=False)

    def to_bytes(self) -> bytes:
        """Return the message."""
        extra = {"selected-hash-algorithm": self.hash}
        if self.credential is not None:
            extra["tpm-credential"] = base64.b64encode(self.credential).decode()
        return json.dumps({"nonce": self.nonce, "extra-params": extra})

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parse a Challenge.

        Raises:
            InvalidMessage: it is none, or selects an algorithm that is not known.
        """
        message = Members.parse(data, "Challenge", largest=MAX_REQUEST)
        params = Members(message.values.get("extra-params") or {}, "Challenge", "extra-params")
        selected = params.text("selected-hash-algorithm", DEFAULT_HASH)
        if selected not in HASHES:
            raise message.wrong("extra-params", "it selects a hash algorithm that is not known")
        credential = params.base64("tpm-credential", longest=2048) if "tpm-credential" in params.values else None
        return cls(message.text("nonce"), selected, credential)


@dataclass(frozen=True, slots=True)
class InitData:
    """A document that is measured into the guest's launch: format and text."""

    format: str
    body: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Attestation:
    """The answer to a Challenge: evidence, the key that the secret is to be encrypted to, and the nonce.

    Attributes:
        evidence: as the TEE's form of the protocol has it; see :class:`Evidence`.
        additional: evidence of further devices, as JSON text, or "".
    """

    nonce: str
    key: PublicKey
    evidence: Any = field(repr=False)
    additional: str = field(default="", repr=False)
    init_data: InitData | None = None

    @classmethod
    def of(cls, challenge: Challenge, tee: str, key: PublicKey, evidence: Evidence) -> Self:
        """Return the answer to a Challenge.

        Args:
            challenge: what is answered.
            tee: the one of the Request.
            key: the guest's ephemeral key.
            evidence: its report data is :func:`report_data` of nonce and key.

        Raises:
            InvalidMessage: the TEE has no form in this protocol, or the evidence does not fit it.
        """
        return cls(challenge.nonce, key, evidence.to_wire(tee))

    def to_bytes(self) -> bytes:
        """Return the message."""
        document: dict[str, Any] = {
            "runtime-data": {"nonce": self.nonce, "tee-pubkey": self.key.jwk},
            "tee-evidence": {"primary_evidence": self.evidence, "additional_evidence": self.additional},
        }
        if self.init_data is not None:
            document["init-data"] = {"format": self.init_data.format, "body": self.init_data.body}
        return json.dumps(document)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parse an Attestation; the evidence is not looked at.

        Raises:
            InvalidMessage: it is none, or the key is weak, not on its curve or of an unknown kind.
        """
        message = Members.parse(data, "Attestation")
        runtime, proof = message.object("runtime-data"), message.object("tee-evidence")
        if "primary_evidence" not in proof.values:
            raise proof.wrong("primary_evidence", "is missing")
        given = message.object("init-data") if message.values.get("init-data") is not None else None
        init = None if given is None else InitData(given.text("format"), given.text("body", longest=1 << 18))
        additional = proof.text("additional_evidence", "", longest=1 << 18)
        key = PublicKey.parse(runtime.object("tee-pubkey").values)
        return cls(runtime.text("nonce"), key, proof.values["primary_evidence"], additional, init)

    def parse_evidence(self, tee: str) -> Evidence:
        """Return the evidence as the TEE signed it.

        Raises:
            InvalidMessage: it is not in the form that the TEE has in this protocol.
        """
        return Evidence.from_wire(tee, self.evidence)

    def report_data(self, algorithm: str) -> bytes:
        """Return the 64 bytes that the evidence has to carry."""
        return report_data(self.nonce, self.key, algorithm, self.additional)


def report_data(nonce: str, key: PublicKey, algorithm: str = DEFAULT_HASH, additional: str = "") -> bytes:
    """Return the report data that binds evidence to a nonce and a guest's key.

    It is the digest of a JSON object in canonical form (RFC 8785), and zeros up to 64 bytes.

    Raises:
        InvalidMessage: the algorithm is not known.
    """
    if algorithm not in HASHES:
        raise InvalidMessage("Challenge", "extra-params", "it selects a hash algorithm that is not known")
    document = {"additional-evidence": additional, "nonce": nonce, "tee-pubkey": dict(sorted(key.jwk.items()))}
    digest: bytes = HASHES[algorithm](json.dumps(document)).digest()
    return digest.ljust(64, b"\0")

"""A client of the key broker service protocol 0.4.0, after the text of Trustee: kbs_attestation_protocol.md.

Where the text leaves something open, it does what the Rust client does (kbs_protocol of guest-components 8246e5e0, and the
messages of kbs-types 0.18): it repeats the handshake at 401 alone, and it takes as additional data of the encryption not the
header that it got but the header as serde would write it. Nothing of haulout is imported here.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from tests.support.kbs_http import Answer, Wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Evidence = Callable[[bytes], Any]
    """The digest that the evidence has to carry → the evidence as JSON has it."""

VERSION = "0.4.0"
ATTEMPTS = 3
HASHES = ("sha256", "sha384", "sha512")
_CURVES: dict[str, tuple[ec.EllipticCurve, int]] = {"P-256": (ec.SECP256R1(), 32), "P-521": (ec.SECP521R1(), 66)}


def jcs(value: Any) -> bytes:
    """Write JSON in canonical form (RFC 8785), for what occurs here: objects, arrays, text, small integers."""
    match value:
        case dict():
            # By UTF-16 code units.
            pairs = sorted(value.items(), key=lambda pair: pair[0].encode("utf-16-be"))
            return b"{" + b",".join(jcs(name) + b":" + jcs(one) for name, one in pairs) + b"}"
        case list():
            return b"[" + b",".join(jcs(one) for one in value) + b"]"
        case str():
            return json.dumps(value, ensure_ascii=False).encode()
        case None | bool():
            return json.dumps(value).encode()
        case int() if abs(value) < 1 << 53:
            return str(value).encode()
    raise TypeError(type(value))


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    assert "=" not in text, "Trustee's clients refuse padding"
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


@dataclass
class TeeKey:
    """The ephemeral key of a guest: on a curve, or RSA."""

    private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    jwk: dict[str, str]

    @classmethod
    def make(cls, kind: str = "P-256") -> TeeKey:
        if kind.startswith("RSA"):
            made = rsa.generate_private_key(public_exponent=65537, key_size=int(kind[3:] or 2048))
            n, e = made.public_key().public_numbers().n, made.public_key().public_numbers().e
            jwk = {"kty": "RSA", "alg": "RSA-OAEP-256", "n": _number(n), "e": _number(e)}
            return cls(made, jwk)
        curve, size = _CURVES[kind]
        private = ec.generate_private_key(curve)
        numbers = private.public_key().public_numbers()
        x, y = (b64(one.to_bytes(size, "big")) for one in (numbers.x, numbers.y))
        return cls(private, {"kty": "EC", "crv": kind, "alg": "ECDH-ES+A256KW", "x": x, "y": y})

    def decrypt(self, answer: bytes) -> bytes:
        """Decrypt a JSON Web Encryption in flattened form (RFC 7516 section 7.2.2)."""
        document = json.loads(answer)
        header = json.loads(unb64(document["protected"]))
        key = self._unwrap(header, unb64(document["encrypted_key"]))
        assert header["enc"] == "A256GCM", header
        # Trustee's client reads the header and writes it anew: "alg", "enc", then the others, objects sorted by name.
        rest = {name: value for name, value in header.items() if name not in {"alg", "enc"}}
        written = {"alg": header["alg"], "enc": header["enc"], **json.loads(json.dumps(rest, sort_keys=True))}
        additional = b64(json.dumps(written, separators=(",", ":"), ensure_ascii=False).encode()).encode()
        content = unb64(document["ciphertext"]) + unb64(document["tag"])
        return AESGCM(key).decrypt(unb64(document["iv"]), content, additional)

    def _unwrap(self, header: dict[str, Any], wrapped: bytes) -> bytes:
        if isinstance(self.private, rsa.RSAPrivateKey):
            assert header["alg"] == "RSA-OAEP-256", header
            oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
            return self.private.decrypt(wrapped, oaep)
        assert header["alg"] == "ECDH-ES+A256KW", header
        epk = header["epk"]
        assert epk["crv"] == self.jwk["crv"], epk
        curve, _ = _CURVES[epk["crv"]]
        x, y = (int.from_bytes(unb64(epk[name]), "big") for name in "xy")
        shared = self.private.exchange(ec.ECDH(), ec.EllipticCurvePublicNumbers(x, y, curve).public_key())
        algorithm = header["alg"].encode()
        # RFC 7518 section 4.6.2; neither side is named.
        info = len(algorithm).to_bytes(4, "big") + algorithm + bytes(8) + (256).to_bytes(4, "big")
        return aes_key_unwrap(ConcatKDFHash(hashes.SHA256(), 32, info).derive(shared), wrapped)


def _number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def runtime_digest(nonce: str, jwk: dict[str, str], algorithm: str = "sha384", additional: str = "") -> bytes:
    """What evidence has to carry, before it is filled up with zeros."""
    document = {"tee-pubkey": jwk, "nonce": nonce, "additional-evidence": additional}
    return hashlib.new(algorithm, jcs(document)).digest()


class Failed(Exception):  # noqa: N818 - what the broker answered
    """The broker did not do what was asked."""

    def __init__(self, step: str, answer: Answer) -> None:
        super().__init__(f"{step}: {answer.status} {answer.body[:300]!r}")
        self.step = step
        self.answer = answer


@dataclass
class TrusteeClient:
    """A guest.

    Attributes:
        evidence: makes the evidence for a digest.
        extra: members of the Request's ``extra-params`` besides the hash algorithms.
        log: the status of each request.
    """

    url: str
    tee: str
    evidence: Evidence
    ca: Path | None = None
    key: TeeKey = field(default_factory=TeeKey.make)
    hashes: tuple[str, ...] = HASHES
    extra: dict[str, Any] = field(default_factory=dict)
    init_data: str | None = None
    token: str = ""
    nonce: str = ""
    algorithm: str = "sha384"
    log: list[int] = field(default_factory=list)
    wire: Wire = field(init=False)

    def __post_init__(self) -> None:
        self.wire = Wire(self.url, self.ca)

    def close(self) -> None:
        self.wire.close()

    def request(self, **changed: Any) -> Answer:
        """Send the Request, and take the Challenge."""
        extra = {"supported-hash-algorithms": list(self.hashes), **self.extra}
        document = {"version": VERSION, "tee": self.tee, "extra-params": extra, **changed}
        answer = self._noted(self.wire.post("/kbs/v0/auth", document))
        if answer.status == 200:
            challenge = answer.json
            self.nonce = challenge["nonce"]
            # serde demands both members.
            self.algorithm = (challenge["extra-params"] or {}).get("selected-hash-algorithm", "sha384").lower()
        return answer

    def attestation(self, *, nonce: str | None = None, jwk: dict[str, str] | None = None) -> dict[str, Any]:
        """Return the answer to the Challenge."""
        nonce, jwk = self.nonce if nonce is None else nonce, self.key.jwk if jwk is None else jwk
        digest = runtime_digest(nonce, jwk, self.algorithm)
        document: dict[str, Any] = {
            "runtime-data": {"nonce": nonce, "tee-pubkey": jwk},
            "tee-evidence": {"primary_evidence": self.evidence(digest), "additional_evidence": ""},
        }
        if self.init_data is not None:
            document["init-data"] = {"format": "toml", "body": self.init_data}
        return document

    def answer(self, document: Any) -> Answer:
        """Send an Attestation."""
        return self._noted(self.wire.post("/kbs/v0/attest", document))

    def handshake(self) -> None:
        """Request, Challenge, Attestation, Response; raises Failed."""
        asked = self.request()
        if asked.status != 200:
            raise Failed("auth", asked)
        answered = self.answer(self.attestation())
        if answered.status != 200:
            raise Failed("attest", answered)
        self.token = answered.json["token"]

    def ask(self, path: str, *, bearer: str | None = None) -> Answer:
        """Ask for a resource, by the cookie or by a token, once."""
        if bearer is not None:
            jar, self.wire.cookies = self.wire.cookies, {}
            try:
                return self._noted(self.wire.get(f"/kbs/v0/resource/{path}", Authorization=f"Bearer {bearer}"))
            finally:
                self.wire.cookies = jar
        return self._noted(self.wire.get(f"/kbs/v0/resource/{path}"))

    def resource(self, path: str) -> bytes:
        """Get a resource as Trustee's client does: attest where the broker says 401, give up where it says another thing."""
        for _ in range(ATTEMPTS):
            answer = self.ask(path)
            if answer.status == 200:
                return self.key.decrypt(answer.body)
            if answer.status != 401:
                raise Failed("resource", answer)
            self.handshake()
        raise Failed("resource", answer)

    def _noted(self, answer: Answer) -> Answer:
        self.log.append(answer.status)
        if answer.status >= 400:
            # Trustee's client reads both members of any refusal.
            assert set(answer.json) >= {"type", "detail"}, answer.body
        return answer

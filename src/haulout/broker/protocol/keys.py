"""The ephemeral key of a guest: the public half in its messages, the private half inside the guest.

Source: RFC 7518 sections 4.3, 4.6 and 5.3, and ``kbs/src/jwe`` of Trustee 0.21 for the combinations that are in use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Self

from haulout.broker.protocol.errors import InvalidMessage
from haulout.broker.protocol.members import Members, from_base64url
from haulout.extras import require
from haulout.oci import json

require("joserfc", extra="broker")

from joserfc import jwe  # noqa: E402
from joserfc.errors import JoseError  # noqa: E402
from joserfc.jwk import ECKey, RSAKey  # noqa: E402

ECDH: Final = "ECDH-ES+A256KW"
OAEP: Final = "RSA-OAEP-256"
ALGORITHMS: Final = (ECDH, OAEP)
"""Key encryption. RSA1_5 (PKCS#1 v1.5), which Trustee still accepts, is refused: it has a padding oracle."""
CONTENT: Final = "A256GCM"
CURVES: Final = {"P-256": 32, "P-521": 66}
"""Curve → bytes of a coordinate."""
RSA_BITS: Final = (2048, 4096)


class _CurveKey(ECKey):
    """A key on a curve whose ephemeral counterparts are written with sorted members.

    Trustee's clients write the header of an answer anew before they authenticate it, and their maps are sorted.
    """

    @classmethod
    def generate_key(cls, *args: Any, **named: Any) -> Self:
        made = super().generate_key(*args, **named)
        return cls.import_key(dict(sorted(made.as_dict(private=True).items())))


_PARTS: Final = ("protected", "encrypted_key", "iv", "ciphertext", "tag")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A guest's public key.

    Attributes:
        jwk: the JSON Web Key; only members that are hashed into the report data.
    """

    jwk: dict[str, str]
    _key: ECKey | RSAKey = field(repr=False, compare=False)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Read a JSON Web Key.

        Raises:
            InvalidMessage: it is of another kind, too weak, not on its curve, or has members that would not be hashed.
        """
        members = Members(values, "Attestation", "runtime-data.tee-pubkey")
        kind, algorithm = members.text("kty"), members.text("alg")
        names = {"EC": ("alg", "crv", "kty", "x", "y"), "RSA": ("alg", "e", "kty", "n")}.get(kind)
        if names is None or algorithm != {"EC": ECDH, "RSA": OAEP}[kind]:
            raise members.wrong("alg", f"expected EC with {ECDH}, or RSA with {OAEP}")
        if set(values) != set(names):
            raise members.wrong("", f"expected the members {', '.join(names)}, and no others")
        jwk = {name: members.text(name, longest=1024) for name in names}
        if kind == "EC":
            size = CURVES.get(jwk["crv"])
            if size is None:
                raise members.wrong("crv", f"expected one of {', '.join(CURVES)}")
            if any(len(members.base64(name, url=True)) != size for name in ("x", "y")):
                raise members.wrong("x", f"expected coordinates of {size} bytes")
        else:
            bits = int.from_bytes(members.base64("n", url=True), "big").bit_length()
            exponent = int.from_bytes(members.base64("e", url=True), "big")
            if not RSA_BITS[0] <= bits <= RSA_BITS[1] or exponent != 65537:
                raise members.wrong("n", f"expected {RSA_BITS[0]} to {RSA_BITS[1]} bits, and the exponent 65537")
        try:
            key = _CurveKey.import_key(dict(jwk)) if kind == "EC" else RSAKey.import_key(dict(jwk))
            _ = key.public_key  # imported when it is needed: only now a point beside the curve is noticed
        except (ValueError, TypeError, JoseError) as exc:
            raise members.wrong("", "it is not a valid public key") from exc
        return cls(jwk, key)

    def encrypt(self, secret: bytes) -> bytes:
        """Encrypt a secret to the guest: a JSON Web Encryption, flattened (RFC 7516 section 7.2.2)."""
        header = {"alg": self.jwk["alg"], "enc": CONTENT}
        compact = jwe.encrypt_compact(header, secret, self._key, algorithms=[*ALGORITHMS, CONTENT])
        return json.dumps(dict(zip(_PARTS, compact.split("."), strict=True)))


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A guest's key, made for one session; its private half never leaves the guest."""

    public: PublicKey
    _key: ECKey | RSAKey = field(repr=False, compare=False)

    @classmethod
    def generate(cls, curve: str = "P-256") -> Self:
        """Make a key on a curve, ``P-256`` or ``P-521``; or, for ``RSA``, one of 3072 bits."""
        made = RSAKey.generate_key(3072, private=True) if curve == "RSA" else ECKey.generate_key(curve)
        names = ("kty", "n", "e") if curve == "RSA" else ("kty", "crv", "x", "y")
        shown = made.as_dict(private=False)
        public = {name: str(shown[name]) for name in names} | {"alg": OAEP if curve == "RSA" else ECDH}
        return cls(PublicKey.parse(public), made)

    def decrypt(self, response: bytes) -> bytes:
        """Decrypt a broker's response.

        Raises:
            InvalidMessage: it is not encrypted to this key by an accepted algorithm, or was changed on its way.
        """
        message = Members.parse(response, "Response")
        try:
            parts = [message.text(name, longest=1 << 20) for name in _PARTS]
            for part in parts:
                from_base64url(part)
            found = jwe.decrypt_compact(".".join(parts), self._key, algorithms=[*ALGORITHMS, CONTENT])
        except (ValueError, TypeError, KeyError, JoseError) as exc:
            raise InvalidMessage("Response", "", "it does not decrypt with this guest's key") from exc
        if found.plaintext is None:
            raise InvalidMessage("Response", "", "it holds nothing")
        return found.plaintext

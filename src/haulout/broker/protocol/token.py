"""Attestation tokens: what a broker says about a guest, signed, in the shape of an EAR (draft-ietf-rats-ear).

A broker's own tokens come back as a guest's proof for the next request; relying parties verify them by the broker's
public key. The header's ``jwk`` is never believed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self

from haulout.broker.protocol.errors import InvalidMessage
from haulout.extras import require

require("joserfc", extra="broker")

from joserfc import jwt  # noqa: E402
from joserfc.errors import JoseError  # noqa: E402
from joserfc.jwk import ECKey  # noqa: E402
from joserfc.jwt import JWTClaimsRegistry  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable

    from haulout.broker.protocol.keys import PublicKey

ALGORITHM: Final = "ES256"
PROFILE: Final = "tag:github.com,2024:confidential-containers/Trustee"
LIFETIME: Final = timedelta(minutes=5)
LONGEST: Final = 64 << 10
"""Characters of a token; Trustee's limit of all headers is twice that."""


class SigningKey:
    """A broker's key for tokens: ECDSA on P-256."""

    def __init__(self, key: ECKey) -> None:
        self._key = key
        self.kid: str = key.thumbprint()
        """RFC 7638."""

    @classmethod
    def generate(cls) -> Self:
        """Make a key."""
        return cls(ECKey.generate_key("P-256"))

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Read a private key in PKCS#8.

        Raises:
            InvalidMessage: it is not one on P-256.
        """
        try:
            key = ECKey.import_key(pem)
            if key.curve_name != "P-256" or not key.is_private:
                raise ValueError(key.curve_name)  # noqa: TRY301 - one answer for whatever is wrong
        except (ValueError, TypeError, JoseError) as exc:
            raise InvalidMessage("signing key", "", "expected a private key on P-256 in PEM") from exc
        return cls(key)

    def to_pem(self) -> bytes:
        """Return the private key in PKCS#8: a secret."""
        return self._key.as_pem(private=True)

    def public_pem(self) -> bytes:
        """Return the public key, for relying parties and for ``haulout cw build --broker-key``."""
        return self._key.as_pem(private=False)

    @property
    def public_jwk(self) -> dict[str, Any]:
        """The public key as a JSON Web Key."""
        return {**self._key.as_dict(private=False), "alg": ALGORITHM, "use": "sig", "kid": self.kid}

    def sign(self, claims: dict[str, Any]) -> str:
        """Sign claims."""
        header = {"alg": ALGORITHM, "typ": "JWT", "kid": self.kid}
        return jwt.encode(header, claims, self._key, algorithms=[ALGORITHM])

    def verify(self, text: str) -> dict[str, Any]:
        """Return the claims of a token that this key signed; their times are not looked at.

        Raises:
            InvalidMessage: it did not.
        """
        try:
            return jwt.decode(text, self._key, algorithms=[ALGORITHM]).claims
        except (ValueError, TypeError, KeyError, JoseError, UnicodeError) as exc:
            raise InvalidMessage("token", "", "this broker did not sign it") from exc


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says.

    Attributes:
        session: the public id of the session, not what is in the cookie.
        issuer: the broker's URL.
        tee: the kind of TEE.
        key: the guest's key, to which whoever reads the token may encrypt.
        nonce: of the session.
        claims: what genuine evidence says, as docs/json.md has it.
        policy: the policy by which the guest was judged, ``workload/version``; "" where only genuineness was.
        test: whether an emulator signed the evidence, which only policies for tests accept.
    """

    session: str
    issuer: str
    tee: str
    key: PublicKey
    nonce: str
    issued: datetime
    claims: dict[str, Any] = field(repr=False)
    policy: str = ""
    test: bool = False

    @property
    def status(self) -> str:
        """The answer in the words of AR4SI: what a policy did not judge is genuine, and no more than that."""
        return "contraindicated" if self.test else "affirming" if self.policy else "none"

    @property
    def expires(self) -> datetime:
        """When it is no longer accepted."""
        return self.issued + LIFETIME

    def to_claims(self) -> dict[str, Any]:
        """Return the claims in the shape that Trustee gives them."""
        runtime = {"nonce": self.nonce, "tee-pubkey": self.key.jwk}
        return {
            "eat_profile": PROFILE,
            "iss": self.issuer,
            "aud": self.issuer,
            "iat": int(self.issued.timestamp()),
            "nbf": int(self.issued.timestamp()),
            "exp": int(self.expires.timestamp()),
            "jti": self.session,
            "ear.verifier-id": {"build": "haulout", "developer": "https://github.com/haulout/haulout"},
            "submods": {
                "cpu0": {
                    "ear.status": self.status,
                    "ear.appraisal-policy-id": self.policy,
                    "ear.veraison.annotated-evidence": {self.tee: self.claims, "runtime_data_claims": runtime},
                }
            },
        }


def verify_token(text: str, keys: Iterable[SigningKey], issuer: str, at: datetime) -> str:
    """Return the public id of the session that a token is about.

    Args:
        text: the token, from an ``Authorization`` header.
        keys: the broker's keys; one of them signed it. A key in the token's header is ignored.
        issuer: the broker.
        at: the time.

    Raises:
        InvalidMessage: it is not a valid token of this broker.
    """
    if len(text) > LONGEST:
        raise InvalidMessage("token", "", f"longer than {LONGEST} characters")
    claims: dict[str, Any] | None = None
    for key in keys:
        try:
            claims = key.verify(text)
        except InvalidMessage:
            continue
        break
    if claims is None:
        raise InvalidMessage("token", "", "this broker did not sign it")
    rules = JWTClaimsRegistry(
        now=lambda: int(at.astimezone(UTC).timestamp()),
        leeway=0,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": issuer},
        exp={"essential": True},
        iat={"essential": True},
        jti={"essential": True},
    )
    try:
        rules.validate(claims)
    except JoseError as exc:
        raise InvalidMessage("token", "", "it is expired, or was issued by or for another broker") from exc
    if not isinstance(claims["jti"], str):
        raise InvalidMessage("token", "jti", "expected text")
    return claims["jti"]

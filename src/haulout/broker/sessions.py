"""What a session of the key broker may do next: pure.

A session begins with a challenge, is answered once, and then gives keys for a while. Where it is kept, and that two
answers at the same time are not both taken, is up to stores.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Self

from haulout.broker.protocol import Challenge, Rejected, Trouble

if TYPE_CHECKING:
    from datetime import datetime

    from haulout.broker.protocol import PublicKey, Request

LIFETIME: Final = timedelta(minutes=5)
"""From the challenge to the answer, and from the answer to the last key: Trustee's default."""


class State(StrEnum):
    """Where a session is."""

    CHALLENGED = "challenged"
    ATTESTED = "attested"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Session:
    """A guest's session.

    Attributes:
        id: SHA-256 of what is in the cookie: whoever reads the table cannot take a session over.
        public: what tokens and the audit log call it.
        tee: Trustee's word for the TEE.
        workload: the one that the guest said it is; None: it did not say.
        nonce: of the challenge, in base64.
        hash: algorithm of the report data.
        client: the guest's address.
        v0: whether it speaks the protocol of libkrun up to 1.19.
        verified: when its evidence was verified.
        key: the guest's public key, a JSON Web Key.
        evidence: digest of the evidence.
        report_data: the 64 bytes that the evidence had to carry.
    """

    id: str = field(repr=False)
    public: str
    tee: str
    workload: str | None
    nonce: str = field(repr=False)
    hash: str
    client: str
    created: datetime
    expires: datetime
    v0: bool = False
    state: State = State.CHALLENGED
    verified: datetime | None = None
    key: dict[str, Any] | None = None
    evidence: str | None = None
    report_data: bytes | None = None

    @classmethod
    def begin(cls, request: Request, cookie: str, nonce: str, at: datetime, client: str, *, v0: bool = False) -> Self:
        """Begin a session.

        Args:
            request: the guest's.
            cookie: fresh and random: the only proof of being this guest until it attests.
            nonce: fresh and random, in base64.
            at: the time.
            client: the guest's address.
            v0: whether the guest speaks the protocol of libkrun up to 1.19.
        """
        return cls(
            id=digest_of(cookie),
            public=digest_of(f"public {cookie}"),
            tee=request.tee,
            workload=request.workload,
            nonce=nonce,
            hash=request.selected_hash,
            client=client,
            created=at,
            expires=at + LIFETIME,
            v0=v0,
        )

    @property
    def challenge(self) -> Challenge:
        """The challenge."""
        return Challenge(self.nonce, self.hash)

    def require_open(self, nonce: str, at: datetime) -> None:
        """Require that the session waits for an answer, and that this nonce is its own.

        Raises:
            Rejected: it was answered before, it is too late, or the nonce is another's.
        """
        if self.state is not State.CHALLENGED:
            raise Rejected(
                Trouble.ATTEST_FAILED, "the challenge of this session was answered before; ask for a new one"
            )
        self._require_time(at)
        if not hmac.compare_digest(self.nonce.encode(), nonce.encode("utf-8", "surrogatepass")):
            raise Rejected(Trouble.ATTEST_FAILED, "the nonce is not the one of this session")

    def answered(self, state: State, key: PublicKey, evidence: str, report_data: bytes, at: datetime) -> Self:
        """Return the session after its answer."""
        return replace(
            self,
            state=state,
            key=key.jwk,
            evidence=evidence,
            report_data=report_data,
            verified=at,
            expires=at + LIFETIME,
        )

    def require_attested(self, at: datetime) -> None:
        """Require that keys may be asked for.

        Raises:
            Rejected: the guest has not attested, was refused, or did so too long ago.
        """
        if self.state is not State.ATTESTED:
            raise Rejected(Trouble.NO_SESSION, "this session has not attested")
        self._require_time(at)

    def _require_time(self, at: datetime) -> None:
        # A clock that went back makes no session valid for longer.
        if not self.created <= at <= self.expires:
            raise Rejected(Trouble.NO_SESSION, "this session has expired; attest again")


def digest_of(secret: str) -> str:
    """Return under what a secret of a client is looked up: its SHA-256."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()

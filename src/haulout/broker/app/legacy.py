"""The protocol of libkrun up to 1.19 and of ``buildah mkcw``, as far as those send it: switched on by ``--v0`` only.

It binds less: the report data holds the digest of nonce and key, but the key leaves under PKCS#1 v1.5, and a client of
that protocol does not verify the broker. A workload's policy has to say ``v0 = true`` besides. Unlike the reference
broker, this one gives a session the key of its own workload only, and registers for owners alone.
Wire format: ``init/tee`` of libkrun 1.19 and ``internal/mkcw`` of buildah.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from starlette.responses import Response

from haulout.broker.app.broker import NOT_RELEASED
from haulout.broker.app.owners import managed_by
from haulout.broker.app.web import JSON, LEGACY_COOKIE, LOG, Endpoint, answer, body_of, client_of, cookie_of, off_loop
from haulout.broker.protocol import Evidence, InvalidMessage, Members, Rejected, Request, ResourcePath, Trouble
from haulout.oci import json
from haulout.workload import REGISTER_PATH, Registration, parse_registration

if TYPE_CHECKING:
    from starlette.requests import Request as HttpRequest

    from haulout.broker.app.broker import Broker
    from haulout.broker.management import Management
    from haulout.broker.sessions import Session

KEY: Final = "/kbs/v0/key/{workload}"
REGISTER: Final = REGISTER_PATH
_KIND: Final = "v0"
_BITS: Final = (2048, 4096)
"""The client makes keys of 2048 bits."""


@dataclass(frozen=True, slots=True)
class LegacyKey:
    """A guest's key of this protocol: RSA, for PKCS#1 v1.5. Modulus and exponent in base64, as they are hashed."""

    n: str
    e: str

    @property
    def jwk(self) -> dict[str, str]:
        """The key as the session keeps it."""
        return {"kty": _KIND, "n": self.n, "e": self.e}

    @property
    def public(self) -> rsa.RSAPublicKey:
        """The key itself; raises ValueError."""
        e, n = (int.from_bytes(base64.b64decode(text, validate=True), "big") for text in (self.e, self.n))
        if e != 65537 or not _BITS[0] <= n.bit_length() <= _BITS[1]:
            raise ValueError("weak")
        return rsa.RSAPublicNumbers(e, n).public_key()


@dataclass(frozen=True, slots=True)
class LegacyAnswer:
    """What a guest answers to its challenge, in the place of an ``Attestation`` of 0.4.0."""

    nonce: str
    key: LegacyKey
    report: bytes
    additional: str = ""

    @classmethod
    def parse(cls, data: bytes, nonce: str) -> LegacyAnswer:
        """Parse the message, which does not repeat the session's nonce.

        Raises:
            InvalidMessage: it is none.
        """
        message = Members.parse(data, "Attestation")
        given = message.object("tee-pubkey")
        inner = Members.parse(message.text("tee-evidence", longest=1 << 18).encode(), "Attestation")
        key = LegacyKey(given.text("k-mod", longest=1024), given.text("k-exp"))
        if given.text("alg") != "RSA":
            raise given.wrong("alg", "expected RSA")
        try:
            _ = key.public
        except ValueError as exc:
            reason = f"expected RSA of {_BITS[0]} to {_BITS[1]} bits, with the exponent 65537"
            raise message.wrong("tee-pubkey", reason) from exc
        try:
            report = bytes.fromhex(inner.text("report", longest=4096))
        except ValueError as exc:
            raise inner.wrong("report", "expected hexadecimal digits") from exc
        return cls(nonce, key, report)

    def report_data(self, algorithm: str) -> bytes:  # noqa: ARG002 - the protocol has one
        """Return the 64 bytes that the evidence has to carry."""
        return hashlib.sha512((self.nonce + self.key.n + self.key.e).encode()).digest()

    def parse_evidence(self, tee: str) -> Evidence:  # noqa: ARG002 - the protocol has SEV-SNP alone
        """Return the report; its certificates are the broker's to find."""
        return Evidence(self.report)


def encrypt(session: Session, content: bytes) -> bytes:
    """Encrypt a key as the client decrypts it: hexadecimal digits of RSA with PKCS#1 v1.5, as a JSON string."""
    kept = session.key or {}
    if kept.get("kty") != _KIND:
        raise Rejected(Trouble.NO_SESSION, "this session has not attested by this protocol")
    key = LegacyKey(kept["n"], kept["e"]).public
    if len(content) > key.key_size // 8 - 11:
        LOG.warning("unavailable", extra={"reason": "the key is longer than a guest of this protocol can take"})
        raise Rejected(Trouble.NOT_FOUND, NOT_RELEASED)
    return json.dumps(key.encrypt(content, padding.PKCS1v15()).hex())


class Legacy:
    """The operations, for one broker. ``auth`` and ``attest`` are at the paths of 0.4.0, which hand over to it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the table of operations."""
        late, none = Trouble.NO_SESSION, Trouble.NOT_FOUND
        bad, taken = Trouble.INVALID_REQUEST, Trouble.CONFLICT
        return (
            Endpoint(
                "GET", KEY, self.key, "Get a workload's key, by the protocol of libkrun 1.19", troubles=(late, none)
            ),
            Endpoint(
                "POST",
                REGISTER,
                self.register,
                "Register a workload, as buildah mkcw does",
                body=JSON,
                answer=None,
                owner=True,
                troubles=(bad, none, taken),
            ),
        )

    async def auth(self, body: bytes, client: str) -> Response:
        """Answer a Request."""
        message = Members.parse(body, "Request")
        extra = message.values.get("extra-params") or {}
        params = Members.parse(extra.encode(), "Request") if isinstance(extra, str) else Members(extra, "Request")
        if message.text("tee") != "snp":
            raise Rejected(Trouble.AUTH_FAILED, "this protocol is spoken for SEV-SNP alone")
        request = Request("snp", workload=params.text("workload_id"))
        cookie, challenge = await off_loop(self._broker.auth, request, client, v0=True)
        response = answer({"nonce": challenge.nonce, "extra-params": ""})
        response.set_cookie(LEGACY_COOKIE, cookie, httponly=True)
        return response

    async def attest(self, cookie: str, body: bytes, client: str) -> Response:
        """Judge an answer; an empty body means that it is accepted."""
        session = await off_loop(self._broker.session, cookie)
        reply = await off_loop(LegacyAnswer.parse, body, session.nonce)
        await off_loop(self._broker.attest, cookie, reply, client, v0=True)
        return Response()

    async def key(self, http: HttpRequest) -> Response:
        """Release a key."""
        cookie = cookie_of(http, LEGACY_COOKIE)
        if cookie is None:
            raise Rejected(Trouble.NO_SESSION, f"the cookie {LEGACY_COOKIE} is missing")
        path = _resource_of(http.path_params["workload"])
        client = client_of(http, forwarded=self._broker.settings.forwarded)
        content = await off_loop(self._broker.release, cookie, None, path, client, legacy=encrypt)
        return Response(content, media_type=JSON)

    async def register(self, http: HttpRequest) -> Response:
        """Register a workload of the owner who asks, or replace what this owner registered before."""
        management = await off_loop(managed_by, self._broker, http)
        registration = parse_registration(await body_of(http, 1 << 16))
        await off_loop(_register, management, registration)
        return Response(status_code=200)


def _register(management: Management, registration: Registration) -> None:
    if len(registration.measurement) != 48:
        raise Rejected(Trouble.INVALID_REQUEST, "the launch measurement is not one of SEV-SNP")
    path = _resource_of(registration.workload_id)
    # What buildah asks for allows debugging and migration, by which a host reads the guest: that is not taken over.
    policy = _POLICY.format(
        name=json.dumps(registration.workload_id).decode(), measurement=registration.measurement.hex()
    )
    management.add(registration.workload_id)
    management.set_policy(registration.workload_id, policy.encode())
    management.put(registration.workload_id, path, registration.passphrase.encode())


_POLICY: Final = """schema = 1
name = {name}
[snp]
products = ["Milan", "Genoa", "Turin"]
measurements = ["{measurement}"]
# libkrun up to 1.19 binds nothing: its guests have zeros there.
host-data = ["0000000000000000000000000000000000000000000000000000000000000000"]
[release]
v0 = true
"""


def _resource_of(workload: str) -> ResourcePath:
    try:
        return ResourcePath("v0", "key", workload)
    except InvalidMessage as exc:
        raise Rejected(Trouble.NOT_FOUND, "the id of the workload cannot be part of a path") from exc

"""The broker as guests see it: challenge, attestation, release. No HTTP here, and no state: all of it is in the store.

The order of a release: verify the evidence, decide, encrypt, commit the row of the audit log together with the count,
and only then let the key leave. Whatever fails on the way, the key stays.
"""

from __future__ import annotations

import base64
import math
import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from haulout.broker.app.enrolment import TEE as TPM
from haulout.broker.app.enrolment import credential_for, enrolments
from haulout.broker.app.judging import NOTHING, genuine_by, is_genuine, judge, policy_of, proof_of
from haulout.broker.audit import Entry
from haulout.broker.policy import ALLOWED, Decision, Facts, decide, machine_of
from haulout.broker.protocol import (
    FORMS,
    NONCE_BYTES,
    Challenge,
    InvalidMessage,
    PublicKey,
    Rejected,
    Request,
    ResourcePath,
    Token,
    Trouble,
    verify_token,
)
from haulout.broker.sessions import Session, State, digest_of
from haulout.broker.stores import Proof, SealError, Unknown, Workload
from haulout.tee import Rule, stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.broker.app.judging import Reply, Supply
    from haulout.broker.app.settings import Settings
    from haulout.broker.policy import WorkloadPolicy
    from haulout.broker.protocol import SigningKey
    from haulout.broker.stores import Store, Unit
    from haulout.tee import Given, Verdict

REFUSED: Final = "the broker does not accept this evidence; its log has the reason under session {session}"
NOT_RELEASED: Final = (
    "there is no such resource for this guest; the broker's log has the reason under session {session}"
)
"""One answer for what is not there and for what this guest must not have."""
UNREADABLE: Final = "unreadable"
UNKNOWN: Final = "unknown"
_FORGET_EACH: Final = 256
"""Sessions between two removals of expired ones."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known of a guest that asks for something."""

    proof: Proof
    verdict: Verdict | None
    workload: Workload | None
    policy: WorkloadPolicy | None


@dataclass(slots=True)
class Broker:
    """A broker.

    Attributes:
        store: what all its instances share.
        supply: certificates and collateral of vendors.
        settings: how it is run.
        now: the clock.
        admit: told which workload's key is asked for; raises Rejected where that is too often.
    """

    store: Store
    supply: Supply
    settings: Settings
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    admit: Callable[[str], None] = field(default=lambda _: None)
    _keys: list[SigningKey] = field(default_factory=list, init=False, repr=False)
    _opened: int = field(default=0, init=False)

    def auth(self, request: Request, client: str, *, v0: bool = False) -> tuple[str, Challenge]:
        """Begin a session; return what goes into its cookie, and the challenge.

        Raises:
            Rejected: no evidence of this TEE is known.
            StoreError: the database refuses.
        """
        if request.tee not in FORMS:
            raise Rejected(Trouble.AUTH_FAILED, f"this broker knows evidence of {', '.join(FORMS)}")
        cookie, nonce = secrets.token_urlsafe(32), base64.b64encode(secrets.token_bytes(NONCE_BYTES)).decode()
        session = Session.begin(request, cookie, nonce, self.now(), client, v0=v0)
        challenge = session.challenge
        if request.tee == TPM and request.tpm is not None:
            challenge = replace(challenge, credential=credential_for(request.tpm, nonce, self.keys()[0]))
        self._opened += 1
        # Were it lost with a power failure, the guest would ask for another challenge.
        with self.store.write(durable=False) as unit:
            unit.attestations.open(session)
            if self._opened % _FORGET_EACH == 0:
                unit.attestations.forget(session.created)
        return cookie, challenge

    def attest(self, cookie: str | None, attestation: Reply, client: str, *, v0: bool = False) -> str:
        """Judge the answer to a challenge; return a token.

        Raises:
            Rejected: the session does not wait for it, or the evidence is not accepted.
            StoreError: the database refuses.
        """
        now = self.now()
        with self.store.read() as unit:
            session = self._session(unit, cookie, v0=v0)
            session.require_open(attestation.nonce, now)
            claimed = session.workload
            workload = None if claimed is None else _found(unit, claimed)
            roots = unit.workloads.test_roots() if claimed is None else frozenset()
        proof = self._enrolled(proof_of(attestation, session, self.supply), session)
        policy = policy_of(workload)
        by = policy.evidence if policy else NOTHING if claimed is not None else genuine_by(roots)
        verdict = judge(proof, session.tee, now, by)
        judged = Judged(proof, verdict, workload, policy)
        decision = _appraise(judged, claimed is not None, Facts(now, now, 0, session.v0))
        wait: int | None = None
        if decision.rule == Rule.CERTIFICATE_MISSING:
            supplied = self.supply.for_evidence(proof.data)
            decision = replace(decision, words="; ".join((decision.words, *supplied.missing)))
            wait = None if supplied.retry_after is None else math.ceil(supplied.retry_after)
        answered = session.answered(
            State.ATTESTED if decision.allowed else State.REFUSED,
            attestation.key.jwk,
            proof.digest,
            proof.report_data,
            now,
        )
        token = self._token(answered, judged) if decision.allowed else ""
        with self.store.write() as unit:
            if not unit.attestations.answer(answered):
                raise Rejected(Trouble.ATTEST_FAILED, "the challenge of this session was answered before")
            # What names no workload of ours is nobody's to look at: a stranger does not fill the database by it.
            if decision.allowed or workload is not None:
                unit.attestations.keep_evidence(proof, now, accepted=decision.allowed)
            unit.audit.append(self._entry("attest", answered, judged, decision, client))
        if not decision.allowed:
            raise Rejected(Trouble.ATTEST_FAILED, REFUSED.format(session=session.public[:16]), retry_after=wait)
        return token

    def session(self, cookie: str) -> Session:
        """Return a session of the protocol of libkrun up to 1.19, whose answers do not repeat its nonce.

        Raises:
            Rejected: there is none.
            StoreError: the database refuses.
        """
        with self.store.read() as unit:
            return self._session(unit, cookie, v0=True)

    def release(
        self,
        cookie: str | None,
        token: str | None,
        path: ResourcePath,
        client: str,
        *,
        legacy: Callable[[Session, bytes], bytes] | None = None,
    ) -> bytes:
        """Release a resource to a guest; return it encrypted to the guest's key.

        Args:
            cookie: of the guest's session; or
            token: what the guest was given when it attested.
            path: what it asks for.
            client: the guest's address.
            legacy: encrypts for guests that speak the protocol of libkrun up to 1.19; None: for those of 0.4.0.

        Raises:
            Rejected: the guest has not attested, or does not get this.
            StoreError: the database refuses: nothing left.
        """
        find = self._proven(cookie, token, v0=legacy is not None)
        now = self.now()
        with self.store.read() as unit:
            session = find(unit)
            session.require_attested(now)
            resource = unit.resources.find(path)
            workload = None if resource is None else _found(unit, resource.workload)
            proof = unit.attestations.proof(session.evidence or "")
            sealed = b"" if resource is None else unit.resources.open(resource)
        if proof is None:
            raise Rejected(Trouble.NO_SESSION, "the evidence of this session is no longer kept; attest again")
        if session.report_data is not None:
            proof = replace(proof, report_data=session.report_data)
        if session.workload is not None and workload is not None and workload.id != session.workload:
            workload = None  # a session of one workload gets nothing of another, whatever its evidence says
        policy = policy_of(workload)
        judged = Judged(proof, judge(proof, session.tee, now, policy.evidence if policy else NOTHING), workload, policy)
        content = (legacy or _encrypt)(session, sealed)
        with self.store.write() as unit:
            counted = None if workload is None else unit.workloads.get(workload.id, locked=True)
            changed = (
                counted is not None
                and workload is not None
                and (counted.policy, counted.list) != (workload.policy, workload.list)
            ) or (resource is not None and unit.resources.find(path) != resource)
            releases = 0 if counted is None else counted.releases
            facts = Facts(now, session.verified or now, releases, session.v0)
            decision = _decide(judged, facts)
            if changed and decision.allowed:
                raise Rejected(
                    Trouble.UNAVAILABLE, "the policy or the key was changed meanwhile; ask again", retry_after=1
                )
            if decision.allowed and counted is not None:
                # Only of guests that may have it: nobody else uses up a workload's limit, or learns that it exists.
                self.admit(counted.id)
                unit.workloads.count_release(counted.id)
            unit.audit.append(self._entry("release", session, judged, decision, client, path))
        if not decision.allowed:
            raise Rejected(Trouble.NOT_FOUND, NOT_RELEASED.format(session=session.public[:16]))
        return content

    def keys(self, *, fresh: bool = False) -> list[SigningKey]:
        """Return the keys that sign tokens, the newest first.

        Raises:
            StoreError: the database refuses.
            SealError: the key-encryption key is not at hand.
        """
        if fresh or not self._keys:
            with self.store.read() as unit:
                self._keys = unit.signing_keys.all()
            if not self._keys:
                raise SealError("the broker has no key to sign tokens", hint="run: haulout broker init")
        return self._keys

    def _enrolled(self, proof: Proof, session: Session) -> Proof:
        """Return evidence of a TPM with what its activation shows; other evidence as it is."""
        if session.tee != TPM:
            return proof
        found: tuple[Given, ...] = ()
        for fresh in (False, True):  # another instance may have made a key since
            found = found or enrolments(proof.data, proof.certificates, session.nonce, self.keys(fresh=fresh))
        return replace(proof, collateral=found)

    def _session(self, unit: Unit, cookie: str | None, *, v0: bool = False) -> Session:
        session = None if not cookie else unit.attestations.find(id=digest_of(cookie))
        # A session of one protocol is none of the other.
        if session is None or session.v0 is not v0:
            raise Rejected(Trouble.NO_SESSION, "there is no such session")
        return session

    def _proven(self, cookie: str | None, token: str | None, *, v0: bool) -> Callable[[Unit], Session]:
        """Return what finds the session that a guest proves to be its own."""
        if cookie or not token:
            return lambda unit: self._session(unit, cookie, v0=v0)
        public = self._subject(token)

        def find(unit: Unit) -> Session:
            session = unit.attestations.find(public=public)
            if session is None:
                raise Rejected(Trouble.NO_SESSION, "the session of this token is no longer kept; attest again")
            return session

        return find

    def _subject(self, token: str) -> str:
        for fresh in (False, True):  # another instance may have made a key since
            try:
                return verify_token(token, self.keys(fresh=fresh), self.settings.url, self.now())
            except InvalidMessage as exc:
                wrong = exc
        raise Rejected(Trouble.NO_SESSION, str(wrong))

    def _token(self, session: Session, judged: Judged) -> str:
        verdict = judged.verdict
        assert verdict is not None  # it was accepted
        assert verdict.claims is not None
        claims = {**verdict.claims.to_dict(), **verdict.statement.to_dict()}
        named = ""
        if judged.policy is not None and judged.workload is not None and judged.workload.policy is not None:
            named = f"{judged.workload.id}/{judged.workload.policy.version}"
        said = Token(
            session.public,
            self.settings.url,
            session.tee,
            session.key or {},
            session.nonce,
            session.verified or self.now(),
            claims,
            named,
            test=verdict.claims.anchor.test,
        )
        return self.keys()[0].sign(said.to_claims())

    def _entry(
        self,
        event: str,
        session: Session,
        judged: Judged,
        decision: Decision,
        client: str,
        path: ResourcePath | None = None,
    ) -> Entry:
        asked = judged.workload.id if judged.workload else session.workload if event == "attest" else None
        return Entry(
            at=stamp(session.verified or self.now()) if event == "attest" else stamp(self.now()),
            event=event,
            decision="allowed" if decision.allowed else "refused",
            rule=decision.rule,
            words=decision.words,
            workload=asked,
            owner=None if judged.workload is None else judged.workload.owner,
            session=session.public,
            client=client,
            tee=session.tee,
            machine=machine_of(judged.verdict) or None,
            evidence=judged.proof.digest,
            policy=decision.policy or None,
            resource=None if path is None else str(path),
        )


def _found(unit: Unit, workload: str) -> Workload | None:
    try:
        return unit.workloads.get(workload)
    except Unknown:
        return None


def _encrypt(session: Session, content: bytes) -> bytes:
    assert session.key is not None  # it has attested
    return PublicKey.parse(session.key).encrypt(content)


def _decide(judged: Judged, facts: Facts) -> Decision:
    if judged.verdict is None:
        return Decision(False, UNREADABLE, "the evidence cannot be read, or is of another TEE than was said", None, "")
    if judged.policy is None:
        words = "there is no such workload or resource" if judged.workload is None else "the workload has no policy yet"
        return Decision(False, UNKNOWN, words, None, "")
    return decide(judged.policy, judged.verdict, facts)


def _appraise(judged: Judged, claimed: bool, facts: Facts) -> Decision:  # noqa: FBT001
    """Decide about an attestation: by the workload's policy where the guest said which it is, else genuineness."""
    if claimed or judged.verdict is None:
        return _decide(judged, facts)
    if is_genuine(judged.verdict):
        return Decision(True, ALLOWED, "the evidence is genuine, and answers this session", None, "")
    refusal = judged.verdict.refusal
    assert refusal is not None  # nothing is accepted by such a policy
    return Decision(False, str(refusal.rule), refusal.reason, refusal.hint, "")

"""Sessions of guests, and the evidence that they sent: kept, so that a policy can be tried on it later."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from haulout.broker.policy import Recorded
from haulout.broker.sessions import Session, State
from haulout.broker.stores.tables import audit, documents, evidence, sessions
from haulout.broker.stores.times import from_stored, to_stored
from haulout.tee import Given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Row


@dataclass(frozen=True, slots=True)
class Proof:
    """Evidence, and what it is verified with.

    Attributes:
        data: what the TEE signed.
        report_data: what it has to carry.
        v0: whether the guest spoke the protocol of libkrun up to 1.19.
    """

    data: bytes = field(repr=False)
    report_data: bytes = field(repr=False)
    certificates: tuple[Given, ...] = field(default=(), repr=False)
    collateral: tuple[Given, ...] = field(default=(), repr=False)
    v0: bool = False

    @property
    def digest(self) -> str:
        """The digest of what the TEE signed, by which the audit log names it."""
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"


# Statements are built once: to build one takes longer than to run it.
_OPEN: Final = insert(sessions)
_BY_ID: Final = select(sessions).where(sessions.c.id == bindparam("wanted"))
_BY_PUBLIC: Final = select(sessions).where(sessions.c.public == bindparam("wanted"))
_ANSWER: Final = update(sessions).where(sessions.c.id == bindparam("wanted"), sessions.c.state == State.CHALLENGED)
_EVIDENCE: Final = select(evidence).where(evidence.c.digest == bindparam("wanted"))
_EVIDENCE_THERE: Final = select(evidence.c.digest).where(evidence.c.digest == bindparam("wanted"))
_KEEP_EVIDENCE: Final = insert(evidence)
_REPLACE_EVIDENCE: Final = update(evidence).where(evidence.c.digest == bindparam("wanted"))
_DOCUMENTS_THERE: Final = select(documents.c.digest).where(documents.c.digest.in_(bindparam("wanted", expanding=True)))
_DOCUMENTS: Final = select(documents).where(documents.c.digest.in_(bindparam("wanted", expanding=True)))


class Attestations:
    """The tables of sessions and evidence, in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def open(self, session: Session) -> None:
        """Keep a new session."""
        self._connection.execute(_OPEN, _values(session))

    def find(self, *, id: str | None = None, public: str | None = None) -> Session | None:  # noqa: A002
        """Return a session, by the digest of its cookie or by its public id; None: there is none."""
        wanted, name = (_BY_ID, id) if id is not None else (_BY_PUBLIC, public)
        row = self._connection.execute(wanted, {"wanted": name}).one_or_none()
        return None if row is None else _session(row)

    def answer(self, session: Session) -> bool:
        """Keep the answer to a session's challenge; return False where it was answered already.

        Of two answers at the same time, from whichever instances, one is kept.
        """
        changes = {name: value for name, value in _values(session).items() if name not in {"id", "public", "nonce"}}
        return self._connection.execute(_ANSWER, {**changes, "wanted": session.id}).rowcount == 1

    def forget(self, at: datetime) -> int:
        """Remove the sessions that expired; return how many there were."""
        return self._connection.execute(delete(sessions).where(sessions.c.expires < to_stored(at))).rowcount

    def keep_evidence(self, proof: Proof, at: datetime, *, accepted: bool) -> None:
        """Keep evidence with all that it was verified with; the same evidence is kept once.

        Args:
            proof: the evidence.
            at: the time.
            accepted: what was accepted takes the place of what was kept: somebody may have sent the evidence of another
                before, with certificates and report data that do not fit.
        """
        there = self._connection.execute(_EVIDENCE_THERE, {"wanted": proof.digest}).one_or_none() is not None
        if there and not accepted:
            return
        values = {
            "digest": proof.digest,
            "data": proof.data,
            "report_data": proof.report_data,
            "v0": proof.v0,
            "certificates": self._keep(proof.certificates),
            "collateral": self._keep(proof.collateral),
            "seen": to_stored(at),
        }
        if there:
            self._connection.execute(_REPLACE_EVIDENCE, {**values, "wanted": proof.digest})
        else:
            self._connection.execute(_KEEP_EVIDENCE, values)

    def proof(self, digest: str) -> Proof | None:
        """Return evidence by its digest; None: it was not kept, or not for so long."""
        row = self._connection.execute(_EVIDENCE, {"wanted": digest}).one_or_none()
        return None if row is None else self._proof(row)

    def recorded(
        self,
        since: str,
        *,
        workload: str | None = None,
        owner: str | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> Iterator[Recorded]:
        """Yield attempts to get keys since a time (RFC 3339 in UTC), with their evidence, the oldest first.

        Args:
            since: the time.
            workload: only of this workload.
            owner: only of this owner's workloads.
            after: number of a row of the audit log, which is left out with those before it.
            limit: how many at most; None: all.
        """
        attempted = (audit.c.event == "release") | ((audit.c.event == "attest") & (audit.c.decision == "refused"))
        wanted = (
            select(
                evidence, audit.c.number, audit.c.at, audit.c.workload, audit.c.rule, audit.c.session, audit.c.client
            )
            .join(audit, evidence.c.digest == audit.c.evidence)
            .where(audit.c.number > after, audit.c.at >= since, attempted, audit.c.workload.is_not(None))
            .order_by(audit.c.number)
            .limit(limit)
        )
        if workload is not None:
            wanted = wanted.where(audit.c.workload == workload)
        if owner is not None:
            wanted = wanted.where(audit.c.owner == owner)
        for row in self._connection.execute(wanted):
            proof = self._proof(row)
            yield Recorded(
                datetime.fromisoformat(row.at),
                row.workload,
                proof.data,
                proof.certificates,
                proof.collateral,
                proof.report_data,
                proof.v0,
                row.rule,
                row.session,
                row.client,
                row.number,
            )

    def _keep(self, given: tuple[Given, ...]) -> str:
        found = {hashlib.sha256(one.data).hexdigest(): one for one in given}
        there = set(self._connection.execute(_DOCUMENTS_THERE, {"wanted": [*found]}).scalars()) if found else set()
        # In one order everywhere: another instance may keep the same at this moment, and each would wait for the other.
        for digest in sorted(found.keys() - there):
            with suppress(IntegrityError), self._connection.begin_nested():
                self._connection.execute(
                    insert(documents).values(digest=digest, name=found[digest].name, data=found[digest].data)
                )
        return "\n".join(found)

    def _kept(self, digests: str) -> tuple[Given, ...]:
        names = digests.split()
        if not names:
            return ()
        found = {
            row.digest: Given(row.name, row.data) for row in self._connection.execute(_DOCUMENTS, {"wanted": names})
        }
        return tuple(found[name] for name in names if name in found)

    def _proof(self, row: Any) -> Proof:
        certificates, collateral = self._kept(row.certificates), self._kept(row.collateral)
        return Proof(row.data, row.report_data, certificates, collateral, row.v0)

    def forget_evidence(self, before: datetime) -> int:
        """Remove the evidence that was first seen before a time; return how much there was."""
        return self._connection.execute(delete(evidence).where(evidence.c.seen < to_stored(before))).rowcount


def _values(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "public": session.public,
        "tee": session.tee,
        "workload": session.workload,
        "nonce": session.nonce,
        "hash": session.hash,
        "client": session.client,
        "v0": session.v0,
        "state": session.state,
        "created": to_stored(session.created),
        "expires": to_stored(session.expires),
        "verified": None if session.verified is None else to_stored(session.verified),
        "key": None if session.key is None else json.dumps(session.key),
        "evidence": session.evidence,
        "report_data": session.report_data,
    }


def _session(row: Row[Any]) -> Session:
    return Session(
        id=row.id,
        public=row.public,
        tee=row.tee,
        workload=row.workload,
        nonce=row.nonce,
        hash=row.hash,
        client=row.client,
        created=from_stored(row.created),
        expires=from_stored(row.expires),
        v0=row.v0,
        state=State(row.state),
        verified=None if row.verified is None else from_stored(row.verified),
        key=None if row.key is None else json.loads(row.key),
        evidence=row.evidence,
        report_data=row.report_data,
    )

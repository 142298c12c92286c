"""The tables of a broker. Times are milliseconds since 1970; digests of secrets stand where the secrets would.

A change here needs a migration in ``migrations/versions``; a test compares the two.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

NAMES: Final = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
metadata: Final = MetaData(naming_convention=NAMES)

_ID: Final = String(256)
_DIGEST: Final = String(64)

owners: Final = Table(
    "owners", metadata, Column("name", _ID, primary_key=True), Column("created", BigInteger, nullable=False)
)

credentials: Final = Table(
    "credentials",
    metadata,
    # SHA-256 of a token, or of a client certificate in DER.
    Column("digest", _DIGEST, primary_key=True),
    Column("owner", _ID, ForeignKey("owners.name", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("created", BigInteger, nullable=False),
)

workloads: Final = Table(
    "workloads",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("owner", _ID, ForeignKey("owners.name"), nullable=False, index=True),
    Column("created", BigInteger, nullable=False),
    # Version of its policy in force; 0: none, so that no key is released.
    Column("policy", Integer, nullable=False),
    Column("releases", BigInteger, nullable=False),
    # The signed list of images that it follows.
    Column("list", LargeBinary),
    # Fingerprints of the roots that its policy adds, for tests; "" for every other.
    Column("test_roots", Text, nullable=False),
)

policies: Final = Table(
    "policies",
    metadata,
    Column("workload", _ID, ForeignKey("workloads.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("digest", _DIGEST, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
)

resources: Final = Table(
    "resources",
    metadata,
    Column("path", String(400), primary_key=True),
    Column("workload", _ID, ForeignKey("workloads.id", ondelete="CASCADE"), nullable=False, index=True),
    # Which key-encryption key wraps the data key, the wrapped data key, and what that encrypts.
    Column("kek", String(64), nullable=False, index=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
)

signing_keys: Final = Table(
    "signing_keys",
    metadata,
    Column("kid", _DIGEST, primary_key=True),
    Column("kek", String(64), nullable=False, index=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
)

evidence: Final = Table(
    "evidence",
    metadata,
    Column("digest", String(80), primary_key=True),
    Column("data", LargeBinary, nullable=False),
    Column("report_data", LargeBinary, nullable=False),
    Column("v0", Boolean, nullable=False),
    # Digests of the documents that it was verified with, one a line.
    Column("certificates", Text, nullable=False),
    Column("collateral", Text, nullable=False),
    Column("seen", BigInteger, nullable=False, index=True),
)

documents: Final = Table(
    "documents",
    metadata,
    Column("digest", _DIGEST, primary_key=True),
    Column("name", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

sessions: Final = Table(
    "sessions",
    metadata,
    # SHA-256 of what is in the cookie.
    Column("id", _DIGEST, primary_key=True),
    # What tokens and the audit log call it.
    Column("public", _DIGEST, nullable=False, unique=True),
    Column("tee", String(32), nullable=False),
    Column("workload", _ID),
    Column("nonce", String(64), nullable=False, unique=True),
    Column("hash", String(16), nullable=False),
    Column("client", String(64), nullable=False),
    Column("v0", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
    # From here on: of attested sessions.
    Column("verified", BigInteger),
    Column("key", Text),
    Column("evidence", String(80)),
    Column("report_data", LargeBinary),
)

audit: Final = Table(
    "audit",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", String(40), nullable=False, index=True),
    Column("event", String(32), nullable=False),
    Column("decision", String(16), nullable=False),
    Column("rule", String(64), nullable=False),
    Column("words", Text, nullable=False),
    Column("workload", _ID),
    Column("owner", _ID),
    Column("session", _DIGEST),
    Column("client", String(64)),
    Column("tee", String(32)),
    Column("machine", Text),
    Column("evidence", String(80)),
    Column("policy", _DIGEST),
    Column("resource", String(400)),
    Column("previous", _DIGEST, nullable=False),
    Column("hash", _DIGEST, nullable=False),
    Index("ix_audit_workload_number", "workload", "number"),
    Index("ix_audit_owner_number", "owner", "number"),
)

"""Owners of workloads: who they are, and by what they prove it."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Final

from haulout.broker import Place, digest_of
from haulout.broker.stores import Taken
from haulout.documents import Document
from haulout.errors import StorageError, UsageError
from haulout.local import PRIVATE, read_small, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from haulout.broker.stores import Store

_LARGEST: Final = 1 << 16
_LONGEST: Final = 64


@dataclass(frozen=True, slots=True)
class OwnerReport(Document):
    """An owner, and what was done.

    Attributes:
        name: of the owner.
        token_file: the file that has the new token; None: none was made.
        certificate: SHA-256 of the client certificate that is accepted from now on, or None.
        revoked: how many tokens and certificates are no longer accepted.
    """

    name: str
    token_file: Path | None = None
    certificate: str | None = None
    revoked: int = 0

    json_members: ClassVar = ("name", "token_file", "certificate", "revoked")


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    """Open the database of a broker, whose tables are those of this version."""
    store = Place.open(folder).store()
    try:
        store.require_current()
        yield store
    finally:
        store.close()


def broker_owner(
    folder: Path, name: str, *, token_out: Path | None = None, certificate: Path | None = None, revoke: bool = False
) -> OwnerReport:
    """Add an owner, or change by what one proves to be this owner.

    Args:
        folder: of the broker.
        name: of the owner, added if there is none.
        token_out: a file that must not exist, and gets a new token.
        certificate: a client certificate in PEM that is accepted from now on.
        revoke: first take away all tokens and certificates there are.

    Raises:
        UsageError: the name or the certificate is not valid.
        StorageError: the file exists.
        HauloutError: the database refuses.
    """
    if not name.isprintable() or not 0 < len(name) <= _LONGEST:
        raise UsageError(f"the name of an owner has 1 to {_LONGEST} characters that can be printed")
    if token_out is not None and token_out.exists():
        raise StorageError(str(token_out), "it exists", hint="choose another file for the token")
    pinned = None if certificate is None else _fingerprint(certificate)
    token, now = secrets.token_urlsafe(32), datetime.now(UTC)
    with opened(folder) as store, store.write() as unit:
        with suppress(Taken):
            unit.owners.add(name, now)
        revoked = unit.owners.revoke(name) if revoke else 0
        if pinned is not None:
            unit.owners.credit(name, pinned, "certificate", now)
        if token_out is not None:
            unit.owners.credit(name, digest_of(token), "token", now)
            replace_file(token_out, f"{token}\n".encode(), mode=PRIVATE)
    return OwnerReport(name, token_out, pinned, revoked)


def _fingerprint(path: Path) -> str:
    from cryptography import x509  # noqa: PLC0415 - only here
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    data = read_small(path, _LARGEST, too_large=lambda reason: UsageError(f"{path}: {reason}"))
    try:
        return hashlib.sha256(x509.load_pem_x509_certificate(data).public_bytes(Encoding.DER)).hexdigest()
    except ValueError as exc:
        raise UsageError(f"{path} is not a certificate in PEM") from exc

"""Owners of workloads, and by what they prove to be one: tokens and client certificates, known by their digests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from haulout.broker.stores.errors import Taken, Unknown
from haulout.broker.stores.tables import credentials, owners
from haulout.broker.stores.times import to_stored

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


class Owners:
    """The tables of owners and their credentials, in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, name: str, at: datetime) -> None:
        """Add an owner.

        Raises:
            Taken: there is one of this name.
        """
        try:
            with self._connection.begin_nested():
                self._connection.execute(insert(owners).values(name=name, created=to_stored(at)))
        except IntegrityError as exc:
            raise Taken(f"owner {name}") from exc

    def names(self) -> list[str]:
        """Return all names."""
        return list(self._connection.execute(select(owners.c.name).order_by(owners.c.name)).scalars())

    def credit(self, name: str, digest: str, kind: str, at: datetime) -> None:
        """Let whoever has something with this digest act as an owner.

        Args:
            name: of the owner.
            digest: SHA-256 of a token, or of a client certificate in DER.
            kind: ``token`` or ``certificate``.
            at: the time.

        Raises:
            Unknown: there is no such owner.
            Taken: it is known already.
        """
        if name not in self.names():
            raise Unknown(f"owner {name}")
        values = {"digest": digest, "owner": name, "kind": kind, "created": to_stored(at)}
        try:
            with self._connection.begin_nested():
                self._connection.execute(insert(credentials).values(**values))
        except IntegrityError as exc:
            raise Taken(kind) from exc

    def revoke(self, name: str, digest: str | None = None) -> int:
        """Take a credential of an owner away, or all of them; return how many there were."""
        wanted = delete(credentials).where(credentials.c.owner == name)
        if digest is not None:
            wanted = wanted.where(credentials.c.digest == digest)
        return self._connection.execute(wanted).rowcount

    def of_credential(self, digest: str) -> str | None:
        """Return whose credential it is."""
        wanted = select(credentials.c.owner).where(credentials.c.digest == digest)
        return self._connection.execute(wanted).scalar_one_or_none()

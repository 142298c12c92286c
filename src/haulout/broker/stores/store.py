"""What a broker remembers. A :class:`Unit` is one transaction; what belongs together is done in one."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from haulout.broker.stores.attestations import Attestations
from haulout.broker.stores.auditing import AuditLog
from haulout.broker.stores.backup import read_backup, write_backup
from haulout.broker.stores.engine import migrate, open_engine, require_current, transaction
from haulout.broker.stores.owners import Owners
from haulout.broker.stores.resources import Resources
from haulout.broker.stores.signing import SigningKeys
from haulout.broker.stores.workloads import Workloads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Connection

    from haulout.broker.stores.keyring import Wrapper


@dataclass(frozen=True, slots=True)
class Unit:
    """One transaction, and the tables as they are in it."""

    owners: Owners
    workloads: Workloads
    resources: Resources
    attestations: Attestations
    audit: AuditLog
    signing_keys: SigningKeys

    @classmethod
    def of(cls, connection: Connection, wrapper: Wrapper) -> Unit:
        """Return the unit of an open transaction."""
        return cls(
            Owners(connection),
            Workloads(connection),
            Resources(connection, wrapper),
            Attestations(connection),
            AuditLog(connection),
            SigningKeys(connection, wrapper),
        )


class Store:
    """The database of a broker, shared by all its instances. Safe for threads."""

    def __init__(self, url: str, wrapper: Wrapper) -> None:
        """Open a database.

        Args:
            url: see :func:`~haulout.broker.stores.engine.open_engine`.
            wrapper: seals keys and resources.

        Raises:
            UsageError: it is not such a URL.
        """
        self.engine = open_engine(url)
        self.wrapper = wrapper

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def migrate(self) -> None:
        """Make the tables, or bring them up to date; as :func:`~haulout.broker.stores.engine.migrate`."""
        migrate(self.engine)

    def require_current(self) -> None:
        """Require that the tables are there; as :func:`~haulout.broker.stores.engine.require_current`."""
        require_current(self.engine)

    @contextmanager
    def read(self) -> Iterator[Unit]:
        """Open a transaction that only reads: it sees the tables as they are at one moment.

        Raises:
            StoreError: the database refuses or cannot be reached.
        """
        with transaction(self.engine, writes=False) as connection:
            yield Unit.of(connection, self.wrapper)

    @contextmanager
    def write(self) -> Iterator[Unit]:
        """Open a transaction that is committed, durably, where the block ends well; else nothing of it is.

        Raises:
            StoreError: as of :meth:`read`; it may then not be known whether it was committed.
        """
        with transaction(self.engine, writes=True) as connection:
            yield Unit.of(connection, self.wrapper)

    def backup(self, out: IO[bytes]) -> int:
        """Write a backup; as :func:`~haulout.broker.stores.backup.write_backup`."""
        return write_backup(self.engine, out)

    def restore(self, lines: Iterable[bytes], check: Callable[[Unit], None]) -> int:
        """Fill empty tables from a backup; nothing is kept where ``check`` raises.

        Raises:
            InvalidBackup: it is not a whole backup of these tables.
            StoreError: the tables are not empty, or the database refuses.
        """
        with transaction(self.engine, writes=True) as connection:
            count = read_backup(connection, lines)
            check(Unit.of(connection, self.wrapper))
            return count

"""Databases: SQLite in one file by default, PostgreSQL for many instances. One place for what differs."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import alembic.command
import alembic.config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from haulout.broker.stores.errors import StoreError
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_DRIVERS: Final = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_LOCK: Final = 0x6861756C
"""Of PostgreSQL's advisory locks, the one that whoever appends to the audit log holds until it commits."""
_SECONDS: Final = 20


def open_engine(url: str) -> Engine:
    """Open a database.

    Args:
        url: ``sqlite:////absolute/path`` or ``postgresql://[user@host]/name[?host=/socket/folder]``.

    Raises:
        UsageError: it is not such a URL.
    """
    try:
        parsed = make_url(url)
        driver = _DRIVERS[parsed.drivername.partition("+")[0]]
    except (ArgumentError, KeyError, ValueError) as exc:
        # The URL may hold a password, and is not shown.
        hint = "for example sqlite:////var/lib/haulout-broker/broker.db or postgresql:///haulout"
        raise UsageError("the database is not given by a URL of SQLite or PostgreSQL", hint=hint) from exc
    parsed = parsed.set(drivername=driver)
    if driver.startswith("sqlite"):
        if not parsed.database or parsed.database == ":memory:":
            raise UsageError("a broker needs a database that lasts", hint="give the path of a file")
        engine = create_engine(parsed, connect_args={"timeout": _SECONDS, "check_same_thread": False}, pool_size=8)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(
        parsed,
        pool_size=8,
        max_overflow=8,
        pool_timeout=_SECONDS,
        pool_pre_ping=True,
        connect_args={"connect_timeout": _SECONDS},
    )


def _prepare_sqlite(connection: Any, _: object) -> None:
    # The driver's own transactions begin late; ours begin where they are asked for.
    connection.isolation_level = None
    cursor = connection.cursor()
    # FULL: a row that was committed is there after a power failure, too.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("haulout_writes", False)
    # A transaction that reads before it writes would fail where another wrote in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def transaction(engine: Engine, *, writes: bool, snapshot: bool = False) -> Iterator[Connection]:
    """Run a block in one transaction: committed, durably, where it ends well.

    Args:
        engine: the database.
        writes: whether the block writes.
        snapshot: whether all that the block reads is of one moment, as in SQLite it always is.

    Raises:
        StoreError: the database refuses or cannot be reached: nothing of the block was committed, or it is not known
            whether all of it was.
    """
    with database_errors(), engine.connect() as connection:
        connection = connection.execution_options(haulout_writes=writes)  # noqa: PLW2901
        if snapshot and connection.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ")  # noqa: PLW2901
        with connection.begin():
            yield connection


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn errors of the database into :class:`StoreError`, without the statement and its values."""
    try:
        yield
    except SQLAlchemyError as exc:
        reason = str(getattr(exc, "orig", None) or type(exc).__name__).strip().partition("\n")[0]
        raise StoreError(f"the broker's database: {reason}") from exc


def lock_audit(connection: Connection) -> None:
    """Wait until nobody else appends to the audit log; until the end of the transaction nobody else does."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def migrate(engine: Engine) -> None:
    """Bring the tables to what this version of Haulout needs: all of it, or nothing.

    Raises:
        StoreError: the database refuses, or was made by a later version.
    """
    with database_errors(), engine.connect() as connection:
        connection = connection.execution_options(haulout_writes=True)  # noqa: PLW2901
        with connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            _require_known(connection)
            config = _config()
            config.attributes["connection"] = connection
            alembic.command.upgrade(config, "head")


def require_current(engine: Engine) -> None:
    """Require that the tables are those of this version.

    Raises:
        StoreError: they are not there, or are of another version.
    """
    with database_errors(), engine.connect() as connection:
        if _require_known(connection) != ScriptDirectory.from_config(_config()).get_current_head():
            raise StoreError(
                "the broker's database does not have the tables of this version", hint="run: haulout broker init"
            )


def revision(connection: Connection) -> str | None:
    """Return the revision of the tables; None: there are none."""
    return MigrationContext.configure(connection).get_current_revision()


def _require_known(connection: Connection) -> str | None:
    found = revision(connection)
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise StoreError(
            "the broker's database was made by a later version of haulout", hint="upgrade haulout, or restore a backup"
        )
    return found


def _config() -> alembic.config.Config:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config

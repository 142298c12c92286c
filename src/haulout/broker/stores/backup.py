"""Backups: all tables but sessions, in lines of JSON, for whichever database. What is sealed stays sealed.

The first line says what it is, the last one how many rows there are, so that half a file is not taken for a whole one.
docs/broker.md.
"""

from __future__ import annotations

import base64
import json
from typing import IO, TYPE_CHECKING, Any, Final

from sqlalchemy import LargeBinary, func, insert, select

from haulout.broker.stores.engine import revision, transaction
from haulout.broker.stores.errors import InvalidBackup, StoreError
from haulout.broker.stores.tables import metadata, sessions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Engine, Table

TYPE: Final = "io.github.haulout.broker-backup"
_BATCH: Final = 500
_TABLES: Final[tuple[Table, ...]] = tuple(table for table in metadata.sorted_tables if table is not sessions)


def write_backup(engine: Engine, out: IO[bytes]) -> int:
    """Write a backup, of one moment; return the number of rows.

    Raises:
        StoreError: the database refuses.
    """
    count = 0
    with transaction(engine, writes=False, snapshot=True) as connection:
        _line(out, {"type": TYPE, "revision": revision(connection)})
        for table in _TABLES:
            order = select(table).order_by(*table.primary_key.columns)
            for row in connection.execution_options(yield_per=_BATCH).execute(order):
                _line(out, {"table": table.name, "row": [_plain(value) for value in row]})
                count += 1
    _line(out, {"rows": count})
    return count


def read_backup(connection: Connection, lines: Iterable[bytes]) -> int:
    """Fill the empty tables of a new broker from a backup; return the number of rows.

    Raises:
        InvalidBackup: it is not a whole backup of these tables.
        StoreError: the tables are not empty.
    """
    _require_empty(connection)
    rest = iter(lines)
    head = _read(next(rest, b""))
    if head.get("type") != TYPE or head.get("revision") != revision(connection):
        raise InvalidBackup("it is not a backup of a broker of this version of haulout")
    for count, line in enumerate(rest):
        found = _read(line)
        if "rows" in found:
            if found["rows"] != count or next(rest, None) is not None:
                break
            return count
        _insert(connection, found)
    raise InvalidBackup("it is not whole")


def _require_empty(connection: Connection) -> None:
    for table in _TABLES:
        # A new broker has a key that signs tokens, which those of the backup replace.
        if table.name == "signing_keys":
            connection.execute(table.delete())
        elif connection.execute(select(func.count()).select_from(table)).scalar_one():
            raise StoreError(f"the broker has rows in {table.name} already", hint="restore into a new broker")


def _insert(connection: Connection, found: dict[str, Any]) -> None:
    table = next((each for each in _TABLES if each.name == found.get("table")), None)
    row = found.get("row")
    if table is None or not isinstance(row, list) or len(row) != len(table.columns):
        raise InvalidBackup("a row is of no table")
    try:
        values = {
            column.name: base64.b64decode(value, validate=True)
            if isinstance(column.type, LargeBinary) and value is not None
            else value
            for column, value in zip(table.columns, row, strict=True)
        }
    except (ValueError, TypeError) as exc:
        raise InvalidBackup("a value cannot be decoded") from exc
    connection.execute(insert(table).values(**values))


def _plain(value: object) -> object:
    return base64.b64encode(value).decode() if isinstance(value, bytes | memoryview) else value


def _line(out: IO[bytes], document: dict[str, Any]) -> None:
    out.write(json.dumps(document, separators=(",", ":")).encode() + b"\n")


def _read(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise InvalidBackup("a line is not JSON") from exc
    if not isinstance(found, dict):
        raise InvalidBackup("a line is not an object")
    return found

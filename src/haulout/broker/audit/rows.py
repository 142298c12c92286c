"""Rows of the audit log, each chained to the one before. Pure; docs/formats/audit.md.

A row's hash is SHA-256 over the hash before and the canonical form (RFC 8785) of the row. Whoever can write the table
can make all hashes anew: what shows that is a head, a number and its hash, that was kept elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from haulout.documents import Document
from haulout.errors import ContentError, UsageError
from haulout.local import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from haulout.local import Table

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_LONGEST: Final = 4000
_MOST: Final = (1 << 53) - 1
"""Above, a number has no canonical form in JSON."""


class InvalidRow(ContentError):  # noqa: N818 - as in haulout.errors
    """A line of an exported log that is not a row."""


@dataclass(frozen=True, slots=True)
class Head(Document):
    """The last row that counts: its number and hash. Printed as ``NUMBER:HASH``."""

    number: int
    hash: str

    json_members: ClassVar = str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse what was printed.

        Raises:
            UsageError: it is not a head.
        """
        number, _, digest = text.strip().partition(":")
        if not (number.isascii() and number.isdecimal() and len(number) < 17 and _HASH.fullmatch(digest)):
            hint = "give what haulout broker log --verify printed: NUMBER:HASH"
            raise UsageError(f"not a head of an audit log: {text[:90]!r}", hint=hint)
        return cls(int(number), digest)


BEGINNING: Final = Head(0, "0" * 64)
"""The head of a log without rows."""


@dataclass(frozen=True, slots=True)
class Entry(Document):
    """What happened, before it has its place in the chain. Absent things are None; nothing in it is secret.

    Attributes:
        at: the time, RFC 3339 in UTC.
        event: ``release``, ``attest``, ``policy``, ``workload``, ``list``, and so on.
        decision: ``allowed`` or ``refused``.
        rule: the rule that decided: see :class:`~haulout.broker.policy.Decision`.
        words: the same for people.
        workload: whose key it is about.
        owner: whose workload it is; for changes, who made them.
        session: the guest's session.
        client: address of the client.
        tee: kind of TEE.
        machine: which machine it was, as far as the evidence tells.
        evidence: digest of the evidence, ``sha256:…``.
        policy: SHA-256 of the policy's document.
        resource: path of what was asked for.
    """

    at: str
    event: str
    decision: str
    rule: str
    words: str = ""
    workload: str | None = None
    owner: str | None = None
    session: str | None = None
    client: str | None = None
    tee: str | None = None
    machine: str | None = None
    evidence: str | None = None
    policy: str | None = None
    resource: str | None = None


@dataclass(frozen=True, slots=True)
class Row(Document):
    """An entry in its place.

    Attributes:
        number: counted from 1.
        entry: what happened.
        previous: hash of the row before.
        hash: of this one.
    """

    number: int
    entry: Entry
    previous: str
    hash: str

    json_members: ClassVar = ("number", "*entry", "previous", "hash")

    @property
    def head(self) -> Head:
        """Return the head of a log that ends here."""
        return Head(self.number, self.hash)

    @property
    def expected(self) -> str:
        """Return the hash that number, entry and the hash before have."""
        return _hash(self.number, self.entry, self.previous)

    def to_line(self) -> str:
        """Return the line of an export, in canonical form, without its end."""
        return canonical(self.to_dict()).decode()


def append(head: Head, entry: Entry) -> Row:
    """Chain an entry to a head. The caller holds a lock on the head until the row is committed.

    Raises:
        ValueError: a text of the entry is not Unicode.
    """
    number = head.number + 1
    return Row(number, entry, head.hash, _hash(number, entry, head.hash))


def parse_row(line: str | bytes, what: str = "the log") -> Row:
    """Parse a line of an export.

    Raises:
        InvalidRow: it is not a row.
    """

    def wrong(where: str, reason: str, *, hint: str | None = None) -> InvalidRow:
        return InvalidRow(f"{what} cannot be read: {where}{': ' if where else ''}{reason}", hint=hint)

    return read_row(parse_json(line, wrong))


def read_row(table: Table) -> Row:
    """Read a row.

    Raises:
        Exception: as the table makes it: a member is missing, unknown, or of the wrong type.
    """
    values: dict[str, Any] = {}
    for field in fields(Entry):
        value = table.take(field.name)
        if (value is None and field.name in _DEMANDED) or not (value is None or _is_text(value)):
            raise table.wrong(field.name, "expected a text")
        values[field.name] = value
    for name in ("previous", "hash"):
        if not _HASH.fullmatch(table.text(name)):
            raise table.wrong(name, "expected 64 hexadecimal digits")
    row = Row(table.number("number", None, _MOST, least=1), Entry(**values), table.text("previous"), table.text("hash"))
    table.end()
    return row


_DEMANDED: Final = {"at", "event", "decision", "rule", "words"}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST and not any(0xD800 <= ord(char) < 0xE000 for char in value)


def canonical(values: Mapping[str, Any]) -> bytes:
    """Return the canonical form (RFC 8785) of an object whose names are ASCII and whose numbers are whole."""
    return json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _hash(number: int, entry: Entry, previous: str) -> str:
    content = canonical({"number": number, **entry.to_dict()})
    return hashlib.sha256(bytes.fromhex(previous) + content).hexdigest()

"""What was decided, in rows of which each is chained to the one before. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.broker.audit.rows import BEGINNING, Entry, Head, InvalidRow, Row, append, parse_row
    from haulout.broker.audit.verify import Damage, Finding, LogReport, verify_log

__all__ = [
    "BEGINNING",
    "Damage",
    "Entry",
    "Finding",
    "Head",
    "InvalidRow",
    "LogReport",
    "Row",
    "append",
    "parse_row",
    "verify_log",
]

open_face(
    __name__,
    {
        "rows": ("BEGINNING", "Entry", "Head", "InvalidRow", "Row", "append", "parse_row"),
        "verify": ("Damage", "Finding", "LogReport", "verify_log"),
    },
)

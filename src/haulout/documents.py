"""Results as documents: one rule turns the dataclasses that verbs return into the JSON of docs/json.md.

A dataclass becomes an object of its fields, unless its class has ``json_members``: the names of fields and properties
in order, ``name=path.to.value`` for one under another name (None where a value on the path is None), ``*field`` for one
whose members stand among its own. A class that is one word in JSON has ``json_members = str``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from os import PathLike, fspath
from typing import Any, ClassVar


class Document:
    """A result with a documented JSON form."""

    __slots__ = ()

    json_members: ClassVar[Sequence[str] | type[str]]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form as docs/json.md shows it: only dict, list, str, int, float, bool and None."""
        return dict(_members(self))


def encode(value: Any) -> Any:  # noqa: C901, PLR0911 - one line for each kind of value
    """Return the JSON form of a value: seconds to the millisecond, bytes in hexadecimal, paths and digests as text.

    Raises:
        TypeError: it has none.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (str, PathLike)):
        return str(fspath(value))
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): encode(each) for key, each in value.items()}
    if isinstance(value, AbstractSet):
        return sorted(encode(each) for each in value)
    if isinstance(value, Sequence):
        return [encode(each) for each in value]
    if getattr(value, "json_members", None) is str:
        return str(value)
    if is_dataclass(value):
        return dict(_members(value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _members(value: Any) -> list[tuple[str, Any]]:
    names = getattr(value, "json_members", None) or [each.name for each in fields(value)]
    found: list[tuple[str, Any]] = []
    for name in names:
        shown, _, path = name.partition("=")
        if name.startswith("*"):
            found += _members(getattr(value, name[1:]))
        else:
            found.append((shown, encode(_at(value, path or shown))))
    return found


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        if value is None:
            return None
        value = getattr(value, name)
    return value

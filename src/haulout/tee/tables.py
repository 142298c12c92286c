"""Reading the tables of a policy: every key is known, every value has its type, and an error says where."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

from haulout.errors import InvalidPolicy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from enum import StrEnum

    Choice = TypeVar("Choice", bound=StrEnum)

_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")
_LONGEST_LIST = 10_000


class Table:
    """One table of a TOML document; :meth:`end` refuses the keys that nobody asked for."""

    def __init__(self, policy: str, key: str, values: dict[str, Any]) -> None:
        self._policy = policy
        self._key = key
        self._values = values
        self._asked: set[str] = set()

    def wrong(self, name: str, reason: str, *, hint: str | None = None) -> InvalidPolicy:
        """Return the error that a key deserves."""
        return InvalidPolicy(self._policy, f"{self._key}.{name}".strip("."), reason, hint=hint)

    def _take(self, name: str) -> Any:
        self._asked.add(name)
        return self._values.get(name)

    def has(self, name: str) -> bool:
        """Return whether a key is there."""
        return name in self._values

    def flag(self, name: str, default: bool) -> bool:  # noqa: FBT001 - it is the value itself
        """Read true or false."""
        value = self._take(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false is expected")
        return value

    def number(self, name: str, default: int, most: int) -> int:
        """Read a whole number from 0."""
        value = self._take(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise self.wrong(name, f"a whole number from 0 to {most} is expected")
        return value

    def text(self, name: str, default: str) -> str:
        """Read a line of text."""
        value = self._take(name)
        if value is None:
            return default
        if not isinstance(value, str) or not value.isprintable() or len(value) > 200:
            raise self.wrong(name, "one line of at most 200 characters is expected")
        return value

    def choice(self, name: str, default: Choice) -> Choice:
        """Read one of a few words."""
        return self._chosen(name, default if (value := self._take(name)) is None else value, type(default))

    def choices(self, name: str, kind: type[Choice], default: Iterable[Choice] | None) -> tuple[Choice, ...]:
        """Read a list of words, at least one; None as default: it has to be there."""
        values = self._list(name)
        if values is None:
            if default is None:
                raise self.wrong(name, "it is missing", hint=f"there are {', '.join(kind)}")
            return tuple(default)
        return tuple(self._chosen(name, value, kind) for value in values)

    def _chosen(self, name: str, value: Any, kind: type[Choice]) -> Choice:
        for one in kind:
            if value == one.value:
                return one
        raise self.wrong(name, f"{str(value)[:40]!r} is not known", hint=f"there are {', '.join(kind)}")

    def numbers(self, name: str, known: Collection[int], default: Iterable[int]) -> tuple[int, ...]:
        """Read a list of numbers out of a few."""
        values = self._list(name)
        if values is None:
            return tuple(default)
        for value in values:
            if not isinstance(value, int) or isinstance(value, bool) or value not in known:
                raise self.wrong(
                    name, f"{str(value)[:40]} is not known", hint=f"there are {', '.join(map(str, known))}"
                )
        return tuple(values)

    def strings(self, name: str) -> tuple[str, ...]:
        """Read a list of lines of text; () where it is not there."""
        values = self._list(name) or ()
        for value in values:
            if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 200:
                raise self.wrong(name, "lines of at most 200 characters are expected")
        return tuple(values)

    def digests(self, name: str, sizes: Collection[int]) -> frozenset[bytes] | None:
        """Read a list of byte strings in hexadecimal; None where it is not there: anything goes."""
        values = self._list(name)
        if values is None:
            return None
        found = set()
        for value in values:
            if not isinstance(value, str) or not _HEX.fullmatch(value) or len(value) // 2 not in sizes:
                digits = " or ".join(str(2 * size) for size in sorted(sizes))
                raise self.wrong(name, f"{str(value)[:20]!r} is not {digits} hexadecimal digits")
            found.add(bytes.fromhex(value))
        return frozenset(found)

    def table(self, name: str) -> Table:
        """Read a table within; an empty one where it is not there."""
        value = self._take(name)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self.wrong(name, "a table is expected")
        return Table(self._policy, f"{self._key}.{name}".strip("."), value)

    def _list(self, name: str) -> list[Any] | None:
        value = self._take(name)
        if value is None:
            return None
        # An empty list would allow nothing; whoever writes it may have meant anything.
        if not isinstance(value, list) or not value:
            raise self.wrong(
                name, "a list with something in it is expected", hint="leave the key out to allow anything"
            )
        if len(value) > _LONGEST_LIST:
            raise self.wrong(name, f"more than {_LONGEST_LIST} entries")
        return value

    def end(self) -> None:
        """Refuse keys that nobody asked for."""
        for name in self._values:
            if name not in self._asked:
                near = get_close_matches(name, self._asked, n=1)
                meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(self._asked))}"
                raise self.wrong(name[:60], "there is no such key", hint=meant)

"""Tables of TOML or JSON that people wrote: every value has its type, every key is known, an error names its place.

Pure, but for :func:`read_text` and :func:`read_toml`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from haulout.errors import InvalidFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from enum import StrEnum
    from pathlib import Path

    Choice = TypeVar("Choice", bound=StrEnum)

LARGEST: Final = 8 << 20
"""Bytes of a file read; nobody keeps so much by hand."""
LONGEST_TEXT: Final = 200
LONGEST_LIST: Final = 10_000
_KEY_SHOWN: Final = 60


class Wrong(Protocol):
    """Makes the error about a key; ``where`` is its path, "" for the document itself."""

    def __call__(self, where: str, reason: str, *, hint: str | None = None) -> Exception:
        """Return the error to raise."""


class Table:
    """One table of a document. Ask for each key by type; :meth:`end` refuses the keys that nobody asked for.

    Args:
        values: as parsed.
        wrong: makes the error to raise.
        where: path of the table in the document, such as ``registry[2].mirror[0]``.
    """

    def __init__(self, values: Mapping[str, Any], wrong: Wrong, where: str = "") -> None:
        self._values = values
        self._wrong = wrong
        self.where = where
        self._asked: set[str] = set()

    def wrong(self, name: str, reason: str, *, hint: str | None = None) -> Exception:
        """Return the error about a key."""
        return self._wrong(self._path(name), reason, hint=hint)

    def _path(self, name: str) -> str:
        return f"{self.where}.{name}".strip(".")

    def take(self, name: str) -> Any:
        """Return a value of any type, None where the key is absent."""
        self._asked.add(name)
        return self._values.get(name)

    def has(self, name: str) -> bool:
        """Return whether a key is there."""
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def flag(self, name: str, default: bool) -> bool:  # noqa: FBT001 - it is the value itself
        """Read true or false."""
        value = self.take(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "expected true or false")
        return value

    def number(self, name: str, default: int | None, most: int, least: int = 0) -> int:
        """Read a whole number; ``default`` None: it must be there."""
        value = self._required(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.wrong(name, f"expected a whole number from {least} to {most}")
        return value

    def text(self, name: str, default: str | None = None, *, longest: int = LONGEST_TEXT) -> str:
        """Read a line of text; ``default`` None: it must be there, and not be empty."""
        value = self._required(name, default)
        if not isinstance(value, str) or not value.isprintable() or len(value) > longest:
            raise self.wrong(name, f"expected one line of at most {longest} characters")
        if default is None and not value.strip():
            raise self.wrong(name, "must not be empty")
        return value

    def texts(self, name: str, *, longest: int = LONGEST_TEXT) -> tuple[str, ...]:
        """Read a list of lines of text; a single one is a list of one, an absent one is empty."""
        value = self.take(name)
        values = [] if value is None else [value] if isinstance(value, str) else value
        if not isinstance(values, list) or len(values) > LONGEST_LIST:
            raise self.wrong(name, "expected a list of texts")
        for one in values:
            if not isinstance(one, str) or not one.isprintable() or not 0 < len(one) <= longest:
                raise self.wrong(name, f"expected lines of at most {longest} characters")
        return tuple(values)

    def line(self, name: str, default: str | None = None) -> str:
        """Read one line of any length and with any characters, as other programs name things; else as :meth:`text`."""
        value = self._required(name, default)
        if not _is_line(value) or (default is None and not value.strip()):
            raise self.wrong(name, "expected one line of text")
        return str(value)

    def lines(self, name: str) -> tuple[str, ...]:
        """Read a list of such lines, none empty; a single one is a list of one, an absent one is empty."""
        value = self.take(name)
        values = [] if value is None else [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(one and _is_line(one) for one in values):
            raise self.wrong(name, "expected a list of lines of text")
        return tuple(values)

    def choice(self, name: str, default: Choice) -> Choice:
        """Read one of a few words."""
        value = self.take(name)
        return default if value is None else self._chosen(name, value, type(default))

    def choices(self, name: str, kind: type[Choice], default: Iterable[Choice] | None) -> tuple[Choice, ...]:
        """Read a list of words, at least one; ``default`` None: it must be there."""
        values = self.listed(name)
        if values is None:
            if default is None:
                raise self.wrong(name, "is missing", hint=f"known: {', '.join(kind)}")
            return tuple(default)
        return tuple(self._chosen(name, value, kind) for value in values)

    def _chosen(self, name: str, value: Any, kind: type[Choice]) -> Choice:
        for one in kind:
            if value == one.value:
                return one
        raise self.wrong(name, f"{str(value)[:40]!r} is not known", hint=f"known: {', '.join(kind)}")

    def numbers(self, name: str, known: Collection[int], default: Iterable[int]) -> tuple[int, ...]:
        """Read a list of numbers out of a few."""
        values = self.listed(name)
        if values is None:
            return tuple(default)
        for value in values:
            if not isinstance(value, int) or isinstance(value, bool) or value not in known:
                raise self.wrong(name, f"{str(value)[:40]} is not known", hint=f"known: {', '.join(map(str, known))}")
        return tuple(values)

    def digests(self, name: str, sizes: Collection[int]) -> frozenset[bytes] | None:
        """Read a list of byte strings in hexadecimal, each of one of ``sizes`` bytes; None where it is absent."""
        values = self.listed(name)
        if values is None:
            return None
        found = set()
        for value in values:
            try:
                if not isinstance(value, str) or not value.isalnum():
                    raise ValueError(value)  # noqa: TRY301 - fromhex passes over white space
                one = bytes.fromhex(value)
            except ValueError:
                one = b""
            if len(one) not in sizes:
                digits = " or ".join(str(2 * size) for size in sorted(sizes))
                raise self.wrong(name, f"{str(value)[:20]!r} is not {digits} hexadecimal digits")
            found.add(one)
        return frozenset(found)

    def table(self, name: str) -> Table:
        """Read a table within; an empty one where it is absent."""
        value = self.take(name)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(name, "expected a table")
        return Table(value or {}, self._wrong, self._path(name))

    def tables(self, name: str) -> tuple[Table, ...]:
        """Read an array of tables; an empty one where it is absent."""
        value = self.take(name)
        value = [] if value is None else value
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self.wrong(name, f"expected an array of tables, [[{name}]]")
        return tuple(Table(one, self._wrong, f"{self._path(name)}[{number}]") for number, one in enumerate(value))

    def listed(self, name: str) -> list[Any] | None:
        """Read a list that holds something; None where it is absent."""
        value = self.take(name)
        if value is None:
            return None
        # An empty list would allow nothing, while its author may have meant anything.
        if not isinstance(value, list) or not value:
            raise self.wrong(name, "expected a list that is not empty", hint="leave the key out to allow anything")
        if len(value) > LONGEST_LIST:
            raise self.wrong(name, f"has more than {LONGEST_LIST} entries")
        return value

    def _required(self, name: str, default: Any) -> Any:
        value = self.take(name)
        value = default if value is None else value
        if value is None:
            raise self.wrong(name, "is missing")
        return value

    def end(self, *also: str) -> None:
        """Refuse keys that nobody asked for, but for those of ``also``: most are slips of the keyboard."""
        known = self._asked | set(also)
        for name in self._values:
            if name not in known:
                from difflib import get_close_matches  # noqa: PLC0415 - a misspelling is rare

                near = get_close_matches(name, known, n=1)
                meant = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
                raise self.wrong(name[:_KEY_SHOWN], "is not a known key", hint=meant)


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and "\n" not in value and "\0" not in value


def parse_toml(text: str, wrong: Wrong) -> Table:
    """Parse a TOML document.

    Raises:
        Exception: as ``wrong`` makes it.
    """
    import tomllib  # noqa: PLC0415 - most machines have no configuration to parse

    try:
        return Table(tomllib.loads(text), wrong)
    except (ValueError, RecursionError) as error:
        # Besides its own error, tomllib raises that of int() for numbers of thousands of digits.
        raise wrong("", f"is not TOML: {error}"[:300]) from error


def parse_json(text: str | bytes, wrong: Wrong) -> Table:
    """Parse a JSON document whose root is an object.

    Raises:
        Exception: as ``wrong`` makes it.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise wrong("", f"is not JSON: {error}"[:300]) from error
    if not isinstance(values, dict):
        raise wrong("", "is not a JSON object")
    return Table(values, wrong)


def wrong_file(path: Path) -> Wrong:
    """Return the maker of errors about a file: :class:`~haulout.errors.InvalidFile`."""

    def wrong(where: str, reason: str, *, hint: str | None = None) -> Exception:
        return InvalidFile(path, reason, where=where, hint=hint)

    return wrong


def read_text(path: Path) -> str:
    """Return the text of a file that people wrote.

    Raises:
        NotFoundError: there is no such file.
        StorageError: it is not a regular file, is larger than :data:`LARGEST`, or cannot be read.
        InvalidFile: it is not UTF-8.
    """
    from haulout.local.files import read_small  # noqa: PLC0415 - pure rooms read tables, and load nothing that opens files

    raw = read_small(path, LARGEST)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidFile(path, f"is not UTF-8 text, at byte {error.start}") from error


def read_toml(path: Path) -> Table:
    """Read a TOML file that people wrote; as :func:`read_text`.

    Raises:
        InvalidFile: it is not TOML, too.
    """
    return parse_toml(read_text(path), wrong_file(path))

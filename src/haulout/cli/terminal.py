"""What text looks like on a terminal: made harmless first, then sizes and times for people."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_MINUTE: Final = 60
_HOUR: Final = 3600


SPELLED_OUT: Final = "haulout.spelled-out"
"""Name of :func:`spelled_out` as a handler of encoding errors."""
_ASCII: Final = {
    "→": "->",
    "←": "<-",
    "…": "...",
    "\u2013": "-",
    "\u2014": "-",
    "·": "-",
    "≥": ">=",
    "≤": "<=",
    "│": "|",
    "├": "|",
    "└": "`",
    "─": "-",
}


def spelled_out(error: UnicodeError) -> tuple[str | bytes, int]:
    r"""Write what a locale has no letter for: signs as people write them in ASCII, others as ``\u20ac``."""
    if isinstance(error, UnicodeEncodeError) and error.object[error.start] in _ASCII:
        return _ASCII[error.object[error.start]], error.start + 1
    return codecs.backslashreplace_errors(error)


def neutral(text: str) -> str:
    r"""Return ``text`` with everything spelled out that a terminal could obey.

    Titles, annotations and messages of registries are other people's text. Control characters, escape sequences, line
    breaks, direction overrides and lone surrogates become ``\x1b``, ``\u202e`` and so on; letters of any script stay.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def size(amount: float) -> str:
    """Return ``amount`` bytes as ``4.0 GiB``: two or three digits that matter, binary units."""
    if amount < 1024:
        return f"{amount:.0f} B"
    step = 0
    amount /= 1024
    # From 999.5 on there would be four digits.
    while amount >= 999.5 and step < len(_UNITS) - 1:
        amount /= 1024
        step += 1
    return f"{amount:.1f} {_UNITS[step]}" if amount < 99.95 else f"{amount:.0f} {_UNITS[step]}"


def quantity(amount: float, unit: str) -> str:
    """Return ``amount`` of ``unit``: bytes as :func:`size`, anything else as a plain number."""
    return size(amount) if unit == "B" else f"{amount:,.0f} {unit}".strip()


def duration(seconds: float) -> str:
    """Return a length of time: ``40 ms``, ``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"


def count(number: int, one: str, many: str | None = None) -> str:
    """Return ``1 request`` or ``28 requests``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Align columns; figures to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        cells = (
            cell.rjust(width) if name in {"size", "compressed"} else cell.ljust(width)
            for name, cell, width in zip(head, row, widths, strict=True)
        )
        yield f"  {'  '.join(cells)}".rstrip()

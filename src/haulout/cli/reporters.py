"""Which progress reporter a command line gets: bars, plain lines, JSON lines, notes alone, or silence."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from haulout.cli.progress import JsonLines, NotesOnly, PlainLines, Silence

if TYPE_CHECKING:
    from typing import TextIO

    from haulout.cli.progress import Reporter


class Mode(StrEnum):
    """The values of ``--progress``."""

    AUTO = "auto"
    PLAIN = "plain"
    JSON = "json"
    NONE = "none"


def choose(mode: Mode, err: TextIO | None, *, quiet: bool, terminal: str | None) -> Reporter | Silence:
    """Return what ``--progress`` and ``--quiet`` ask for.

    Args:
        mode: the option's value; ``auto`` draws bars where ``err`` is a terminal that can move its cursor.
        err: where to write; None where standard error is closed.
        quiet: neither progress nor notes.
        terminal: the environment's ``TERM``.
    """
    if quiet or err is None:
        return Silence()
    if mode is Mode.AUTO and err.isatty() and terminal not in {None, "", "dumb"}:
        from haulout.cli.bars import Bars  # noqa: PLC0415 - rich is slow to import, so only where it draws

        return Bars(err)
    kinds: dict[Mode, type[Reporter]] = {Mode.JSON: JsonLines, Mode.NONE: NotesOnly}
    return kinds.get(mode, PlainLines)(err)

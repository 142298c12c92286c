"""Text from elsewhere, made fit to be shown on one line."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 300


def printable(text: str, *, replacement: str | None = " ", longest: int = LONGEST) -> str:
    r"""Return ``text`` without characters that a terminal would act upon, at most ``longest`` characters of it.

    Args:
        text: from a registry, a disk, a program.
        replacement: in place of each such character; "" drops them, None writes them as escapes (``\x1b``).
        longest: characters kept; what is cut off is marked by ``…``.
    """
    if not text.isprintable():
        text = "".join(
            letter
            if letter.isprintable()
            else letter.encode("unicode_escape").decode()
            if replacement is None
            else replacement
            for letter in text[: longest + 1]
        )
    return shorten(text, longest)


def shorten(text: str, longest: int = LONGEST) -> str:
    """Return ``text``, or its beginning and ``…`` where it has more than ``longest`` characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"

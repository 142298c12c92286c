"""Reads the commands out of Markdown documents: fenced blocks, and the HTML comments before them that direct the tests.

``<!-- not run: REASON -->`` skips the next console block; ``<!-- exit: N -->`` says how its last command ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = re.compile(
    r"(?:^<!-- (?P<name>not run|exit): (?P<value>[^\n]*?) -->\n+)?"
    r"^(?P<fence>`{3,})(?P<language>[a-z]*)[^\n]*\n(?P<text>.*?)^(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    line: int
    language: str
    text: str
    not_run: str | None
    exit_code: int

    @property
    def commands(self) -> list[str]:
        """What follows ``$ ``, joined where a backslash continues the line."""
        found: list[str] = []
        continued = False
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append(line[2:])
            elif continued:
                found[-1] += f"\n{line}"
            continued = (line.startswith("$ ") or continued) and line.endswith("\\")
        return found

    @property
    def outputs(self) -> list[str]:
        """What is shown as the output of each command; "" where nothing is."""
        shown: list[list[str]] = []
        continued = False
        for line in self.text.splitlines():
            if line.startswith("$ "):
                shown.append([])
            elif shown and not continued:
                shown[-1].append(line)
            continued = (line.startswith("$ ") or continued) and line.endswith("\\")
        return ["\n".join(lines) for lines in shown]


def blocks(path: Path) -> list[Block]:
    """Return all fenced blocks of a document, in order."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(
            text.count("\n", 0, found.start("fence")) + 1,
            found["language"],
            found["text"],
            found["value"] if found["name"] == "not run" else None,
            int(found["value"]) if found["name"] == "exit" else 0,
        )
        for found in _BLOCK.finditer(text)
    ]

"""The matrix as a page: Markdown for a pull request, HTML to look at. Other people's text is escaped."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.backports import toml
from haulout.backports.model import Cell, Matrix, State, StrPath
from haulout.errors import UsageError
from haulout.local import printable

if TYPE_CHECKING:
    from collections.abc import Iterator


_SQUARE: Final = {
    State.PRESENT: "🟩",
    State.REVERTED: "🟪",
    State.PARTLY: "🟨",
    State.APPLIES: "🟧",
    State.CONFLICTS: "🟥",
    State.NOT_AFFECTED: "⬜",
    State.UNKNOWN: "⬛",
}
_COLOUR: Final = {
    State.PRESENT: "#c8e6c9",
    State.REVERTED: "#e1bee7",
    State.PARTLY: "#fff9c4",
    State.APPLIES: "#ffe0b2",
    State.CONFLICTS: "#ffcdd2",
    State.NOT_AFFECTED: "#f5f5f5",
    State.UNKNOWN: "#cfd8dc",
}
_COMPLETE: Final = "Every supported branch has every fix."
_INCOMPLETE: Final = "A supported branch lacks a fix, or may lack it."
_STYLE: Final = """\
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #212121; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem; }
th, td { border: 1px solid #bdbdbd; padding: .35rem .6rem; text-align: left; vertical-align: top; }
thead th { position: sticky; top: 0; background: #eceff1; }
td ul { margin: 0; padding-left: 1.1rem; }
code { font-size: .92em; }
.must { font-weight: 600; }
"""


def check_report(path: StrPath) -> None:
    """Refuse a file name that is of neither kind of report.

    Raises:
        UsageError: it ends neither in ``.md`` nor in ``.html`` or ``.htm``.
    """
    if Path(path).suffix.lower() not in _KINDS:
        raise UsageError(f"unknown kind of report: {path}", hint="name it FILE.md or FILE.html")


def write_report(path: StrPath, matrix: Matrix) -> None:
    """Write a page to a file; its name says which kind.

    Raises:
        StorageError: it cannot be written.
    """
    toml.store(Path(path), _KINDS[Path(path).suffix.lower()](matrix))


def markdown(matrix: Matrix) -> str:
    """Return a page in GitHub's Markdown."""
    return "\n".join(_markdown(matrix)) + "\n"


def _markdown(matrix: Matrix) -> Iterator[str]:
    yield f"# Backports of {_md(matrix.library)}"
    yield ""
    yield _COMPLETE if matrix.complete else f"**{_INCOMPLETE}**"
    yield ""
    names = [_md(column.fix.name) for column in matrix.columns]
    yield f"| branch | for | {' | '.join(names)} |"
    yield f"|---|---|{'---|' * len(names)}"
    for cells in _rows(matrix):
        first = cells[0]
        name = _md(first.branch.shown)
        shown = " | ".join(f"{_SQUARE[cell.state]} {cell.state}" for cell in cells)
        yield f"| {f'**{name}**' if first.supported else name} | {_md(', '.join(first.consumers))} | {shown} |"
    for column in matrix.columns:
        yield ""
        yield f"## {_md(column.fix.name)}"
        yield ""
        yield _md(column.fix.title)
        yield ""
        for cell in column.cells:
            why = "; ".join(_md(one.text) for one in cell.evidence)
            yield f"* {_SQUARE[cell.state]} **{_md(cell.branch.shown)}**: {cell.state}: {why}"


def html(matrix: Matrix) -> str:
    """Return a page in HTML that needs nothing else: no script, no other file."""
    return "\n".join(_html(matrix)) + "\n"


def _html(matrix: Matrix) -> Iterator[str]:
    title = escape(f"Backports of {matrix.library}")
    classes = "\n".join(f".{_class(state)} {{ background: {colour}; }}" for state, colour in _COLOUR.items())
    yield "<!doctype html>"
    yield '<html lang="en">'
    yield f'<head><meta charset="utf-8"><title>{title}</title>'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<style>\n{_STYLE}{classes}\n</style></head>"
    yield f"<body><h1>{title}</h1>"
    yield (f"<p>{_COMPLETE}</p>" if matrix.complete else f'<p class="must">{_INCOMPLETE}</p>')
    heads = "".join(f"<th>{_text(column.fix.name)}</th>" for column in matrix.columns)
    yield f"<table><thead><tr><th>branch</th><th>for</th>{heads}</tr></thead><tbody>"
    for cells in _rows(matrix):
        first = cells[0]
        must = ' class="must"' if first.supported else ""
        states = "".join(f'<td class="{_class(cell.state)}">{cell.state}</td>' for cell in cells)
        yield f"<tr><th{must}>{_text(first.branch.shown)}</th><td>{_text(', '.join(first.consumers))}</td>{states}</tr>"
    yield "</tbody></table>"
    for column in matrix.columns:
        yield f"<h2>{_text(column.fix.name)}</h2><p>{_text(column.fix.title)}</p>"
        yield "<table><thead><tr><th>branch</th><th>state</th><th>because</th></tr></thead><tbody>"
        for cell in column.cells:
            why = "".join(f"<li>{_text(one.text)}</li>" for one in cell.evidence)
            yield (
                f'<tr><th>{_text(cell.branch.shown)}</th><td class="{_class(cell.state)}">{cell.state}</td>'
                f"<td><ul>{why}</ul></td></tr>"
            )
        yield "</tbody></table>"
    yield "</body></html>"


def _rows(matrix: Matrix) -> Iterator[tuple[Cell, ...]]:
    return zip(*(column.cells for column in matrix.columns), strict=True)


def _class(state: State) -> str:
    return state.value.replace(", ", "-").replace(" ", "-")


def _text(text: str) -> str:
    return escape(_printable(text))


def _printable(text: str) -> str:
    return printable(text, replacement="�", longest=len(text) + 1)


def _md(text: str) -> str:
    plain = _printable(text)
    for letter in "\\`*_[]<>|#&":
        plain = plain.replace(letter, f"\\{letter}")
    # No mention of a person comes out of a commit's subject.
    return plain.replace("@", "@\u200b")


_KINDS: Final = {".md": markdown, ".html": html, ".htm": html}

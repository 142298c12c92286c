"""The matrix as a page: every state has its colour, and nobody else's text becomes markup."""

from __future__ import annotations

from haulout.backports.model import Cell, Column, Commit, Evidence, Fix, Matrix, State
from haulout.backports.report import html, markdown
from haulout.backports.repository import Branch


def matrix(text: str) -> Matrix:
    """Return a matrix with every state, and ``text`` wherever other people's text may be."""
    commit = Commit("a" * 40, (), text, text, 0, 0, text)
    cells = tuple(
        Cell(Branch(f"b-{number}-{text}", "r", "a" * 40), state, (Evidence("content", text),), number % 2 == 0, (text,))
        for number, state in enumerate(State)
    )
    return Matrix(text, (Column(Fix(text, (commit,)), cells),))


def test_every_state_is_there_in_its_colour():
    page = html(matrix("x"))
    for state, name in (
        (State.PRESENT, "present"),
        (State.APPLIES, "missing-applies"),
        (State.CONFLICTS, "missing-conflicts"),
        (State.NOT_AFFECTED, "not-affected"),
        (State.REVERTED, "reverted"),
        (State.UNKNOWN, "unknown"),
    ):
        assert f'<td class="{name}">{state}</td>' in page
        assert f".{name} {{ background: #" in page
    text = markdown(matrix("x"))
    for square in "🟩🟪🟧🟥⬜⬛":
        assert square in text


def test_the_page_needs_nothing_else():
    page = html(matrix("x"))
    assert "<script" not in page
    assert "http" not in page
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")


def test_markup_of_others_is_text():
    evil = "<img src=x onerror=alert(1)> | `x` [a](http://b) @everyone\n# h"
    page, text = html(matrix(evil)), markdown(matrix(evil))
    assert "<img" not in page
    assert "&lt;img" in page
    assert "@everyone" not in text
    assert "\n# h" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert all(line.replace("\\|", "").count("|") == 4 for line in rows)

"""The one rule by which results become JSON."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

import pytest

from haulout.documents import Document, encode


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Word:
    letters: str
    json_members: ClassVar = str

    def __str__(self) -> str:
        return self.letters.upper()


@dataclass(frozen=True, slots=True)
class Cost:
    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Result(Document):
    word: Word
    path: Path
    colour: Colour
    cost: Cost
    parts: tuple[Cost, ...]
    missing: Word | None = None

    json_members: ClassVar = (
        "word",
        "loud",
        "where=path",
        "colour",
        "*cost",
        "parts",
        "missing",
        "first=parts",
        "none=missing.letters.size",
    )

    @property
    def loud(self) -> bool:
        return True


def test_members_come_in_their_order_and_under_their_names():
    result = Result(Word("ab"), Path("a/b"), Colour.RED, Cost(2, 0.12345), (Cost(1, 2.0),))
    assert list(result.to_dict().items()) == [
        ("word", "AB"),
        ("loud", True),
        ("where", "a/b"),
        ("colour", "red"),
        ("requests", 2),
        ("seconds", 0.123),
        ("parts", [{"requests": 1, "seconds": 2.0}]),
        ("missing", None),
        ("first", [{"requests": 1, "seconds": 2.0}]),
        ("none", None),
    ]


@pytest.mark.parametrize(
    ("value", "document"),
    [
        (b"\x00\xff", "00ff"),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({1: Path("x")}, {"1": "x"}),
        (Cost(1, 1.0), {"requests": 1, "seconds": 1.0}),
        (True, True),
    ],
)
def test_plain_values(value, document):
    assert encode(value) == document


def test_what_has_no_json_form_is_refused():
    with pytest.raises(TypeError, match="object has no JSON form"):
        encode(object())

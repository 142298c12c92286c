"""Which security version of a platform is too low, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

from haulout.documents import Document


@dataclass(frozen=True, slots=True)
class Shortfall(Document):
    """One version that is too low.

    Attributes:
        part: whose version it is, in the vendor's words.
        have: the version that the platform has.
        need: the lowest that is accepted.
        update: what to update.
    """

    part: str
    have: int
    need: int
    update: str

    def __str__(self) -> str:
        return f"{self.part}: has {self.have}, needs {self.need}: update {self.update}"

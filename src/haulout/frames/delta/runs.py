"""Runs: ascending numbers of blocks, written as how many are left out and how many are taken, in turn. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

from haulout.extras import np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.frames.arrays import Columns, Numbers


@dataclass(frozen=True)
class Runs:
    """Ascending numbers, several groups of them, as runs: ``skips`` numbers left out, then ``takes`` taken.

    That they are ascending and disjoint cannot be said wrongly in this form.
    """

    counts: Columns
    """Runs of each group."""
    skips: Columns
    takes: Columns

    @cached_property
    def edges(self) -> Numbers:
        """Where each group begins among the runs; one more: the end."""
        return sums(self.counts)

    @cached_property
    def totals(self) -> Numbers:
        """Numbers taken by each group."""
        return np.diff(sums(self.takes)[self.edges])

    @cached_property
    def total(self) -> int:
        """Numbers taken by all groups."""
        return int(self.takes.sum(dtype=np.uint64))

    @cached_property
    def end(self) -> int:
        """The number after the last one taken, where no group begins anew."""
        return int((self.skips.astype(np.uint64) + self.takes).sum(dtype=np.uint64))

    @cached_property
    def starts(self) -> Numbers:
        """The first number of each run, where no group begins anew."""
        takes = self.takes.astype(np.int64)
        starts: Numbers = np.cumsum(self.skips.astype(np.int64) + takes) - takes
        return starts

    def numbers(self, group: int, base: int = 0) -> Numbers:
        """Return the numbers of ``group``, which begins to count at ``base``."""
        part = slice(int(self.edges[group]), int(self.edges[group + 1]))
        takes = self.takes[part].astype(np.int64)
        starts = base + np.cumsum(self.skips[part].astype(np.int64) + takes) - takes
        return spread(starts, takes)

    @classmethod
    def of(cls, groups: Sequence[Numbers], *, restart: bool) -> Self:
        """Write ascending numbers as runs.

        Args:
            groups: ascending numbers; without ``restart``, also from one group to the next.
            restart: whether each group begins to count at 0.
        """
        counts, skips, takes = [0] * len(groups), [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        base = 0
        for number, group in enumerate(groups):
            if not len(group):
                continue
            cuts = np.flatnonzero(np.diff(group) != 1) + 1
            firsts, lasts = group[np.concatenate([[0], cuts])], group[np.concatenate([cuts - 1, [-1]])]
            skips.append(firsts - np.concatenate([[base], lasts[:-1] + 1]))
            takes.append(lasts + 1 - firsts)
            counts[number] = len(firsts)
            base = 0 if restart else int(group[-1]) + 1
        return cls(
            np.array(counts, np.uint32),
            np.concatenate(skips).astype(np.uint32),
            np.concatenate(takes).astype(np.uint32),
        )


def spread(starts: Numbers, lengths: Numbers) -> Numbers:
    """Return the numbers of runs that begin at ``starts``, one after another."""
    within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    numbers: Numbers = np.repeat(starts, lengths) + within
    return numbers


def sums(lengths: Columns) -> Numbers:
    """Return where each of consecutive items begins; one more: the end."""
    return np.concatenate([[0], np.cumsum(lengths.astype(np.int64))])

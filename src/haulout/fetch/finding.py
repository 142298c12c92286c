"""What local files and published deltas hold of a disk: values, and the protocol of those who find them.

Nothing here is trusted: whatever is found is hashed when it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from haulout.disk import BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from haulout.fetch.bandwidth import Bandwidth
    from haulout.frames import DeltaIndex, FrameFlags, Hashes, Numbers, Piece, SeedNumbers, Toc
    from haulout.oci import Descriptor, Digest, SizedDigest


@dataclass(frozen=True, slots=True)
class OfferedDelta:
    """A delta attached to a disk, as its manifest describes it."""

    manifest: Digest
    source: SizedDigest
    """The plain disk it starts from."""
    index: Descriptor
    hints: Descriptor | None
    """Of the reference blocks; None where it refers to none."""
    data: Descriptor

    @property
    def size(self) -> int:
        """Bytes to fetch for all of it, where the old disk is as it was published."""
        return self.index.size + self.data.size


@dataclass(frozen=True, eq=False, slots=True)
class LoadedDelta:
    """A delta whose index is here."""

    offer: OfferedDelta
    index: DeltaIndex


@dataclass(frozen=True, slots=True)
class DeltaPlan:
    """A delta to be used."""

    delta: LoadedDelta
    finding: BlockFinding
    """What it completes."""
    segments: tuple[int, ...]
    """Those that give blocks which are missing, and whose old blocks are here."""
    covered: frozenset[int]
    """Frames that can be rebuilt with what the segments give."""

    @property
    def size(self) -> int:
        """Bytes of the data blob to fetch."""
        segments = self.delta.index.segments
        return sum(segments[number].stop - segments[number].start for number in self.segments)

    @property
    def plain_size(self) -> int:
        """Bytes that the segments decode to."""
        return sum(self.delta.index.segments[number].blocks for number in self.segments) * BLOCK

    @property
    def requests(self) -> int:
        """Requests for them: neighbouring segments are fetched together."""
        return 1 + sum(after != before + 1 for before, after in pairwise(self.segments))


class Finding(Protocol):
    """Where the blocks of some frames are in local files. Files have numbers, in the order of the seeds."""

    @property
    def complete(self) -> frozenset[int]:
        """Frames of which every block is here."""

    @property
    def lacking(self) -> Mapping[int, Numbers]:
        """Of other frames whose blocks are known: which of them are not here."""

    @property
    def taken(self) -> frozenset[int]:
        """Of the complete frames, those that were put into the partial file while they were looked for."""

    @property
    def cloned(self) -> int:
        """Bytes of the frames taken that share their storage with a file."""

    def pieces(self, frames: Sequence[int]) -> Sequence[list[Piece]]:
        """Return the pieces of each of some complete frames."""

    def shares(self, frames: Collection[int]) -> Sequence[int]:
        """Return the bytes each file gives to some frames, but for the blocks they lack."""

    def with_delta(self, delta: LoadedDelta) -> DeltaPlan | None:
        """Return what a delta would complete; None where that is nothing."""


class BlockFinding(Finding, Protocol):
    """Blocks found one by one, which a delta may complete.

    Blocks that are lacking have names, by which they are known again when a delta gives them; what a name is, is the
    finder's own business.
    """

    def blocks(self, frames: Sequence[int]) -> tuple[list[int], SeedNumbers, Numbers]:
        """Return how many blocks each of some frames has, and of all of them the file and the number there.

        Of blocks that are lacking, anything.
        """

    def names(self, frames: Sequence[int]) -> Hashes:
        """Return the names of the blocks that some frames lack, one after another."""

    def reference(self, delta: LoadedDelta) -> Callable[[int], Sequence[Piece]]:
        """Return what gives the pieces of a segment's reference."""

    def names_of(self, delta: LoadedDelta, segment: int, plain: bytes, /) -> Hashes:
        """Return the names of the new blocks that came of a segment."""


class Finder(Protocol):
    """Looks for frames in one way. Several are asked in turn, each for the frames the ones before know nothing of."""

    def find(self, frames: Sequence[int], /) -> Finding:
        """Look for ``frames``, ascending.

        Raises:
            StorageError: what was found could not be written.
            UnreachableError: the registry failed for good.
        """


@dataclass(frozen=True)
class WholeFrames:
    """Frames that lie in one piece in one file; a :class:`Finding` that lacks nothing."""

    whole: Mapping[int, Piece]
    """Where each is."""
    seeds: int
    """How many files there are."""
    taken: frozenset[int] = frozenset()
    cloned: int = 0

    @cached_property
    def complete(self) -> frozenset[int]:
        """All of them."""
        return frozenset(self.whole)

    @property
    def lacking(self) -> Mapping[int, Numbers]:
        """Nothing."""
        return {}

    def pieces(self, frames: Sequence[int]) -> list[list[Piece]]:
        """Return the one piece of each of some frames."""
        return [[self.whole[frame]] for frame in frames]

    def shares(self, frames: Collection[int]) -> list[int]:
        """Return the bytes each file gives to some frames."""
        given = [0] * self.seeds
        for frame in frames:
            given[self.whole[frame].seed] += self.whole[frame].length
        return given

    def with_delta(self, _delta: LoadedDelta) -> None:
        """Return None: nothing is lacking."""


@dataclass(frozen=True)
class Survey:
    """All that a plan follows from: what is here, what is offered, and how fast the registry answers."""

    toc: Toc
    """Of the disk."""
    right: FrameFlags
    """Frames that are in place."""
    findings: tuple[Finding, ...]
    """What the seeds hold of the others, by the finders in their order."""
    deltas: tuple[LoadedDelta, ...]
    """Published deltas that may be cheaper than what is missing."""
    crumbs: SizedDigest | None
    """The bundle of the disk's small frames."""
    seeds: tuple[Path, ...]
    bandwidth: Bandwidth
    connections: int
    """Requests at a time."""
    received: int
    """Bytes of indexes fetched to find all this out."""

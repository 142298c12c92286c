"""Whether a published delta is cheaper than ranges, which one, and which of its segments."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from haulout.errors import HauloutError
from haulout.fetch.deltas import load_hints, load_index, offered
from haulout.frames import BLOCK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.fetch.bandwidth import MeasuringReader
    from haulout.fetch.deltas import OfferedDelta
    from haulout.fetch.reuse import Reuse
    from haulout.fetch.seeds import Seed
    from haulout.frames import DeltaIndex, Hashes, Toc
    from haulout.oci import SizedDigest
    from haulout.progress import Progress
    from haulout.resolve import ResolvedDisk

_WORTH_ASKING: Final = 256 * 1024
"""Bytes to fetch from which on it pays to ask what deltas there are."""
_MOST_TRIED: Final = 3
"""Old disks whose deltas are tried where nothing says which the seeds hold, and deltas tried of one old disk."""
_BARGAIN: Final = 0.9
"""A delta that is not smaller by a tenth than what it replaces is not worth its requests."""


@dataclass(eq=False, slots=True)
class LoadedDelta:
    """A delta whose index is here, and, where they were needed, its hints."""

    offer: OfferedDelta
    index: DeltaIndex
    hints: Hashes | None = None


@dataclass(frozen=True, slots=True)
class DeltaPlan:
    """A delta to be used."""

    delta: LoadedDelta
    segments: tuple[int, ...]
    """Those that give blocks which are missing, and whose old blocks are here."""
    covered: frozenset[int]
    """Frames that can be rebuilt with what the segments give."""

    @property
    def offer(self) -> OfferedDelta:
        """How its manifest describes it."""
        return self.delta.offer

    @property
    def index(self) -> DeltaIndex:
        """What is in it."""
        return self.delta.index

    @property
    def size(self) -> int:
        """Bytes of the data blob to fetch."""
        return sum(self.index.segments[number].stop - self.index.segments[number].start for number in self.segments)

    @property
    def plain_size(self) -> int:
        """Bytes that the segments decode to."""
        return sum(self.index.segments[number].blocks for number in self.segments) * BLOCK

    @property
    def requests(self) -> int:
        """Requests for them: neighbouring segments are fetched together."""
        return 1 + sum(after != before + 1 for before, after in pairwise(self.segments))


class DeltaChoice:
    """The deltas that may help one pull.

    Args:
        blobs: reads from where the disk and its deltas are.
        found: the disk.
        toc: its table of contents.
        seeds: local files.
        progress: told where deltas cannot be read.
        enabled: whether they may be used at all.
    """

    def __init__(
        self,
        blobs: MeasuringReader,
        found: ResolvedDisk,
        toc: Toc,
        seeds: Sequence[Seed],
        progress: Progress,
        *,
        enabled: bool,
    ) -> None:
        self._blobs = blobs
        self._found = found
        self._toc = toc
        self._known = {seed.toc.disk for seed in seeds if seed.toc is not None}
        self._progress = progress
        self._enabled = enabled
        self.loaded: list[LoadedDelta] = []
        """Those whose indexes are here."""

    def load(self, frames: list[int]) -> None:
        """Ask for deltas that promise to be cheaper than ``frames``, and fetch their indexes."""
        size = self._toc.blob_bytes(frames)
        if self._enabled and size > _WORTH_ASKING:
            try:
                self._load(size)
            except HauloutError as error:
                self._progress.note(f"published deltas cannot be read ({error}): doing without")

    def load_hints(self, frames: list[int]) -> None:
        """Fetch the hints of those deltas that promise to be cheaper than ``frames``, hints included."""
        size = self._toc.blob_bytes(frames)
        for delta in self.loaded:
            hints = delta.offer.hints.size if delta.offer.hints is not None else 0
            if delta.offer.data.size + hints >= _BARGAIN * size:
                continue
            try:
                delta.hints = load_hints(self._blobs, delta.offer)
            except HauloutError as error:
                self._progress.note(f"the delta {delta.offer.manifest.short} is of no use: {error}")

    def reference_hints(self) -> Hashes:
        """Return the hints of the old blocks that the deltas need, as far as they are here."""
        hints = (delta.hints for delta in self.loaded if delta.hints is not None)
        return np.concatenate([np.empty(0, np.uint64), *hints])

    def sources(self) -> set[SizedDigest]:
        """Return the plain disks whose blocks the deltas need."""
        return {delta.offer.source for delta in self.loaded}

    def _load(self, size: int) -> None:
        offers = [
            each
            for each in offered(self._blobs.plain, self._found, self._toc, known=self._known)
            if each.size < _BARGAIN * size
        ]
        sources = list(dict.fromkeys(each.source for each in offers))
        known = [source for source in sources if source in self._known]
        for source in known or sources[:_MOST_TRIED]:
            self._load_smallest([each for each in offers if each.source == source])

    def _load_smallest(self, offers: list[OfferedDelta]) -> None:
        """Of several from the same disk, take the smallest that can be read: one may have been made again."""
        for offer in sorted(offers, key=lambda each: each.size)[:_MOST_TRIED]:
            try:
                self.loaded.append(LoadedDelta(offer, load_index(self._blobs, offer, self._toc)))
            except HauloutError as error:
                self._progress.note(f"the delta {offer.manifest.short} is of no use: {error}")
            else:
                return

    def plan(self, reuse: Reuse) -> list[DeltaPlan]:
        """Return what each delta would do for what ``reuse`` lacks; none that does nothing."""
        plans = [DeltaPlan(delta, *reuse.found.served(delta)) for delta in self.loaded] if reuse.missing else []
        return [plan for plan in plans if plan.covered]

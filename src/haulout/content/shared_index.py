"""Changing the index behind a tag, or a list of referrers, so that no publisher loses another's entries.

A layout has a lock. A registry has neither locks nor conditional writes, so publishers help one another. Where it
deletes, each first *announces* its entries, then reads, merges and writes the index, and then looks at what the others
have announced. It has finished when its index holds all of that: whoever wrote last has looked afterwards, every
announcement that was there by then is in what it wrote, and every later one has an owner who reads the index again. An
announcement is removed only when no other publisher is under way; else it is marked as done, and whoever finds nobody
under way any more removes all of them.

Where a registry does not delete, announcements would stay for ever. There a publisher looks again shortly after its
write, and merges again where its entries are gone. docs/adr/0038 says what that cannot do.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.content.announcements import ANNOUNCEMENT_LIFE_MS, UNSEEN, Announcement, Announcements, Place
from haulout.errors import ConflictError, HauloutError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from haulout.content.ports import StoredManifest
    from haulout.oci import Descriptor, Digest, Index

_ROUNDS: Final = 40
_LOOKS: Final = 2
"""Times the entries must be seen after writing before they count as there."""
_LEAST_WAIT: Final = 0.1
_MOST_WAIT: Final = 0.4
"""Seconds before each look."""


@dataclass(frozen=True, slots=True)
class TaggedIndex:
    """The index that a tag held when it was read or written."""

    digest: Digest
    index: Index


@dataclass(slots=True)
class _Turn:
    """What one publisher knows of itself and the others."""

    mine: Announcement
    others: Sequence[Announcement] = ()


class _Unseen(Exception):  # noqa: N818 - steers, never leaves this module
    """Other publishers cannot be seen."""


class SharedIndex:
    """An index that several publishers change.

    Args:
        place: where.
        tag: what it is under.
        parse: reads what the tag holds; None where that counts as nothing. What it raises ends the change.
        merge: returns the index with entries in it: the very same where they are there already, and the later of two
            that exclude one another.
        note: receives a line where publishers cannot see one another, or cannot clean up.
        look_again: whether the index is read after it was written, which sees what tools that announce nothing did.
    """

    def __init__(
        self,
        place: Place,
        tag: str,
        *,
        parse: Callable[[StoredManifest], Index | None],
        merge: Callable[[Index | None, Sequence[Descriptor]], Index],
        note: Callable[[str], None],
        look_again: bool = False,
    ) -> None:
        self._place = place
        self._tag = tag
        self._parse = parse
        self._merge = merge
        self._note = note
        self._look_again = look_again

    def holds(self, entries: Sequence[Descriptor]) -> bool:
        """Return whether the index has all entries now; raises as :meth:`add`."""
        now = self._read()
        return now is not None and self._merge(now.index, entries) == now.index

    def add(self, entries: Sequence[Descriptor]) -> Digest:
        """Add entries, whose manifests are there already; return the digest of an index that holds them.

        Raises:
            ConflictError: other publishers kept changing the index.
            HauloutError: as reading and writing manifests does.
        """
        if self._place.can_delete():
            try:
                return self._announced(entries)
            except _Unseen as exc:
                self._note(f"other publishers of {self._tag} cannot be seen ({exc}); push one at a time")
        return self._settled(entries)

    def write(self, entries: Sequence[Descriptor]) -> TaggedIndex:
        """Read, merge, and write if that changes anything: enough for who is alone."""
        now = self._read()
        merged = self._merge(None if now is None else now.index, entries)
        if now is not None and merged == now.index:
            return now
        stored = self._place.push_manifest(merged.to_bytes(), merged.media_type, self._tag)
        return TaggedIndex(stored.digest, merged)

    def _read(self) -> TaggedIndex | None:
        try:
            stored = self._place.manifest(self._tag)
        except NotFoundError:
            return None
        index = self._parse(stored)
        return None if index is None else TaggedIndex(stored.descriptor.digest, index)

    # Where announcements can be removed

    def _announced(self, ours: Sequence[Descriptor]) -> Digest:
        known = Announcements(self._place, self._tag)
        try:
            turn = _Turn(known.announce(ours))
        except UNSEEN as exc:
            raise _Unseen(exc) from exc
        try:
            digest = self._rounds(known, turn)
        except BaseException:
            self._cleanly(lambda: known.delete([turn.mine]))
            raise
        self._cleanly(lambda: self._leave(known, turn))
        return digest

    def _rounds(self, known: Announcements, turn: _Turn) -> Digest:
        wanted = turn.mine.entries
        for attempt in range(_ROUNDS):
            if turn.mine.age > ANNOUNCEMENT_LIFE_MS // 2:
                # This process slept: others may have taken its announcement for a leftover.
                old, turn.mine = turn.mine, known.announce(turn.mine.entries)
                known.delete([old])
            now = self.write(wanted)
            turn.others = self._others(known, turn.mine)
            everything = sorted([*turn.others, turn.mine], key=lambda made: made.order)
            wanted = tuple(entry for made in everything for entry in made.entries)
            seen = self._read() if self._look_again else now
            if seen is not None and self._merge(seen.index, wanted) == seen.index:
                return seen.digest
            _pause(min(0.05 * 2**attempt, 2.0))
        raise self._conflict()

    def _others(self, known: Announcements, mine: Announcement) -> list[Announcement]:
        try:
            return [made for made in known.look() if made != mine]
        except UNSEEN as exc:
            raise _Unseen(exc) from exc

    def _leave(self, known: Announcements, turn: _Turn) -> None:
        mine, others = turn.mine, turn.others
        if any(not made.done for made in others):
            # Removed only when nobody is under way: one who has read the index before our write may still take our
            # entries out of it, and then has to see what to put back.
            done = known.announce(mine.entries, done=True)
            known.delete([mine])
            mine, others = done, self._others(known, done)
        if all(made.done for made in others):
            known.delete([mine, *others])
        known.sweep()

    def _cleanly(self, clean: Callable[[], None]) -> None:
        # What was published is published: a helper tag that stays is not worth failing.
        try:
            clean()
        except HauloutError as exc:
            self._note(f"a helper tag of {self._tag} may be left ({exc}); the next push removes it")

    # Where they would stay

    def _settled(self, ours: Sequence[Descriptor]) -> Digest:
        for _ in range(_ROUNDS):
            began = time.monotonic()
            now = self.write(ours)
            wait = min(max(2 * (time.monotonic() - began), _LEAST_WAIT), _MOST_WAIT)
            for _ in range(_LOOKS):
                _pause(wait, wait / 2)
                seen = self._read()
                if seen is None or self._merge(seen.index, ours) != seen.index:
                    break
                now = seen
            else:
                return now.digest
        raise self._conflict()

    def _conflict(self) -> ConflictError:
        return ConflictError(
            f"other publishers kept changing the tag {self._tag}",
            hint="push again when they are done; nothing is uploaded twice",
        )


def _pause(most: float, least: float = 0.0) -> None:
    time.sleep(random.uniform(least, most))  # noqa: S311 - keeps publishers apart, keeps no secret

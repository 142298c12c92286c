"""Frame reuse: frames of a base go into the new blob as they are, which is cheaper than compressing them again.

What a base says proves nothing. A frame is reused only where it decodes to exactly the bytes at hand.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Protocol

from haulout.frames.codec import FrameDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_WRONG: Final = 8
"""Frames that may differ from what the base promises before no more are asked for."""


class FrameSource(Protocol):
    """Where the compressed frames of a base come from; safe to use from several threads."""

    def expect(self, number: int) -> Callable[[], bytes | None]:
        """Announce that data frame ``number`` will be wanted, in the order of the new disk.

        Returns:
            What yields it as stored, unchecked; or None where it cannot be had, or compressing is quicker.
        """

    def compressed(self, size: int, seconds: float) -> None:
        """Learn that compressing ``size`` plain bytes took ``seconds`` of one thread."""


class FrameReuse:
    """Reuses frames, and counts them."""

    def __init__(self, source: FrameSource, note: Callable[[str], None]) -> None:
        self.source = source
        self.frames = 0
        """Frames reused."""
        self.bytes = 0
        """Their bytes in the blob."""
        self._note = note
        self._decoder = FrameDecoder()
        self._lock = threading.Lock()
        self._wrong = 0

    def take(self, coming: Callable[[], bytes | None], plain: bytes | memoryview) -> bytes | None:
        """Return the frame that ``source`` was asked to expect, if it holds exactly ``plain``."""
        frame = coming() if self._wrong < _MOST_WRONG else None
        if frame is None:
            return None
        is_right = self._decoder.holds(frame, plain)
        with self._lock:
            if is_right:
                self.frames += 1
                self.bytes += len(frame)
                return frame
            self._wrong += 1
            if self._wrong == _MOST_WRONG:
                self._note("the base does not match its table of contents; no more of its frames are reused")
        return None

"""Measuring how fast a registry answers while reading from it what has to be read anyway."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from haulout.content import BlobStream, Store
    from haulout.oci import Descriptor

_ENOUGH: Final = 64 * 1024
"""Bytes from which on the time of a read says something of bandwidth."""
_LEAST_GAP: Final = 4 * 1024
_MOST_GAP: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """How fast a registry answers and sends, as measured; cautious guesses until then."""

    round_trip: float = 0.02
    """Seconds from a request to its answer."""
    bytes_per_second: float = 12.5e6
    """Of one connection."""

    def gap(self, connections: int) -> int:
        """Return the unneeded bytes that are read in the time another request would cost."""
        cost = self.round_trip * self.bytes_per_second / max(connections, 1)
        return int(min(max(cost, _LEAST_GAP), _MOST_GAP))

    def cost(self, size: int, requests: int, connections: int) -> int:
        """Weigh an alternative: its bytes, and the bytes that its requests could have moved instead."""
        return size + requests * self.gap(connections)


class MeasuringReader:
    """Reads blobs, on any thread, and keeps the shortest wait for an answer and the highest rate seen."""

    def __init__(self, store: Store) -> None:
        self.plain = store
        """The place itself, unmeasured, for any number of threads."""
        self._lock = threading.Lock()
        self._round_trip: float | None = None
        self._rate: float | None = None
        self.received = 0
        """Bytes of all blobs read so far."""

    def open_blob(self, blob: Descriptor, start: int = 0, stop: int | None = None) -> BlobStream:
        """Open bytes ``[start, stop)`` of a blob, as ``content.ports.BlobReader``."""
        begun = time.monotonic()
        stream = self.plain.open_blob(blob, start, stop)
        waited = time.monotonic() - begun
        with self._lock:
            self._round_trip = waited if self._round_trip is None else min(waited, self._round_trip)
        return _MeasuredStream(stream, self)

    def distrust(self, blob: Descriptor) -> bool:
        """Take note that what came of ``blob`` was damaged, as ``content.ports.Distrusting``."""
        return self.plain.distrust(blob)

    def bandwidth(self) -> Bandwidth:
        """Return what was measured so far."""
        unknown = Bandwidth()
        return Bandwidth(
            unknown.round_trip if self._round_trip is None else self._round_trip,
            unknown.bytes_per_second if self._rate is None else self._rate,
        )

    def count(self, amount: int, seconds: float) -> None:
        """Take note of one read."""
        with self._lock:
            self.received += amount
            if amount >= _ENOUGH and seconds > 0:
                self._rate = max(self._rate or 0.0, amount / seconds)


class _MeasuredStream:
    def __init__(self, stream: BlobStream, reader: MeasuringReader) -> None:
        self._stream = stream
        self._reader = reader
        self.start = stream.start
        self.stop = stream.stop

    def read(self, amount: int) -> bytes:
        begun = time.monotonic()
        data = self._stream.read(amount)
        self._reader.count(len(data), time.monotonic() - begun)
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stream.__exit__(*exc)

"""Measuring the way to a registry while reading from it what has to be read anyway."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Self

from haulout.frames import Link

if TYPE_CHECKING:
    from haulout.content import BlobStream, Store
    from haulout.oci import Descriptor

_ENOUGH: Final = 64 * 1024
"""Bytes from which on the time of a read says something of bandwidth."""


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

    def link(self) -> Link:
        """Return what is known of the way, with cautious guesses for what is not."""
        unknown = Link()
        return Link(
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

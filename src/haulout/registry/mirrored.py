"""A blob read from a mirror for as long as the mirror lasts, then from the next place, where the mirror stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from haulout.errors import HauloutError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.content import BlobStream

_SKIP: Final = 256 * 1024


class MirroredStream:
    """Bytes of one blob from a place that may fail; satisfies ``content.ports.BlobStream``.

    Args:
        stream: from the mirror.
        elsewhere: given the error, and the offset of the next byte, opens the blob from there at another place.
    """

    def __init__(self, stream: BlobStream, elsewhere: Callable[[HauloutError, int], BlobStream]) -> None:
        self._stream = stream
        self._elsewhere = elsewhere
        self._position = self.start = stream.start
        self.stop = stream.stop

    def read(self, amount: int) -> bytes:
        """Return exactly ``amount`` bytes, fewer only at ``stop``, none after it.

        Raises:
            HauloutError: no other place has it.
        """
        try:
            data = self._stream.read(min(amount, self.stop - self._position))
        except (UsageError, StorageError):
            raise
        except HauloutError as error:
            self._stream.__exit__(None, None, None)
            # What comes is a stream of this kind, too, unless it is of the registry itself.
            self._stream = self._elsewhere(error, self._position)
            self._skip(self._position - self._stream.start)
            return self.read(amount)
        self._position += len(data)
        return data

    def _skip(self, amount: int) -> None:
        while amount > 0 and (skipped := len(self._stream.read(min(_SKIP, amount)))):
            amount -= skipped

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stream.__exit__(*exc)

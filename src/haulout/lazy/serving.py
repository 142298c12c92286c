"""One partial base image, served: what is missing is fetched when it is read, the rest once the machine has booted."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from haulout.errors import ContentError, HauloutError, NotFoundError
from haulout.fetch import look_at_partial
from haulout.frames import Toc
from haulout.lazy.beginning import beside, blob_of, connections_of
from haulout.lazy.fetching import Fetcher
from haulout.lazy.filling import Filler
from haulout.lazy.image import PartialImage
from haulout.lazy.trace import Trace
from haulout.local import printable, replace_file
from haulout.machine import note_of_partial, partial_base
from haulout.oci import Digest, parse_reference
from haulout.places import Places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from haulout.content import BlobStream
    from haulout.machine import PartialBase
    from haulout.oci import Descriptor, Reference
    from haulout.progress import Progress

_TOUCH_SECONDS: Final = 3600.0
_QUIET_SECONDS: Final = 5.0
"""Without a read that waits, after which the rest is fetched of a machine that has booted: its services still start."""
_LONGEST_QUIET: Final = 60.0
_TOLD_SECONDS: Final = 3.0
"""That a read waits before it is told."""


class Serving:
    """What the server serves.

    Args:
        base: the file it becomes.
        image: what is here.
        fetcher: brings what is not.
        filler: brings the rest.
        waits: file that says what reads wait for, while they do.
    """

    def __init__(self, base: Path, image: PartialImage, fetcher: Fetcher, filler: Filler, waits: Path) -> None:
        self.size = image.size
        self.fd = image.fd
        self._fetcher = fetcher
        self._filler = filler
        self._note = note_of_partial(base)
        self._touched = -_TOUCH_SECONDS
        self._settled: float | None = None
        self._quiet = 0.0
        self._waits = waits
        self._told = ""
        waits.unlink(missing_ok=True)

    @classmethod
    @contextmanager
    def open(cls, base: Path, waits: Path, progress: Progress) -> Iterator[Self]:
        """Open a base that was begun; nothing is asked of its registry until something is missing.

        Args:
            base: the file it becomes.
            waits: as of the class.
            progress: receives notes.

        Raises:
            NotFoundError: nothing was begun.
            HauloutError: its files are damaged, or the file system refuses.
        """
        known = partial_base(base)
        if known is None:
            raise NotFoundError(f"nothing was begun of {base}")
        toc = _toc(base, known)
        blob, reference = blob_of(known), parse_reference(known.reference)
        connections = connections_of(known)
        with ExitStack() as stack:
            with look_at_partial(base, blob.digest) as partial:
                # Not locked: an ordinary pull may complete it at any time, also now.
                fd = os.open(partial.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            # Never closed: threads write to it until the process ends.
            places = stack.enter_context(Places(connections, progress))
            image = PartialImage(fd, toc)
            fetcher = Fetcher(image, _Blobs(places, reference), blob, progress.note)
            filler = Filler(base, reference, connections, image, fetcher, progress)
            expected = (_expected(base, toc, progress),)
            threading.Thread(target=fetcher.prefetch, args=expected, name="expect", daemon=True).start()
            yield cls(base, image, fetcher, filler, waits)
            waits.unlink(missing_ok=True)

    def require(self, offset: int, length: int, done: Callable[[bool], None]) -> bool:
        """As :meth:`Fetcher.require`."""
        return self._fetcher.require(offset, length, done)

    def tick(self, *, settled: bool) -> None:
        """Fetch the rest once a machine has booted, take note that the base is in use, and tell what reads wait for."""
        if (now := time.monotonic()) >= self._touched + _TOUCH_SECONDS:
            self._touched = now
            with suppress(OSError):
                os.utime(self._note)
        seconds, cause = self._fetcher.waits
        if seconds or self._settled is None:
            self._quiet = now
        if settled:
            self._settled = self._settled or now
            if now >= min(self._quiet + _QUIET_SECONDS, self._settled + _LONGEST_QUIET):
                self._filler.begin()
        self._tell((cause or "it is slow") if seconds > _TOLD_SECONDS else "")

    def _tell(self, what: str) -> None:
        if what == self._told:
            return
        with suppress(OSError, HauloutError):
            if what:
                replace_file(self._waits, printable(what).encode("utf-8", "replace"), durable=False, mode=0o600)
            else:
                self._waits.unlink(missing_ok=True)
            self._told = what


class _Blobs:
    """Where a disk is. It is opened when something is missing: what is here is served without it."""

    def __init__(self, places: Places, reference: Reference) -> None:
        self._places = places
        self._reference = reference
        self._opening = threading.Lock()

    def open_blob(self, blob: Descriptor, start: int = 0, stop: int | None = None) -> BlobStream:
        with self._opening:
            store = self._places.open(self._reference)
        return store.open_blob(blob, start, stop)


def _toc(base: Path, known: PartialBase) -> Toc:
    path = beside(base, "toc")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}") from error
    if str(Digest.of(data)) != known.toc:
        raise ContentError(f"{path} is damaged", hint="remove it, and make the machine anew")
    return Toc.decode(data)


def _expected(base: Path, toc: Toc, progress: Progress) -> Iterator[int]:
    """Yield the frames that a boot will read, as far as that is known."""
    try:
        trace = Trace.decode(beside(base, "trace").read_bytes())
    except FileNotFoundError:
        return
    except (HauloutError, OSError) as error:
        progress.note(f"cannot use the boot trace: {error}")
        return
    if trace.disk == toc.disk:
        yield from trace.frames(toc)

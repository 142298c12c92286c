"""Fetching the rest of a disk once its machine has booted: an ordinary pull, which gives way to reads that wait.

So what is at hand locally is reused, and the result is verified, remembered and renamed as any other one.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from haulout.errors import ContentError, HauloutError, UnsafeDiskError
from haulout.fetch import PullOptions, pull_disk
from haulout.lazy.beginning import beside, resolve_disk
from haulout.local import storage_errors
from haulout.machine import check_base
from haulout.places import Places

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.lazy.fetching import Fetcher
    from haulout.lazy.image import PartialImage
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions

_CONNECTIONS: Final = 2
_LONGEST_YIELD: Final = 5.0
"""Seconds that it stands still at once, so that no server hangs up."""
_AGAIN_SECONDS: Final = 30.0


def complete(
    base: Path, reference: Reference, connections: ConnectionOptions, progress: Progress, *, jobs: int = _CONNECTIONS
) -> None:
    """Fetch what is missing of a base image; it appears whole and verified, in one step.

    Args:
        base: the file it becomes.
        reference: the disk, by digest.
        connections: how registries are reached.
        progress: receives the work.
        jobs: parallel connections.

    Raises:
        HauloutError: as a pull does; what came is kept.
    """
    with Places(connections, progress) as places:
        found = resolve_disk(places, reference)
        pull_disk(places.open(reference), found, base, PullOptions(check_disk=True, jobs=jobs), progress)
    with storage_errors(base):
        base.chmod(0o400)
    check_base(base, str(found.pinned))
    for each in (beside(base, "toc"), beside(base, "trace")):
        each.unlink(missing_ok=True)


class Filler:
    """Fetches the rest in the background, again and again until it is here.

    Args:
        base: the file it becomes.
        reference: the disk, by digest.
        connections: how registries are reached.
        image: what is served, which is told when all of it is right.
        fetcher: whose reads come first.
        progress: receives notes.
    """

    def __init__(
        self,
        base: Path,
        reference: Reference,
        connections: ConnectionOptions,
        image: PartialImage,
        fetcher: Fetcher,
        progress: Progress,
    ) -> None:
        self._base = base
        self._reference = reference
        self._connections = replace(connections, on_bytes=self._give_way)
        self._image = image
        self._fetcher = fetcher
        self._progress = progress
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Begin, if it has not begun; the thread ends with the process."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._fill, name="fill", daemon=True)
            self._thread.start()

    def _give_way(self, _amount: int) -> None:
        deadline = time.monotonic() + _LONGEST_YIELD
        while self._fetcher.is_wanted and time.monotonic() < deadline:
            time.sleep(0.005)

    def _fill(self) -> None:
        said = ""
        while True:
            try:
                complete(self._base, self._reference, self._connections, self._progress)
                break
            except (ContentError, UnsafeDiskError) as error:
                # What came is discarded: to try again is to fetch all of it again.
                self._progress.note(
                    f"cannot fetch the rest: {error}; not trying again until the machine is started anew"
                )
                return
            except (HauloutError, OSError) as error:
                if str(error) != said:
                    said = str(error)
                    self._progress.note(f"cannot fetch the rest: {said}; trying again")
                time.sleep(_AGAIN_SECONDS)
        if os.path.samestat(self._base.stat(), os.fstat(self._image.fd)):
            self._image.mark_whole()
        self._progress.note("the disk is whole")

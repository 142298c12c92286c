"""Base images of machines that are fetched while the machines run: begin one, and complete one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

from haulout.errors import ConflictError, StorageError
from haulout.machine import Image, is_written, partial_base

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from haulout.machine import Machine, Place
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions

_CONNECTIONS: Final = 4
_POLL: Final = 0.2

_T = TypeVar("_T")


def begin_base(
    images: Path, reference: Reference, connections: ConnectionOptions | None, progress: Progress
) -> Image | None:
    """Have as much of a base image as a lazy start needs; None where the disk can only be fetched as a whole.

    Raises:
        HauloutError: as :func:`haulout.lazy.begin`.
    """
    from haulout import lazy  # noqa: PLC0415 - loads what speaks HTTP
    from haulout.places import Places  # noqa: PLC0415

    with Places(connections, progress) as places:
        found = lazy.resolve_disk(places, reference)
        base = images / str(found.digest).replace(":", "-")

        def begin() -> lazy.Begun | None:
            is_whole = found.container_disk or base.exists()
            return None if is_whole else lazy.begin(places, found, base, connections, progress)

        begun = patiently(base, progress, begin)
    if begun is None and base.exists():
        return None
    if begun is None:
        progress.note(f"{reference} can only be fetched as a whole: it has no table of contents")
        return None
    return Image(str(reference), begun.pinned, begun.format)


def complete_base(place: Place, machine: Machine, progress: Progress) -> None:
    """Fetch what is missing of a machine's base image, if anything is.

    Raises:
        HauloutError: as a pull does; what came is kept.
    """
    base = place.base(machine)
    known = partial_base(base)
    if known is None:
        return
    from haulout import lazy  # noqa: PLC0415 - loads what speaks HTTP
    from haulout.oci import parse_reference  # noqa: PLC0415

    progress.note(f"{machine.name}: fetching the rest of its disk; start --lazy does not wait for it")
    where = parse_reference(known.reference), lazy.connections_of(known)
    patiently(base, progress, lambda: lazy.complete(base, *where, progress, jobs=_CONNECTIONS))


def patiently(base: Path, progress: Progress, fetch: Callable[[], _T]) -> _T:
    """Fetch a base image; while another process does so, wait for it, and then take what it fetched.

    Raises:
        HauloutError: as ``fetch`` does.
    """
    told = False
    while True:
        try:
            return fetch()
        except StorageError as error:
            if "--output" not in (error.hint or ""):
                raise
            raise StorageError(error.path, error.reason, hint="make room, or set XDG_DATA_HOME") from error
        except ConflictError:
            if told and not is_written(base):
                raise
            if not told:
                progress.note("another process is fetching this disk; waiting for it")
            told = True
            # Without a name it is not shown: it is there to be cancelled.
            with progress.task("", None) as task:
                task.advance(0)
                while is_written(base):
                    time.sleep(_POLL)
                    task.advance(0)

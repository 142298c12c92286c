"""Base images of machines that are fetched while the machines run: begin one, and complete one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.machine import Image, partial_base

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.machine import Machine, Place
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions

_CONNECTIONS: Final = 4


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
        if base.exists():
            return None
        begun = None if found.container_disk else lazy.begin(places, found, base, connections, progress)
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
    connections = lazy.connections_of(known)
    lazy.complete(base, parse_reference(known.reference), connections, progress, jobs=_CONNECTIONS)

"""Have another system of a machine beside the one that runs: what that takes, and doing it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from haulout.disk import DiskFormat, create_overlay
from haulout.local import storage_errors
from haulout.machine import (
    DiskKind,
    Image,
    Step,
    allocated,
    begin_journal,
    containers,
    parts,
    prune,
    read_journal,
    remove_unused_bases,
    take_over,
    write_journal,
)
from haulout.usecases.arguments import reference_of
from haulout.usecases.machine_init import fetch_image, kept_images

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.fetch import PullResult
    from haulout.machine import Journal, Machine, Machines, Place
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions

_SPARE: Final = 256 << 20
"""Bytes that stay free: for what the new system changes of itself while it proves itself."""


@dataclass(frozen=True, slots=True)
class StagingPlan:
    """What an update takes."""

    fetched: int
    """Bytes of blobs to fetch."""
    needed: int
    """Bytes that have to be free."""
    stops: tuple[str, ...]
    """Containers that would be stopped for a while."""


def plan_staging(
    machines: Machines,
    machine: Machine,
    found: str,
    connections: ConnectionOptions | None,
    progress: Progress,
) -> StagingPlan:
    """Find out what an update moves, needs and stops."""
    from haulout.usecases.pull import pull  # noqa: PLC0415 - loads what speaks HTTP

    place = machines.place(machine.name)
    target = machines.data / "images" / found.rpartition("@")[2].replace(":", "-")
    # What was written since the last update goes into the data disk.
    fetched, needed = 0, _SPARE + sum(map(allocated, parts(place)))
    if _staged(place, machine, found) is None:
        result = pull(
            found, output=target, seeds=_seeds(place, machine), dry_run=True, connections=connections, progress=progress
        )
        size = result.disk.size if result.disk is not None else result.blob.size
        fetched = result.moved.fetched
        needed += 0 if target.exists() else max(0, size - result.moved.zero)
    names: list[str] = []
    if place.is_held("run.lock"):
        for each in machine.sockets:
            with suppress(OSError):
                names += [one.name or one.id for one in asyncio.run(containers(place.socket(each.name)))]
    return StagingPlan(fetched, needed, tuple(names))


def stage_system(
    machines: Machines,
    place: Place,
    reference: Reference,
    found: str,
    connections: ConnectionOptions | None,
    progress: Progress,
) -> tuple[Journal, PullResult | None]:
    """Have the new system beside the one that runs."""
    take_over(place)
    machine = place.load()
    if (staged := _staged(place, machine, found)) is not None:
        return write_journal(place, replace(staged, new=replace(staged.new, reference=str(reference)))), None
    coming = Image(str(reference), found, DiskKind.RAW)
    journal = write_journal(place, begin_journal(read_journal(place), machine.image, coming))
    with kept_images(machines) as images:
        image, result = fetch_image(images, reference_of(found), connections, progress, _seeds(place, machine))
        image = replace(image, reference=str(reference))
        system = place.system(image)
        with storage_errors(system, doing="cannot be written"):
            place.variables(image).unlink(missing_ok=True)
        create_overlay(images / image.digest.replace(":", "-"), DiskFormat(image.format.value), system)
    # Another command may have noted meanwhile that the data of before is not kept any more.
    journal = read_journal(place) or journal
    journal = write_journal(place, replace(journal, new=image).turned(Step.STAGED))
    # What was staged before and never tried goes.
    back = journal.way_back
    prune(place, machine.image, image, *([] if back is None else [back[0]]))
    remove_unused_bases(machines)
    return journal, result


def _staged(place: Place, machine: Machine, found: str) -> Journal | None:
    """Return the journal of an update to a disk that is here already."""
    journal = read_journal(place)
    if journal is None or journal.step is not Step.STAGED or journal.new.digest != found.rpartition("@")[2]:
        return None
    there = place.base(replace(machine, image=journal.new)).exists() and place.system(journal.new).exists()
    return journal if there else None


def _seeds(place: Place, machine: Machine) -> list[Path]:
    base = place.base(machine)
    return [base] if base.exists() else []

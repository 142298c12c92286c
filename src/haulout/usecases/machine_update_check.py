"""Find out whether there is something newer for a machine, how urgent it is, and what its policy does about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from haulout.documents import Document
from haulout.errors import InvalidFile, NotFoundError
from haulout.machine import Machines, Offer, Step, decide, read_fixes, read_journal, update_timer, use_of
from haulout.progress import NullProgress
from haulout.usecases.arguments import reference_of
from haulout.usecases.machine_init import pinned

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.machine import Decision, FixSource, Machine, Place, Severity
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions


@dataclass(frozen=True, slots=True)
class UpdateCheck(Document):
    """What there is for a machine."""

    json_members = (
        *("name", "status", "image", "candidate", "reason", "severity", "fixes", "to_fetch", "policy", "window"),
        *("decision",),
    )

    name: str
    status: Literal["current", "available", "staged", "undone"]
    """``undone``: it is known to be bad on this machine."""
    image: str
    """What the machine runs, by digest."""
    candidate: str
    """What its reference leads to, by digest."""
    reason: str | None
    """Why it was undone."""
    severity: Severity | None
    """The worst of what it fixes; None: nobody says."""
    fixes: tuple[str, ...]
    """Names of what it fixes, as far as somebody says."""
    to_fetch: int | None
    """Bytes to fetch for it; None where that was not asked, or there is nothing to fetch."""
    policy: str
    window: str
    decision: Decision
    """What ``machine auto`` does about it."""


def machine_update_check(
    name: str,
    *,
    to: str | Reference | None = None,
    fixes: FixSource | None = None,
    measure: bool = True,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> UpdateCheck:
    """Find out what there is for a machine; nothing is changed.

    Args:
        name: of the machine.
        to: another reference than the machine's own.
        fixes: knows what updates fix; None: the file that runs of ``machine auto`` read, if there is one.
        measure: whether to find out how many bytes would be fetched.
        connections: how registries are reached.
        progress: receives the work.

    Raises:
        NotFoundError: there is no such machine, or nothing at its reference.
        InvalidFile: its journal is damaged.
        HauloutError: as :func:`haulout.resolve`.
    """
    progress = progress or NullProgress()
    place = Machines.here().place(name)
    machine = place.load()
    candidate, _ = pinned(reference_of(machine.image.reference if to is None else to), connections, progress)
    found = check_of(place, machine, candidate, fixes or enabled_fixes(progress))
    if to is None and found.status == "current":
        tell_of_digest(name, machine, progress)
    if not measure or found.status in {"current", "staged"}:
        return found
    from haulout.usecases.pull import pull  # noqa: PLC0415 - loads what a check alone does not need

    base = place.base(machine)
    target = place.images / candidate.rpartition("@")[2].replace(":", "-")
    seeds = [base] if base.exists() else []
    planned = pull(candidate, output=target, seeds=seeds, dry_run=True, connections=connections, progress=progress)
    return replace(found, to_fetch=planned.moved.fetched)


def enabled_fixes(progress: Progress) -> FixSource | None:
    """Return what runs of ``machine auto`` know of what updates fix."""
    path = update_timer().fixes
    return None if path is None else fixes_or_none(path, progress)


def fixes_or_none(path: Path, progress: Progress) -> FixSource | None:
    """Read what updates fix. A file that is wrong must not keep machines from their updates: nobody says, then."""
    try:
        return read_fixes(path)
    except (InvalidFile, NotFoundError) as error:
        progress.note(f"nothing is known of what updates fix: {error}")
        return None


def tell_of_digest(name: str, machine: Machine, progress: Progress) -> None:
    """Tell of a machine whose reference leads to one disk for ever."""
    if "@" in machine.image.reference:
        progress.note(f"the reference of {name} is a digest, which never leads to another version; name one: --to REF")


def check_of(
    place: Place, machine: Machine, candidate: str, fixes: FixSource | None, *, at_once: bool = False
) -> UpdateCheck:
    """Compare what a machine runs with what there is, and ask its policy.

    Args:
        place: of the machine.
        machine: its file.
        candidate: what there is, by digest.
        fixes: knows what updates fix.
        at_once: whether it is fetched without waiting for its turn.

    Raises:
        InvalidFile: its journal is damaged.
        StorageError: its journal cannot be read.
    """
    journal = read_journal(place)
    digest = candidate.rpartition("@")[2]
    fixed = fixes.fixed(machine.image.digest, digest) if fixes is not None else None
    offer = Offer(
        machine.image.digest,
        digest,
        fixed.severity if fixed is not None else None,
        journal is not None and journal.step is Step.STAGED and journal.new.digest == digest,
        journal.bad_reason(digest) if journal is not None else None,
    )
    running = place.is_held("run.lock") or place.is_held("vm.lock")
    now = datetime.now()  # noqa: DTZ005 - local, as windows are
    decision = decide(machine.update, machine.id, now, offer, use_of(place) if running else "", at_once=at_once)
    is_current = offer.current == offer.candidate
    status: Literal["current", "available", "staged", "undone"] = (
        "current" if is_current else "undone" if offer.bad else "staged" if offer.staged else "available"
    )
    return UpdateCheck(
        name=place.name,
        status=status,
        image=machine.image.pinned,
        candidate=candidate,
        reason=offer.bad,
        severity=offer.severity,
        fixes=fixed.names if fixed is not None else (),
        to_fetch=None,
        policy=machine.update.policy,
        window=machine.update.window,
        decision=decision,
    )

"""Take over a machine of podman's: its settings, and the volumes of both its users."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.documents import Document
from haulout.errors import ConflictError, NotFoundError, ToolError
from haulout.local import PIPE, home_of, last_line, read_small, replace_file, run, started, storage_errors, wrong_file
from haulout.machine import HINT, PODMAN_PROVIDERS, VOLUME, Machines, client, parse_podman
from haulout.progress import NullProgress
from haulout.usecases.machine_init import machine_init
from haulout.usecases.machine_lifecycle import machine_start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.machine import Place, PodmanMachine
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions

_SECONDS: Final = 120.0
_UNFINISHED: Final = "importing"
"""Names the volume that is being copied: half a volume must not pass for one when the copy was killed."""


@dataclass(frozen=True, slots=True)
class TakenMachine(Document):
    """A machine of podman's that was taken over."""

    name: str
    podman: str
    volumes: tuple[str, ...]
    """Those that were copied, as ``USER/VOLUME``."""
    present: tuple[str, ...]
    """Those that were there already."""


def machine_import_podman(
    podman: str,
    reference: str | Reference,
    name: str | None = None,
    *,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> TakenMachine:
    """Make a machine like one of podman's, which runs, start it, and copy the volumes of its users.

    Called again, it copies the volumes that are not there yet. The machine of podman's is left as it is.

    Args:
        podman: the name of podman's machine.
        reference: the disk of the new one's system.
        name: of the new one; None: the same.
        connections: how registries are reached.
        progress: told what is done.

    Raises:
        NotFoundError: there is no such machine.
        InvalidFile: its file is damaged, or of podman 4.
        ConflictError: it does not run.
        HauloutError: as :func:`machine_init` and :func:`machine_start`.
    """
    progress = progress or NullProgress()
    found = _read(podman)
    place = Machines.here().place(name or podman)
    _require_running(found)
    if not place.exists():
        mounts = [mount for mount in found.mounts if Path(mount.source).is_dir()]
        for gone in set(found.mounts) - set(mounts):
            progress.note(f"{gone.source} is not here: it is not mounted")
        wanted = found.resources
        machine_init(
            place.name,
            reference,
            cpus=wanted.cpus,
            memory=wanted.memory,
            disk=wanted.disk,
            mounts=mounts,
            connections=connections,
            progress=progress,
        )
    machine_start(place.name, progress=progress)
    copied, present = copy_volumes(found, place, progress)
    return TakenMachine(place.name, podman, copied, present)


def _read(name: str) -> PodmanMachine:
    root = Path(os.environ.get("XDG_CONFIG_HOME") or home_of(os.environ) / ".config") / "containers/podman/machine"
    if os.sep in name:
        raise NotFoundError(f"podman has no machine {name[:80]!r}")
    for provider in PODMAN_PROVIDERS:
        if (path := root / provider / f"{name}.json").exists():
            return parse_podman(read_small(path, 1 << 20), wrong_file(path))
    raise NotFoundError(f"podman has no machine {name} in {root}", hint="podman machine list shows its machines")


def _require_running(found: PodmanMachine) -> None:
    if run(found.ssh(found.user, ["true"]), seconds=_SECONDS, hint=HINT).code:
        raise ConflictError(
            f"podman's machine {found.name} does not answer on port {found.port}",
            hint=f"podman machine start {found.name}; if this podman is too new for that, use the version that made it",
        )


def copy_volumes(found: PodmanMachine, place: Place, progress: Progress) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Copy the volumes of both users, rootless and rootful; return those that were copied, and those that were there.

    Raises:
        ToolError: podman failed in one of the machines; a volume that is half copied is removed.
    """
    copied, present = [], []
    marker = place.file(_UNFINISHED)
    for user, ours in found.users:
        target = client(place, ours)
        there = set(_volumes(target))
        half = read_small(marker, 1 << 10).decode().removeprefix(f"{ours}/") if marker.exists() else ""
        if half in there:
            _call([*target, "podman", "volume", "rm", "-f", half])
            there.remove(half)
        for volume in _volumes(found.ssh(user, [])):
            name = f"{ours}/{volume}"
            if volume in there:
                present.append(name)
                continue
            progress.note(f"copying volume {name}")
            with storage_errors(marker, doing="cannot be written"):
                replace_file(marker, name.encode())
            _call([*target, "podman", "volume", "create", volume])
            try:
                _pipe(
                    found.ssh(user, ["podman", "volume", "export", volume]),
                    [*target, "podman", "volume", "import", volume, "-"],
                )
            except BaseException:
                _call([*target, "podman", "volume", "rm", "-f", volume])
                raise
            with storage_errors(marker, doing="cannot be removed"):
                marker.unlink()
            copied.append(name)
    return tuple(copied), tuple(present)


def _volumes(ssh: Sequence[str]) -> list[str]:
    found = _call([*ssh, "podman", "volume", "ls", "-q"]).decode("utf-8", "replace").split()
    return [each for each in found if VOLUME.fullmatch(each)]


def _call(argv: Sequence[str]) -> bytes:
    done = run(argv, seconds=_SECONDS, hint=HINT)
    if done.code:
        raise ToolError("podman", done.said or f"failed with exit code {done.code}")
    return done.out


def _pipe(source: Sequence[str], target: Sequence[str]) -> None:
    with (
        started(source, stdout=PIPE, hint=HINT) as reading,
        started(target, stdin=reading.stdout or PIPE, hint=HINT) as writing,
    ):
        if reading.stdout is not None:
            reading.stdout.close()
        _, said = writing.communicate()
        _, error = reading.communicate()
    if reading.returncode or writing.returncode:
        raise ToolError("podman", last_line(error) or last_line(said) or "could not copy a volume")

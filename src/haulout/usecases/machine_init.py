"""Make machines: from a reference, or as a copy of another one; and change what they are to be."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from haulout.documents import Document
from haulout.errors import ConflictError, UsageError
from haulout.local import locked, read_small, replace_file, storage_errors
from haulout.machine import (
    SEED_FILES,
    Accelerator,
    DiskKind,
    EventKind,
    Firmware,
    Image,
    Machine,
    Machines,
    Policy,
    Resources,
    Severity,
    appearing_machine,
    check_base,
    check_ports,
    check_settings,
    clone_files,
    forward_ports,
    make_key,
    new_machine,
    proxy_setting,
    publish,
    read_authorities,
    unite_kept,
    valid_window,
)
from haulout.progress import NullProgress
from haulout.usecases.arguments import reference_of
from haulout.usecases.machine_base import begin_base, patiently

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from haulout.fetch import PullResult
    from haulout.machine import Forward, Mount, Place
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions

_LONGEST_SEED: Final = 1 << 20
_GIB: Final = 1 << 30
_REMOVE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class MadeMachine(Document):
    """A machine that was made or changed."""

    machine: Machine
    folder: Path
    kept_data: bool = False
    """Whether it has the data of a machine of the same name that was removed before."""
    running: bool = False
    """Whether it runs, so that a change holds from its next start on."""

    json_members = ("*machine", "folder", "kept_data", "running")


def machine_init(  # noqa: PLR0913 - each is one word of the request
    name: str,
    reference: str | Reference,
    *,
    cpus: int | None = None,
    memory: int | None = None,
    disk: int | None = None,
    mounts: Iterable[Mount] = (),
    forwards: Iterable[Forward] = (),
    ca: str | Iterable[str] = (),
    proxy: str = "host",
    cloud_init: Path | None = None,
    ignition: Path | None = None,
    accelerator: Accelerator = Accelerator.AUTO,
    firmware: Firmware = Firmware.AUTO,
    ephemeral: bool = False,
    lazy: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> MadeMachine:
    """Fetch a disk, verified, and make a machine of it, which does not run yet.

    Args:
        name: of the machine; data that was kept under this name is used again.
        reference: where the disk is.
        cpus: processors; None: 2.
        memory: MiB; None: 2048.
        disk: GiB of the data disk; None: 100, or what the kept data has.
        mounts: folders of the host in the guest.
        forwards: ports of the host that lead into the guest.
        ca: certificate authorities the guest is to trust: PEM files, and ``host`` for those of this host.
        proxy: ``host`` as the environment says at each start, ``none``, or a URL without a password.
        cloud_init: file of user-data that is added to ours, for the first boot.
        ignition: file that is merged into our Ignition configuration, for the first boot.
        accelerator: what runs the guest's instructions.
        firmware: what starts its boot loader.
        ephemeral: remove it, with its data, when nobody holds it any more.
        lazy: fetch no more of the disk than it takes to know that it is safe; a lazy start fetches what it reads.
        connections: how registries are reached.
        progress: receives tasks and notes.

    Raises:
        ConflictError: there is a machine of this name.
        UsageError: the name or a value is not valid, or the disk is of a format that no machine boots.
        StorageError: a mount is not there.
        InvalidFile: a file of certificates has none, or a damaged one.
        HauloutError: as :func:`haulout.pull`.
    """
    progress = progress or NullProgress()
    machines = Machines.here()
    place = machines.place(name)
    added = {
        file: _checked(path, check)
        for (file, check), path in zip(SEED_FILES.items(), (cloud_init, ignition), strict=True)
        if path is not None
    }
    with new_machine(place, keep_data=True):
        usual = Resources()
        unite_kept(place)
        data = place.file("data.raw")
        kept = data.exists() and data.stat().st_size > 0
        size = disk if disk is not None else -(-data.stat().st_size // _GIB) if kept else usual.disk
        if kept and size * _GIB < data.stat().st_size:
            raise UsageError(f"the data that was kept has {data.stat().st_size // _GIB} GiB, more than --disk {size}")
        machine = Machine(
            name=name,
            id=str(uuid.uuid4()),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            image=Image(str(reference), "", DiskKind.RAW),
            resources=Resources(cpus or usual.cpus, memory or usual.memory, size),
            accelerator=accelerator,
            firmware=firmware,
            mounts=tuple(mounts),
            forwards=tuple(forwards),
            ca=_authorities(ca, progress),
            proxy=proxy_setting(proxy),
            ephemeral=ephemeral,
        )
        check_settings(machine)
        for remark in check_ports(machine, machine.forwards, machines):
            progress.note(remark)
        _keep_added(place, added)
        machine = make(machines, place, machine, reference_of(reference), connections, progress, lazy=lazy)
    if kept:
        progress.note(f"machine {name} has the data that was kept: {data}")
    return MadeMachine(machine, place.folder, kept_data=kept)


def make(
    machines: Machines,
    place: Place,
    machine: Machine,
    reference: Reference,
    connections: ConnectionOptions | None,
    progress: Progress,
    *,
    keep: Callable[[Place, Machine], Machine] | None = None,
    lazy: bool = False,
) -> Machine:
    """Fetch the disk of a machine whose place is locked, and ``keep`` the machine there: its file comes last."""
    with kept_images(machines) as images:
        image = begin_base(images, reference, connections, progress) if lazy else None
        image = image or fetch_image(images, reference, connections, progress)[0]
        made = (keep or _keep)(place, replace(machine, image=image))
        publish(place.history, place.name, made.id, EventKind.CREATED, image=made.image.pinned)
    return made


def _keep(place: Place, machine: Machine) -> Machine:
    make_key(place)
    place.save(machine)
    return machine


def _authorities(ca: str | Iterable[str], progress: Progress) -> tuple[str, ...]:
    """Return the sources as the machine file names them; they are read once, so that faults show now."""
    named = [each for each in ([ca] if isinstance(ca, str) else ca) if each not in {"", "none"}]
    found = tuple(each if each == "host" else str(Path(each).absolute()) for each in named)
    for remark in read_authorities(found).remarks:
        progress.note(remark)
    return found


def _keep_added(place: Place, added: dict[str, bytes]) -> None:
    """Write what a user adds to the first boot, before there is a machine; nothing stays of an attempt that failed."""
    for file in SEED_FILES:
        with storage_errors(place.file(file), doing="cannot be written"):
            place.file(file).unlink(missing_ok=True)
            if file in added:
                replace_file(place.file(file), added[file], mode=0o600)


def _checked(path: Path, check: Callable[[bytes, str], None]) -> bytes:
    text = read_small(path, _LONGEST_SEED)
    check(text, str(path))
    return text


@contextmanager
def kept_images(machines: Machines) -> Iterator[Path]:
    """Keep base images from being removed, until a machine file or slot names the one that is used.

    Raises:
        ConflictError: another command removes some, and goes on for long.
        StorageError: the folder cannot be made.
    """
    folder = machines.data / "images"
    with storage_errors(folder, doing="cannot be made"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(folder, seconds=_REMOVE_SECONDS, busy="base images are being removed", shared=True):
        yield folder


def fetch_image(
    images: Path,
    reference: Reference,
    connections: ConnectionOptions | None,
    progress: Progress,
    seeds: Iterable[Path] = (),
) -> tuple[Image, PullResult]:
    """Have the base image in ``images``, under its digest; return it, and what was fetched.

    Raises:
        UsageError: no machine boots a disk of its format.
        HauloutError: as :func:`haulout.pull`.
    """
    from haulout.usecases.pull import pull  # noqa: PLC0415 - loads what speaks HTTP, which clone and set do not need

    found = pinned(reference, connections, progress)
    target = images / found[1].replace(":", "-")
    options: dict[str, Any] = {"output": target, "seeds": seeds, "connections": connections, "progress": progress}
    result: PullResult = patiently(target, progress, lambda: pull(found[0], **options))
    if result.format not in set(DiskKind):
        target.unlink(missing_ok=True)
        raise UsageError(
            f"{reference} has a disk of format {result.format}, which no machine boots",
            hint="publish it as qcow2 or raw: haulout pull --as qcow2, haulout push",
        )
    with storage_errors(target):
        target.chmod(0o400)
    check_base(target, found[0])
    return Image(str(reference), found[0], DiskKind(result.format)), result


def pinned(reference: Reference, connections: ConnectionOptions | None, progress: Progress) -> tuple[str, str]:
    """Return a reference by digest, and the digest of the disk's manifest; raises as :func:`haulout.resolve`."""
    from haulout.usecases.lookup import resolve  # noqa: PLC0415 - loads what a machine from a local copy does not need

    found = resolve(reference, connections=connections, progress=progress)
    return str(found.pinned), str(found.digest)


def machine_clone(name: str, new_name: str) -> MadeMachine:
    """Make a copy of a machine that does not run: its system, and its data.

    Raises:
        ConflictError: it runs, or there is a machine of the new name.
        NotFoundError: there is no such machine.
        StorageError: the copy cannot be written.
    """
    machines = Machines.here()
    source, target = machines.place(name), machines.place(new_name)
    if name == new_name:
        raise UsageError("a copy of a machine needs another name")
    with source.lock():
        machine = source.load()
        if source.is_held("run.lock") or source.is_held("vm.lock"):
            raise ConflictError(f"machine {name} is running", hint=f"haulout machine stop {name}")
        with new_machine(target):
            made = replace(
                machine,
                name=new_name,
                id=str(uuid.uuid4()),
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                # The host's port is the first one's.
                forwards=(),
                ephemeral=False,
            )
            with appearing_machine(target, made):
                clone_files(source, target, machine.image)
            publish(target.history, new_name, made.id, EventKind.CLONED, source=name)
    return MadeMachine(made, target.folder)


def machine_set(  # noqa: PLR0913 - each is one word of the request
    name: str,
    *,
    cpus: int | None = None,
    memory: int | None = None,
    disk: int | None = None,
    mounts: Iterable[Mount] | None = None,
    forwards: Iterable[Forward] | None = None,
    ca: str | Iterable[str] | None = None,
    proxy: str | None = None,
    update_policy: str | None = None,
    update_window: str | None = None,
    min_severity: str | None = None,
    pin: bool | None = None,
    progress: Progress | None = None,
) -> MadeMachine:
    """Change what a machine is to be, from its next start on, ports at once; None leaves a value as it is.

    Raises:
        NotFoundError: there is no such machine.
        UsageError: the data disk would shrink, proxy or window are not valid, two mounts have one target, or a port of
            this host is given twice, or needs root.
        StorageError: a mount is not there.
        InvalidFile: a file of certificates has none, or a damaged one.
        ConflictError: another command changes it, or a port is taken; then nothing was changed.
    """
    machines, progress = Machines.here(), progress or NullProgress()
    place = machines.place(name)
    given: dict[str, object] = {"cpus": cpus, "memory": memory, "disk": disk}
    given["ca"] = None if ca is None else _authorities(ca, progress)
    given["proxy"] = None if proxy is None else proxy_setting(proxy)
    given["mounts"] = None if mounts is None else tuple(mounts)
    given["forwards"] = None if forwards is None else tuple(forwards)
    changes = {key: value for key, value in given.items() if value is not None}
    about_updates: dict[str, Any] = {
        "policy": None if update_policy is None else Policy(update_policy),
        "window": None if update_window is None else valid_window(update_window),
        "min_severity": None if min_severity is None else Severity(min_severity),
        "pin": pin,
    }
    about_updates = {key: value for key, value in about_updates.items() if value is not None}
    with place.lock():
        before = place.load()
        machine = before.changed(**changes, update=replace(before.update, **about_updates))
        running = place.is_held("run.lock")
        # What is not named may be wrong for now, as a disk that is not plugged in.
        check_settings(replace(machine, mounts=machine.mounts if mounts is not None else ()))
        if forwards is not None and not running:
            for remark in check_ports(machine, machine.forwards, machines):
                progress.note(remark)
        place.save(machine)
        if running and machine.forwards != before.forwards:
            try:
                forward_ports(place)
            except ConflictError:
                place.save(before)
                raise
        old = before.to_dict()
        changed = {key: value for key, value in machine.to_dict().items() if value != old[key]}
        publish(place.history, name, machine.id, EventKind.SET, **changed)
        return MadeMachine(machine, place.folder, running=running and bool(set(changed) - {"forwards", "update"}))

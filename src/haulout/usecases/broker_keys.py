"""Rotate a broker's keys, back its database up and restore it, and take over or hand out resources of Trustee."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Final

from haulout.broker import Management, Place
from haulout.broker.audit import verify_log
from haulout.broker.protocol import InvalidMessage, ResourcePath, SigningKey
from haulout.broker.stores import InvalidBackup, add_key, keep_keys
from haulout.documents import Document
from haulout.errors import StorageError, UsageError
from haulout.local import PRIVATE, read_small, replace_file, replacing, storage_errors
from haulout.usecases.broker_owner import opened

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.broker.stores import Unit

_LARGEST: Final = 1 << 20
_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class RotatedKeys(Document):
    """What was done.

    Attributes:
        current: the key-encryption key that wraps from now on.
        wrapped: how many data keys were wrapped anew.
        forgotten: how many key-encryption keys were removed from the file.
        signing_key: thumbprint of the new key that signs tokens; None: none was made.
    """

    current: str
    wrapped: int
    forgotten: int
    signing_key: str | None

    json_members: ClassVar = ("current", "wrapped", "forgotten", "signing_key")


def broker_rotate(
    folder: Path, *, new_key: bool = True, signing_key: bool = False, forget: bool = False
) -> RotatedKeys:
    """Wrap all data keys by another key-encryption key. Instances that share the file go on serving.

    Args:
        folder: of the broker.
        new_key: first make a key in the file; without it, the first key that is there wraps.
        signing_key: make a new key that signs tokens; the last one still verifies, older ones are removed.
        forget: remove the key-encryption keys from the file that nothing is wrapped by any more.

    Raises:
        UsageError: the keys are a systemd credential, which only its maker changes.
        SealError: an old key is not in the file.
        HauloutError: the database refuses.
    """
    place, now = Place.open(folder), datetime.now(UTC)
    if (new_key or forget) and place.keys.parent != place.folder:
        hint = "change the credential, and say --no-new-key once all instances have it"
        raise UsageError(f"the keys are in {place.keys}, which is not the broker's to change", hint=hint)
    made = SigningKey.generate() if signing_key else None
    with opened(folder) as store:
        if new_key:
            add_key(place.keys, f"kek-{now:%Y%m%d-%H%M%S-%f}")
        current = store.wrapper.current
        with store.write() as unit:
            if made is not None:
                before = unit.signing_keys.all()
                unit.signing_keys.add(made, now)
                unit.signing_keys.remove_all_but(made.kid, *(one.kid for one in before[:1]))
            wrapped = unit.resources.rewrap() + unit.signing_keys.rewrap()
        with store.read() as unit:
            used = unit.resources.keks() | unit.signing_keys.keks()
    forgotten = keep_keys(place.keys, used) if forget else 0
    return RotatedKeys(current, wrapped, forgotten, None if made is None else made.kid)


@dataclass(frozen=True, slots=True)
class BackedUp(Document):
    """A backup: its file, and how many rows are in it."""

    file: Path
    rows: int

    json_members: ClassVar = ("file", "rows")


def broker_backup(folder: Path, file: Path) -> BackedUp:
    """Back a broker's database up, as it is at one moment; instances go on serving. Its keys are not in it.

    Raises:
        StorageError: the file exists, or cannot be written.
        HauloutError: the database refuses.
    """
    if file.exists():
        raise StorageError(str(file), "it exists", hint="choose another file for the backup")
    with opened(folder) as store, replacing(file, mode=PRIVATE) as out:
        rows = store.backup(out)
    return BackedUp(file, rows)


def broker_restore(folder: Path, file: Path) -> BackedUp:
    """Restore a backup into a broker that is new: all of it, or nothing. The audit log in it is verified.

    Raises:
        InvalidBackup: it is not a whole backup of this version, or its audit log was changed.
        SealError: the broker's keys do not open what is in it.
        HauloutError: the database refuses, or is not empty.
    """
    with opened(folder) as store, storage_errors(file), file.open("rb") as lines:
        rows = store.restore(lines, _check)
    return BackedUp(file, rows)


def _check(unit: Unit) -> None:
    report = verify_log(unit.audit.rows())
    if report.finding is not None:
        raise InvalidBackup(f"its audit log was changed: {report.finding.words}")
    unit.signing_keys.all()  # raises where the keys are others


@dataclass(frozen=True, slots=True)
class MovedResources(Document):
    """Which resources were taken over or handed out, and for which workload."""

    workload: str
    resources: tuple[str, ...]

    json_members: ClassVar = ("workload", "resources")


def broker_import(folder: Path, source: Path, workload: str) -> MovedResources:
    """Take over a folder of resources as Trustee's local repository has them: ``REPOSITORY/TYPE/TAG``.

    Args:
        folder: of the broker.
        source: the repository; Trustee's default is /opt/confidential-containers/kbs/repository.
        workload: whose resources they become; its policy decides about all of them.

    Raises:
        UsageError: a file is not three levels deep, or its name is not one of a resource: nothing is taken over.
        Unknown: there is no such workload.
        Taken: another workload has one of them.
    """
    with storage_errors(source):
        files = sorted(each for each in source.rglob("*") if not each.is_dir())
    if not files or len(files) > _MOST:
        raise UsageError(f"{source} has {len(files)} files; expected 1 to {_MOST}")
    found: dict[ResourcePath, bytes] = {}
    for each in files:
        try:
            path = ResourcePath.parse(each.relative_to(source).as_posix())
        except InvalidMessage as exc:
            raise UsageError(f"{each} is not REPOSITORY/TYPE/TAG in {source}") from exc
        found[path] = read_small(each, _LARGEST)
    with opened(folder) as store:
        Management(store, None).put_all(workload, found)
    return MovedResources(workload, tuple(map(str, found)))


def broker_export(folder: Path, target: Path, workload: str) -> MovedResources:
    """Write a workload's resources in clear, as Trustee's local repository has them, for its user's eyes alone.

    Raises:
        StorageError: the folder exists, or cannot be written.
        Unknown: there is no such workload.
        SealError: the key-encryption key is not at hand.
    """
    if target.exists():
        raise StorageError(str(target), "it exists", hint="choose another folder for the resources")
    with opened(folder) as store:
        found = Management(store, None).take_out(workload)
    for path, content in found.items():
        with storage_errors(target):
            (target / path.repository / path.type).mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(target / str(path), content, mode=PRIVATE)
    return MovedResources(workload, tuple(map(str, found)))

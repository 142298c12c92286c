"""What an image says of its workload: the binding, the TEE and the launch measurement; for policies and brokers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from haulout.documents import Document
from haulout.errors import InvalidWorkload, StorageError
from haulout.local import storage_errors
from haulout.tee import Policy, parse_policy
from haulout.usecases.inspect_workload import inspect_workload
from haulout.workload import Tee, policy_for, trustee_files

if TYPE_CHECKING:
    import os

    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions
    from haulout.workload import Binding

_EXECUTABLE: Final = 0o755


@dataclass(frozen=True, slots=True)
class BoundWorkload:
    """What an image binds.

    Attributes:
        tee: which one the image is for.
        measurement: the launch measurement, where the image names it.
    """

    binding: Binding
    tee: Tee
    measurement: bytes | None


def bound_workload(
    image: str | Path | Reference,
    *,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> BoundWorkload:
    """Read what an image binds, after checking all of it that is not encrypted.

    Raises:
        InvalidWorkload: it has no binding, or breaks a rule.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    found = inspect_workload(image, connections=connections, progress=progress)
    if found.broken:
        raise InvalidWorkload(found.broken[0].rule, found.broken[0].reason)
    if found.binding is None or found.config is None:
        raise InvalidWorkload(
            "binding",
            f"{image} is not bound to its workload, so that no evidence can name it",
            hint="haulout cw build makes images that are",
        )
    tee, _, digits = (found.measurement or "").partition(":")
    try:
        measurement = bytes.fromhex(digits) if digits and tee == found.config.tee else None
    except ValueError as exc:
        raise InvalidWorkload("measurement", f"the launch measurement of {image} is not hexadecimal") from exc
    return BoundWorkload(found.binding, found.config.tee, measurement)


_NAMED: Final = {
    Tee.SNP: ("host_data", "measurements"),
    Tee.TDX: ("mrconfigid", "mrtd"),
    Tee.CCA: ("personalization", "rim"),
}
"""Members of a policy's section that list what names the workload, and the launch measurement."""


def policy_of_image(bound: BoundWorkload, policy: Policy | None, name: str) -> Policy:
    """Return a policy that demands what an image binds, and besides what another policy demands.

    Args:
        bound: what the image binds.
        policy: the other one; None: there is none. What both list has to be on both lists.
        name: of the image, for people.

    Raises:
        UsageError: the image's TEE does not sign evidence that names a workload.
    """
    tee = bound.tee
    own = parse_policy(policy_for(bound.binding, tee, bound.measurement).encode(), name)
    if policy is None:
        # Whoever asks says with the report data whether it has to be new.
        return replace(own, name=name, report_data_required=False)
    name = f"{policy.name} and the binding of {name}"
    section, demanded = policy.sections.get(tee), own.sections[tee]
    if section is None:
        return replace(policy, name=name, sections={})
    narrowed = {}
    for member in _NAMED[tee]:
        ours, theirs = getattr(demanded, member), getattr(section, member)
        narrowed[member] = theirs if ours is None else ours if theirs is None else ours & theirs
    return replace(policy, name=name, sections={tee: replace(section, **narrowed)})


@dataclass(frozen=True, slots=True)
class TrusteeExport(Document):
    """What was written for Trustee.

    Attributes:
        folder: where.
        files: the names of the files.
        resource: the path of the passphrase in the KBS.
        init_data: the digest of the init-data, which the guest has to carry in ``field``.
    """

    folder: Path
    files: tuple[str, ...]
    resource: str
    init_data: bytes
    field: str

    json_members: ClassVar = ("folder", "files", "resource", "init_data", "field")


_FIELDS: Final = {Tee.SNP: "HOST_DATA", Tee.TDX: "MRCONFIGID", Tee.CCA: "personalization value"}


def export_for_trustee(
    image: str | Reference,
    folder: str | os.PathLike[str],
    *,
    resource: str | None = None,
    url: str = "",
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> TrusteeExport:
    """Write what Trustee has to be told of a workload: init-data, reference values, and a script that uploads them.

    Args:
        image: the workload's image.
        folder: where the files go; it is made, and must be empty if it is there.
        resource: the path of the passphrase in the KBS; None: ``default/WORKLOAD/passphrase``.
        url: of the KBS, for the guest's configuration in the init-data; "" leaves it out.
        connections: how registries are reached.
        progress: receives the progress of the work.

    Raises:
        InvalidWorkload: the image is not bound, or breaks a rule.
        StorageError: the folder is not empty, or cannot be written.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    target = Path(folder)
    with storage_errors(target):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise StorageError(str(target), "it is not an empty folder", hint="name a folder that does not exist")
    bound = bound_workload(image, connections=connections, progress=progress)
    made = trustee_files(bound.binding, bound.tee, bound.measurement, resource=resource, url=url)
    with storage_errors(target):
        target.mkdir(parents=True, exist_ok=True)
        for name, data in made.files.items():
            (target / name).write_bytes(data)
        (target / "upload.sh").chmod(_EXECUTABLE)
    return TrusteeExport(target, tuple(made.files), made.resource, made.init_data, _FIELDS[bound.tee])

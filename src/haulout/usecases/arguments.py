"""Arguments of the verbs: what may be given as text or as a value becomes the value, once, at the door."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from haulout import disk
from haulout.errors import InvalidPlatform, InvalidReference, UsageError
from haulout.oci import (
    Architecture,
    ArchiveReference,
    LayoutReference,
    RegistryReference,
    is_helper_tag,
    parse_reference,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from haulout.disk import DiskFormat, DiskType
    from haulout.oci import Reference


def reference_of(value: str | Reference) -> Reference:
    """Parse a reference that is given as text.

    Raises:
        InvalidReference: it is not a reference.
        UsageError: it is neither text nor a reference.
    """
    if isinstance(value, str):
        return parse_reference(value)
    if not isinstance(value, RegistryReference | LayoutReference | ArchiveReference):
        raise UsageError(f"a reference is text or a parsed reference, not {type(value).__name__}")
    return value


def repository_of(value: str | Reference) -> Reference:
    """Parse the name of a repository or layout; of a parsed reference, only its place counts.

    Raises:
        InvalidReference: it is neither.
        UsageError: it names a tag or digest.
    """
    parsed = reference_of(value)
    if isinstance(value, str) and not _is_bare(value, parsed):
        raise UsageError(f"{value[:200]} is a reference, not a repository", hint=f"leave out the tag: {parsed.name}")
    return parsed


def explicit_reference_of(value: str | Reference) -> Reference:
    """Parse a reference whose tag or digest must be named: what is deleted is never guessed.

    Raises:
        InvalidReference: it is not a reference.
        UsageError: text without a tag and digest.
    """
    parsed = reference_of(value)
    if isinstance(value, str) and _is_bare(value, parsed):
        raise UsageError(f"{value[:200]} names no tag", hint=f"write {parsed.name}:TAG; haulout tags lists them")
    return parsed


def _is_bare(text: str, parsed: Reference) -> bool:
    try:
        # One more tag fits only where there is none.
        return parse_reference(f"{text}:x").name == parsed.name
    except InvalidReference:
        return False


def tag_of(value: str) -> str:
    """Check a tag that is to be written.

    Raises:
        UsageError: it is not a tag, or one of those that tools write for their own use.
    """
    if not isinstance(value, str):
        raise UsageError(f"a tag is text, not {type(value).__name__}")
    if "/" in value or ":" in value or "@" in value:
        raise UsageError(f"{value[:200]!r} is not a tag", hint="name the tag alone; it is given in the same repository")
    if is_helper_tag(value):
        raise UsageError(f"the tag {value} is kept for helper data", hint="choose another name")
    try:
        parse_reference(f"oci:.:{value}")
    except InvalidReference as exc:
        raise UsageError(f"{value[:200]!r} is not a tag: {exc.reason}") from exc
    return value


def path_of(value: str | os.PathLike[str]) -> Path:
    """Return a path that may be given as text.

    Raises:
        UsageError: it is neither text nor a path.
    """
    try:
        return Path(value)
    except TypeError:
        raise UsageError(f"a path is text or path-like, not {type(value).__name__}") from None


def paths_of(values: Iterable[str | os.PathLike[str]]) -> tuple[Path, ...]:
    """Return several paths; one text alone counts as one path, not as its letters.

    Raises:
        UsageError: one is neither text nor a path.
    """
    return (path_of(values),) if isinstance(values, str) else tuple(path_of(value) for value in values)


def architecture_of(value: str | Architecture) -> Architecture:
    """Parse an architecture that is given as text, under the kernel's name or Go's (``aarch64``, ``arm64``).

    Raises:
        InvalidPlatform: there is no such architecture; it lists the known ones.
    """
    return Architecture.parse(value)


def wanted_type_of(value: str | DiskType) -> str:
    """Parse the disk type that is looked for: as :func:`disk_type_of`, or ``container-disk``."""
    from haulout.resolve import CONTAINER_DISK  # noqa: PLC0415 - not needed to ask

    return CONTAINER_DISK if value.strip().lower() == CONTAINER_DISK else disk_type_of(value)


def disk_type_of(value: str | DiskType) -> DiskType:
    """Parse a disk type that is given as text, also by the name of its format (``qemu``, ``qcow2``).

    Raises:
        InvalidPlatform: there is no such disk type; it lists the known ones.
    """
    return disk.DiskType.parse(value)


def format_of(value: str | DiskFormat) -> DiskFormat:
    """Parse a disk format that is given as text (``qcow2``), in any case.

    Raises:
        InvalidPlatform: there is no such format; it lists the known ones.
    """
    try:
        return disk.DiskFormat(value.strip().lower())
    except ValueError:
        raise InvalidPlatform("format", value, list(disk.DiskFormat)) from None

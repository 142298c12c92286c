"""Names of entries: judged once, then only ever used as names inside the tree."""

from __future__ import annotations

from haulout.errors import InvalidRootfs
from haulout.workload.rootfs.limits import NAME_MAX, PATH_MAX

Path = tuple[bytes, ...]


def split(raw: bytes, source: str) -> Path:
    """Cut an entry's name into its parts; ``.`` and doubled slashes are left out, so the root is ().

    Raises:
        InvalidRootfs: it is absolute, has a part ``..``, a NUL, or is longer than Linux allows.
    """
    if b"\0" in raw:
        raise InvalidRootfs(source, raw, "name", "a name with a NUL byte")
    if len(raw) > PATH_MAX:
        raise InvalidRootfs(source, raw, "name", f"a path of {len(raw)} bytes, more than {PATH_MAX}")
    if raw[:1] == b"/":
        raise InvalidRootfs(source, raw, "escape", "an absolute path")
    parts = tuple(part for part in raw.split(b"/") if part not in {b"", b"."})
    if b".." in parts:
        raise InvalidRootfs(source, raw, "escape", "a path with ..")
    if long := next((part for part in parts if len(part) > NAME_MAX), None):
        raise InvalidRootfs(source, raw, "name", f"a name of {len(long)} bytes, more than {NAME_MAX}")
    return parts

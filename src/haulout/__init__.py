"""Ship, pull and update bootable machine disks through ordinary OCI registries.

The verbs of the command line are functions here. Push a disk into an image layout, a folder beside you, and pull it:

>>> import haulout
>>> pushed = haulout.push("oci:machines:5.0", "disk.raw", architecture="x86_64")
>>> pulled = haulout.pull("oci:machines:5.0", architecture="x86_64", disk_type="applehv", output="machine.raw")
>>> pulled.path
PosixPath('machine.raw')
>>> pulled.to_dict()["status"]
'pulled'

References and paths are text or values; results are frozen dataclasses, and their ``to_dict()`` is the documented JSON
of ``--json``. Every failure is a :class:`HauloutError`. docs/library.md describes progress, cancelling and threads.

Everything named in ``__all__`` is public and stable; it is imported on first use (PEP 562), so ``import haulout`` costs
next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.disk import Danger, DiskFormat, DiskInfo, DiskType, FileSystem, Partition, inspect
    from haulout.errors import (
        ConflictError,
        ContentError,
        DeniedError,
        DigestMismatch,
        HauloutError,
        ImageTooSmall,
        InvalidDelta,
        InvalidDigest,
        InvalidEvidence,
        InvalidFile,
        InvalidFrame,
        InvalidManifest,
        InvalidPlatform,
        InvalidPolicy,
        InvalidReference,
        InvalidRootfs,
        InvalidToc,
        InvalidWorkload,
        NoMatchingDisk,
        NotFoundError,
        NotLuks,
        RefusedLuks,
        RefusedVerity,
        RegistryError,
        SizeMismatch,
        StorageError,
        ToolError,
        UnreachableError,
        UnsafeDiskError,
        UsageError,
        VerityMismatch,
        WrongPassphrase,
    )
    from haulout.fetch import Moved, PullResult, SeedUse
    from haulout.oci import (
        Architecture,
        Digest,
        LayoutReference,
        Reference,
        RegistryReference,
        SizedDigest,
        parse_reference,
    )
    from haulout.progress import NullProgress, Progress, Task, Traffic
    from haulout.publish import DeltaResult, PublishedDelta, PushedBase, PushedDisk, PushResult
    from haulout.registry import ConnectionOptions, Credentials
    from haulout.resolve import Inventory, Item, ResolvedDisk, Role, Shape
    from haulout.usecases import DiskSource, delta, inventory, pull, push, resolve

__version__: Final = "0.1.0"

__all__ = [
    "Architecture",
    "ConflictError",
    "ConnectionOptions",
    "ContentError",
    "Credentials",
    "Danger",
    "DeltaResult",
    "DeniedError",
    "Digest",
    "DigestMismatch",
    "DiskFormat",
    "DiskInfo",
    "DiskSource",
    "DiskType",
    "FileSystem",
    "HauloutError",
    "ImageTooSmall",
    "InvalidDelta",
    "InvalidDigest",
    "InvalidEvidence",
    "InvalidFile",
    "InvalidFrame",
    "InvalidManifest",
    "InvalidPlatform",
    "InvalidPolicy",
    "InvalidReference",
    "InvalidRootfs",
    "InvalidToc",
    "InvalidWorkload",
    "Inventory",
    "Item",
    "LayoutReference",
    "Moved",
    "NoMatchingDisk",
    "NotFoundError",
    "NotLuks",
    "NullProgress",
    "Partition",
    "Progress",
    "PublishedDelta",
    "PullResult",
    "PushResult",
    "PushedBase",
    "PushedDisk",
    "Reference",
    "RefusedLuks",
    "RefusedVerity",
    "RegistryError",
    "RegistryReference",
    "ResolvedDisk",
    "Role",
    "SeedUse",
    "Shape",
    "SizeMismatch",
    "SizedDigest",
    "StorageError",
    "Task",
    "ToolError",
    "Traffic",
    "UnreachableError",
    "UnsafeDiskError",
    "UsageError",
    "VerityMismatch",
    "WrongPassphrase",
    "__version__",
    "delta",
    "inspect",
    "inventory",
    "parse_reference",
    "pull",
    "push",
    "resolve",
]

open_face(
    __name__,
    {
        "disk": (
            "Danger",
            "DiskFormat",
            "DiskInfo",
            "DiskType",
            "FileSystem",
            "Partition",
            "inspect",
        ),
        "errors": (
            "ConflictError",
            "ContentError",
            "DeniedError",
            "DigestMismatch",
            "HauloutError",
            "ImageTooSmall",
            "InvalidDelta",
            "InvalidDigest",
            "InvalidEvidence",
            "InvalidFile",
            "InvalidFrame",
            "InvalidManifest",
            "InvalidPlatform",
            "InvalidPolicy",
            "InvalidReference",
            "InvalidRootfs",
            "InvalidToc",
            "InvalidWorkload",
            "NoMatchingDisk",
            "NotFoundError",
            "NotLuks",
            "RefusedLuks",
            "RefusedVerity",
            "RegistryError",
            "SizeMismatch",
            "StorageError",
            "ToolError",
            "UnreachableError",
            "UnsafeDiskError",
            "UsageError",
            "VerityMismatch",
            "WrongPassphrase",
        ),
        "fetch": (
            "Moved",
            "PullResult",
            "SeedUse",
        ),
        "oci": (
            "Architecture",
            "Digest",
            "LayoutReference",
            "Reference",
            "RegistryReference",
            "SizedDigest",
            "parse_reference",
        ),
        "progress": (
            "NullProgress",
            "Progress",
            "Task",
            "Traffic",
        ),
        "publish": (
            "DeltaResult",
            "PublishedDelta",
            "PushResult",
            "PushedBase",
            "PushedDisk",
        ),
        "registry": ("ConnectionOptions", "Credentials"),
        "resolve": (
            "Inventory",
            "Item",
            "ResolvedDisk",
            "Role",
            "Shape",
        ),
        "usecases": (
            "DiskSource",
            "delta",
            "inventory",
            "pull",
            "push",
            "resolve",
        ),
    },
)

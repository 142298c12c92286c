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
    from haulout.content import StoredManifest
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
    from haulout.http import HttpOptions
    from haulout.oci import (
        Architecture,
        Descriptor,
        Digest,
        Index,
        LayoutReference,
        Manifest,
        Platform,
        Reference,
        RegistryReference,
        SizedDigest,
        parse_reference,
    )
    from haulout.progress import NullProgress, Progress, Task, Traffic
    from haulout.publish import DeltaResult, PublishedDelta, PushedBase, PushedDisk, PushResult
    from haulout.registry import ConnectionOptions, Credentials
    from haulout.resolve import Inventory, Item, ResolvedDisk, Role, Shape
    from haulout.tee import Claims, Given, Policy, Refusal, Rule, Statement, Verdict, parse_policy
    from haulout.upkeep import ListedDisk, ListedTag
    from haulout.usecases.build_workload import Broker, BuildRequest, BuiltWorkload, build_workload
    from haulout.usecases.delta import delta
    from haulout.usecases.inspect_workload import inspect_workload
    from haulout.usecases.lookup import inventory, resolve
    from haulout.usecases.pull import pull
    from haulout.usecases.push import DiskSource, push
    from haulout.usecases.tags import TagList, TagResult, WrittenTag, tag, tags
    from haulout.usecases.verify_evidence import EvidenceResult, verify_evidence
    from haulout.workload import (
        Binding,
        BrokenRule,
        BuiltImage,
        DiskSizes,
        Findings,
        GivenMeasurement,
        ImageEntry,
        KrunGuest,
        OuterImage,
        SnpGuest,
        Tee,
        UnlockedDisk,
        Vmm,
        WorkloadConfig,
    )
    from haulout.workload.luks import LuksHeader, LuksKeySlot

__version__: Final = "0.2.0"

__all__ = [
    "Architecture",
    "Binding",
    "BrokenRule",
    "Broker",
    "BuildRequest",
    "BuiltImage",
    "BuiltWorkload",
    "Claims",
    "ConflictError",
    "ConnectionOptions",
    "ContentError",
    "Credentials",
    "Danger",
    "DeltaResult",
    "DeniedError",
    "Descriptor",
    "Digest",
    "DigestMismatch",
    "DiskFormat",
    "DiskInfo",
    "DiskSizes",
    "DiskSource",
    "DiskType",
    "EvidenceResult",
    "FileSystem",
    "Findings",
    "Given",
    "GivenMeasurement",
    "HauloutError",
    "HttpOptions",
    "ImageEntry",
    "ImageTooSmall",
    "Index",
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
    "KrunGuest",
    "LayoutReference",
    "ListedDisk",
    "ListedTag",
    "LuksHeader",
    "LuksKeySlot",
    "Manifest",
    "Moved",
    "NoMatchingDisk",
    "NotFoundError",
    "NotLuks",
    "NullProgress",
    "OuterImage",
    "Partition",
    "Platform",
    "Policy",
    "Progress",
    "PublishedDelta",
    "PullResult",
    "PushResult",
    "PushedBase",
    "PushedDisk",
    "Reference",
    "Refusal",
    "RefusedLuks",
    "RefusedVerity",
    "RegistryError",
    "RegistryReference",
    "ResolvedDisk",
    "Role",
    "Rule",
    "SeedUse",
    "Shape",
    "SizeMismatch",
    "SizedDigest",
    "SnpGuest",
    "Statement",
    "StorageError",
    "StoredManifest",
    "TagList",
    "TagResult",
    "Task",
    "Tee",
    "ToolError",
    "Traffic",
    "UnlockedDisk",
    "UnreachableError",
    "UnsafeDiskError",
    "UsageError",
    "Verdict",
    "VerityMismatch",
    "Vmm",
    "WorkloadConfig",
    "WrittenTag",
    "WrongPassphrase",
    "__version__",
    "build_workload",
    "delta",
    "inspect",
    "inspect_workload",
    "inventory",
    "parse_policy",
    "parse_reference",
    "pull",
    "push",
    "resolve",
    "tag",
    "tags",
    "verify_evidence",
]

open_face(
    __name__,
    {
        "content": ("StoredManifest",),
        "disk": ("Danger", "DiskFormat", "DiskInfo", "DiskType", "FileSystem", "Partition", "inspect"),
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
        "fetch": ("Moved", "PullResult", "SeedUse"),
        "http": ("HttpOptions",),
        "oci": (
            "Architecture",
            "Descriptor",
            "Digest",
            "Index",
            "LayoutReference",
            "Manifest",
            "Platform",
            "Reference",
            "RegistryReference",
            "SizedDigest",
            "parse_reference",
        ),
        "progress": ("NullProgress", "Progress", "Task", "Traffic"),
        "publish": ("DeltaResult", "PublishedDelta", "PushResult", "PushedBase", "PushedDisk"),
        "registry": ("ConnectionOptions", "Credentials"),
        "resolve": ("Inventory", "Item", "ResolvedDisk", "Role", "Shape"),
        "tee": ("Claims", "Given", "Policy", "Refusal", "Rule", "Statement", "Verdict", "parse_policy"),
        "usecases.build_workload": ("Broker", "BuildRequest", "BuiltWorkload", "build_workload"),
        "usecases.delta": ("delta",),
        "usecases.inspect_workload": ("inspect_workload",),
        "usecases.lookup": ("inventory", "resolve"),
        "usecases.pull": ("pull",),
        "usecases.push": ("DiskSource", "push"),
        "usecases.verify_evidence": ("EvidenceResult", "verify_evidence"),
        "workload": (
            "Binding",
            "BrokenRule",
            "BuiltImage",
            "DiskSizes",
            "Findings",
            "GivenMeasurement",
            "ImageEntry",
            "KrunGuest",
            "OuterImage",
            "SnpGuest",
            "Tee",
            "UnlockedDisk",
            "Vmm",
            "WorkloadConfig",
        ),
        "workload.luks": ("LuksHeader", "LuksKeySlot"),
        "upkeep": ("ListedDisk", "ListedTag"),
        "usecases.tags": ("tag", "tags", "TagList", "TagResult", "WrittenTag"),
    },
)

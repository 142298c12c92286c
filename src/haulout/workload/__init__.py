"""Images of confidential workloads: from the layers of a container to one encrypted disk, in one pass.

``rootfs`` merges layers, ``ext4`` makes a file system of them, ``verity`` makes every modified block detectable,
``luks`` encrypts. None of it needs root, a loop device or a second copy. ``build`` joins them, ``inspect`` takes apart.
A guest imports ``luks``, ``verity`` and ``binding`` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.workload.binding import Binding, broker_key
    from haulout.workload.build.image import BuiltImage, DiskSizes, ImageSpec, build_image
    from haulout.workload.build.registration import (
        REGISTER_PATH,
        Registration,
        check_url,
        key_url_fits,
        parse_registration,
    )
    from haulout.workload.extraction import Extraction, extract
    from haulout.workload.inspect.findings import BrokenRule, Findings, ImageEntry, OuterImage, UnlockedDisk
    from haulout.workload.inspect.inspection import inspect_disk, inspect_image
    from haulout.workload.krun import Tee, WorkloadConfig
    from haulout.workload.measurement import (
        GivenMeasurement,
        KrunGuest,
        LaunchDigest,
        Measurement,
        PageType,
        SnpGuest,
        Vmm,
        expected_measurement,
    )
    from haulout.workload.passphrase import keep_passphrase, new_passphrase, read_passphrase
    from haulout.workload.policy import policy_for, require_evidence
    from haulout.workload.rekey import Rekey, Rekeyed, rekey_disk, rekey_image
    from haulout.workload.source import Image, Root, root_of_folder, root_of_image
    from haulout.workload.trustee import TrusteeFiles, trustee_files
    from haulout.workload.unlocked import FoundFile, UnlockedContent, unlock, write_disk
    from haulout.workload.unpack import UnpackedDisk, unpack_disk, unpacked_disk

__all__ = [
    "REGISTER_PATH",
    "Binding",
    "BrokenRule",
    "BuiltImage",
    "DiskSizes",
    "Extraction",
    "Findings",
    "FoundFile",
    "GivenMeasurement",
    "Image",
    "ImageEntry",
    "ImageSpec",
    "KrunGuest",
    "LaunchDigest",
    "Measurement",
    "OuterImage",
    "PageType",
    "Registration",
    "Rekey",
    "Rekeyed",
    "Root",
    "SnpGuest",
    "Tee",
    "TrusteeFiles",
    "UnlockedContent",
    "UnlockedDisk",
    "UnpackedDisk",
    "Vmm",
    "WorkloadConfig",
    "broker_key",
    "build_image",
    "check_url",
    "expected_measurement",
    "extract",
    "inspect_disk",
    "inspect_image",
    "keep_passphrase",
    "key_url_fits",
    "new_passphrase",
    "parse_registration",
    "policy_for",
    "read_passphrase",
    "rekey_disk",
    "rekey_image",
    "require_evidence",
    "root_of_folder",
    "root_of_image",
    "trustee_files",
    "unlock",
    "unpack_disk",
    "unpacked_disk",
    "write_disk",
]

open_face(
    __name__,
    {
        "binding": ("Binding", "broker_key"),
        "build.image": ("BuiltImage", "DiskSizes", "ImageSpec", "build_image"),
        "build.registration": ("REGISTER_PATH", "Registration", "check_url", "key_url_fits", "parse_registration"),
        "extraction": ("Extraction", "extract"),
        "inspect.findings": ("BrokenRule", "Findings", "ImageEntry", "OuterImage", "UnlockedDisk"),
        "inspect.inspection": ("inspect_disk", "inspect_image"),
        "krun": ("Tee", "WorkloadConfig"),
        "measurement": (
            "GivenMeasurement",
            "KrunGuest",
            "LaunchDigest",
            "Measurement",
            "PageType",
            "SnpGuest",
            "Vmm",
            "expected_measurement",
        ),
        "passphrase": ("keep_passphrase", "new_passphrase", "read_passphrase"),
        "policy": ("policy_for", "require_evidence"),
        "rekey": ("Rekey", "Rekeyed", "rekey_disk", "rekey_image"),
        "source": ("Image", "Root", "root_of_folder", "root_of_image"),
        "trustee": ("TrusteeFiles", "trustee_files"),
        "unlocked": ("FoundFile", "UnlockedContent", "unlock", "write_disk"),
        "unpack": ("UnpackedDisk", "unpack_disk", "unpacked_disk"),
    },
)

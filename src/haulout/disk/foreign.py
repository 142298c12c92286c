"""Files that are recognised only to be refused with the right reason.

Formats that QEMU opens but that are not published (fewer parsers to trust), and files that are not disks until they are
decompressed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout.disk import vhd
from haulout.disk.info import Damaged, Danger, Finding

if TYPE_CHECKING:
    from haulout.disk.image import Image

_SECTOR = 512

_DISKS = (
    (0, b"QFI\xfb\0\0\0\1", "qcow", "a disk in the old qcow format"),
    (0, b"QED\0", "qed", "a disk in the abandoned qed format"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi", "a VirtualBox disk (vdi)"),
    (0, b"WithoutFreeSpace", "parallels", "a Parallels disk"),
    (0, b"WithouFreSpacExt", "parallels", "a Parallels disk"),
    (0, b"Bochs Virtual HD Image", "bochs", "a Bochs disk"),
    (0, b"#!/bin/sh\n#V2.0 Format\n", "cloop", "a compressed loop image (cloop)"),
)
_FOOTERS = ((512, b"koly", "dmg", "a macOS disk image (dmg)"),)
_COMPRESSED = (
    (b"\x1f\x8b\x08", "gzip", "gzip -d"),
    (b"\xfd7zXZ\0", "xz", "xz -d"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -d"),
    (b"BZh", "bzip2", "bzip2 -d"),
    (b"PK\x03\x04", "zip", "unzip"),
    (b"7z\xbc\xaf\x27\x1c", "7z", "7z x"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4 -d"),
    (b"LZIP", "lzip", "lzip -d"),
)
EXPANDED = {"gzip": "gz", "xz": "xz", "zstd": "zst", "bzip2": "bz2"}
"""Compressions that a push expands, under the names of content.expand."""
_SKIPPABLE = b"\x2a\x4d\x18"
"""Bytes 1 to 3 of a skippable zstd frame, by which a stream may begin."""


def probe(image: Image) -> list[Finding]:
    """Return what is recognised only to be refused; usually nothing."""
    start = image.read(0, _SECTOR)
    found: dict[str, Finding] = {}
    for offset, magic, name, description in _DISKS:
        if start[offset : offset + len(magic)] == magic:
            found[name] = _disk(name, description)
    for distance, magic, name, description in _FOOTERS:
        if image.size >= distance and image.read(image.size - distance, len(magic)) == magic:
            found[name] = _disk(name, description)
    if vhd.is_vhd(image):
        found["vhd"] = _vhd(image)
    if start.startswith(b"LUKS\xba\xbe"):
        found["luks"] = Finding(
            "luks",
            None,
            dangers=(
                Danger(
                    "encrypted",
                    "it is a LUKS volume: all of its content is encrypted",
                    "publish what is in it (cryptsetup open), or build an image that is unlocked where it may run: "
                    "haulout cw build",
                ),
            ),
        )
    for magic, name, command in _COMPRESSED:
        if start.startswith(magic):
            found[name] = _compressed(name, command)
    if start[1:4] == _SKIPPABLE and 0x50 <= start[0] <= 0x5F:
        found["zstd"] = _compressed("zstd", "zstd -d")
    return list(found.values())


def _disk(name: str, description: str) -> Finding:
    return Finding(
        name,
        None,
        dangers=(
            Danger("unsupported", f"it is {description}", f"convert it first: qemu-img convert -f {name} -O qcow2"),
        ),
    )


def _vhd(image: Image) -> Finding:
    try:
        parsed = vhd.parse(image)
    except Damaged as damage:
        return Finding("vhd", None, dangers=(damage.danger,))
    return Finding(
        "vhd",
        None,
        parsed.size,
        details={"kind": parsed.kind},
        dangers=(
            Danger(
                "wrapped",
                "it is a Virtual PC disk (vhd), which is published as the raw disk it holds",
                "if a push refuses it, take the disk out of it first: qemu-img convert -f vpc -O raw FILE disk.raw",
            ),
        ),
    )


def _compressed(name: str, command: str) -> Finding:
    return Finding(
        name,
        None,
        compressed=True,
        dangers=(
            Danger(
                "compressed",
                f"it is a compressed file ({name}), not a plain disk",
                f"haulout push expands it; by hand: {command}" if name in EXPANDED else f"decompress it: {command}",
            ),
        ),
    )

"""VMDK: VMware's disk format, in its two kinds that are one file: monolithicSparse and streamOptimized.

Source: VMware's "Virtual Disk Format 5.0". All other kinds are descriptors that name other files; those were used to
read a host's own files (CVE-2022-47951), so the descriptor inside the file is held to a list of what it may say.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.disk.format import Format
from haulout.disk.info import Damaged, Danger, Finding
from haulout.disk.types import DiskFormat

if TYPE_CHECKING:
    from haulout.disk.image import Image
    from haulout.disk.info import Detail

MAGIC = b"KDMV"
_TEXT_MAGIC = b"# Disk DescriptorFile"
_ESX_MAGIC = b"COWD"
_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH")
_CID_DIGITS = 8
_SECTOR = 512

_SPARE, _COMPRESSED, _MARKERS = 1 << 1, 1 << 16, 1 << 17
_AT_END = 0xFFFF_FFFF_FFFF_FFFF
_FOOTER_MARKER = 3

MAX_DESCRIPTOR = 64 << 10
_KINDS = frozenset({"monolithicSparse", "streamOptimized"})
_KEYS = frozenset({"version", "encoding", "cid", "parentcid", "isnativesnapshot", "createtype"})
_ASSIGNMENT = re.compile(r"([A-Za-z][A-Za-z0-9_.]*)\s*=\s*(?:\"([^\"]*)\"|(\S*))")
_EXTENT = re.compile(r'(RW|RDONLY)\s+(\d{1,18})\s+SPARSE\s+"([^"/\\]{1,255})"')


@dataclass(frozen=True, slots=True)
class _Header:
    version: int
    flags: int
    capacity: int
    grain: int
    descriptor_offset: int
    descriptor_sectors: int
    entries_per_table: int
    spare_directory: int
    directory: int
    overhead: int
    compression: int


def probe(image: Image) -> Finding | None:
    """Recognise a VMDK file and say what is wrong with it; None for anything else."""
    start = image.read(0, 512)
    if start.startswith(_ESX_MAGIC):
        raise Damaged("it is a VMDK of ESX's own kind (COWD)", rule="unsupported", hint="make it monolithicSparse")
    if start.lstrip(b" \t\r\n#").lower().startswith(_TEXT_MAGIC.lstrip(b"# ").lower()):
        raise Damaged(
            "it is a VMDK descriptor, which only names the files that hold the data",
            rule="data-file",
            hint="make one file of it where those files are: qemu-img convert -f vmdk -O vmdk",
        )
    if not start.startswith(MAGIC):
        return None
    header = _parse(image.exact(0, _HEADER.size, "header"))
    dangers: list[Danger] = []
    try:
        _check(image, header)
        dangers += _footer(image, header)
        text = image.exact(header.descriptor_offset * _SECTOR, header.descriptor_sectors * _SECTOR, "descriptor")
        kind = _descriptor(text, header.capacity, dangers)
    except Damaged as damage:
        dangers.append(damage.danger)
        kind = ""
    details: dict[str, Detail] = {"kind": kind or "unknown", "grain size": header.grain * _SECTOR}
    return Finding(
        "vmdk",
        DiskFormat.VMDK,
        header.capacity * _SECTOR,
        compressed=bool(header.flags & _COMPRESSED),
        details=details,
        dangers=tuple(dangers),
    )


def _parse(data: bytes) -> _Header:
    fields = _HEADER.unpack(data)[1:]
    version, flags, capacity, grain, offset, sectors, entries, spare, directory, overhead, _, _, compression = fields
    return _Header(version, flags, capacity, grain, offset, sectors, entries, spare, directory, overhead, compression)


def _check(image: Image, header: _Header) -> None:
    if header.version not in {1, 2, 3}:
        raise Damaged(f"it is VMDK of version {header.version}; known are 1 to 3", rule="unknown-version")
    if header.grain not in {1 << bits for bits in range(3, 18)}:
        raise Damaged(f"its grain size of {header.grain} sectors is impossible")
    if not 0 < header.entries_per_table <= 512:
        raise Damaged(f"its grain tables of {header.entries_per_table} entries are impossible")
    # QEMU takes a capacity of 0 to mean: what counts is the list of other files in the descriptor.
    if not 0 < header.capacity <= 1 << 54:
        raise Damaged(f"its capacity of {header.capacity} sectors is impossible")
    if bool(header.flags & _COMPRESSED) != (header.compression == 1) or header.compression > 1:
        raise Damaged("its compression method is unknown or contradicts its flags", rule="unknown-feature")
    if not 0 < header.descriptor_sectors <= MAX_DESCRIPTOR // _SECTOR or not header.descriptor_offset:
        raise Damaged("it has no descriptor inside, or one of impossible size")
    if header.overhead * _SECTOR > image.size:
        raise Damaged("its tables lie outside the file", rule="truncated", hint="is the file complete?")
    if header.directory != _AT_END:
        tables = -(-header.capacity // (header.grain * header.entries_per_table))
        places = (header.directory, header.spare_directory) if header.flags & _SPARE else (header.directory,)
        if not all(place and place * _SECTOR + tables * 4 <= image.size for place in places):
            raise Damaged("its grain directory lies outside the file", rule="truncated", hint="is the file complete?")


def _footer(image: Image, header: _Header) -> list[Danger]:
    """Compare header and footer: a stream ends with a copy of its header that knows where the directory is."""
    if header.directory != _AT_END:
        return []
    if not header.flags & _MARKERS:
        raise Damaged("its header points at a footer that it cannot have")
    tail = image.exact(image.size - 3 * _SECTOR, 3 * _SECTOR, "footer")
    if struct.unpack_from("<I", tail, 12)[0] != _FOOTER_MARKER or tail[_SECTOR : _SECTOR + 4] != MAGIC:
        raise Damaged("its footer is missing", rule="truncated", hint="is the file complete?")
    footer = _parse(tail[_SECTOR : _SECTOR + _HEADER.size])
    same = ("version", "flags", "capacity", "grain", "descriptor_offset", "descriptor_sectors", "entries_per_table")
    if any(getattr(footer, name) != getattr(header, name) for name in same) or footer.compression != header.compression:
        return [Danger("contradiction", "its header and its footer differ")]
    _check(image, footer)
    if footer.directory == _AT_END:
        raise Damaged("its footer does not say where the grain directory is")
    return []


def _descriptor(text: bytes, capacity: int, dangers: list[Danger]) -> str:
    """Judge the descriptor line by line, and return the kind of disk it claims.

    Programs search it in cruder ways than by lines (QEMU takes the first place where the name of a key stands, comments
    included), so a comment must not hold anything that could be taken for more.
    """
    text, _, rest = text.partition(b"\0")
    # QEMU rewrites the content id in place and does not clear what a shorter one leaves of the old end: at most as many
    # bytes as an id has digits.
    left = rest.rstrip(b"\0")
    if left and not (len(left) < _CID_DIGITS and text.endswith(left)):
        dangers.append(Danger("contradiction", "its descriptor goes on behind its end"))
    values: dict[str, str] = {}
    extents: list[int] = []
    for number, raw_line in enumerate(text.decode("latin-1").splitlines(), 1):
        line = raw_line.strip()
        if extent := _EXTENT.fullmatch(line):
            extents.append(int(extent[2]))
        elif assignment := _ASSIGNMENT.fullmatch(line):
            value = assignment[2] if assignment[2] is not None else assignment[3]
            dangers += _judge_key(assignment[1], values)
            values[assignment[1].lower()] = value
        elif line and not (line.startswith("#") and "=" not in line):
            dangers.append(Danger("data-file", f"line {number} of its descriptor may name another file"))
    kind = values.get("createtype", "")
    if kind not in _KINDS:
        dangers.append(Danger("unsupported", f"it is of the VMDK kind {kind[:40]!r}", "make it monolithicSparse"))
    if values.get("parentcid", "").lower() != "ffffffff":
        dangers.append(Danger("backing-file", "its descriptor says it has a parent"))
    if len(extents) != 1:
        dangers.append(Danger("data-file", f"its descriptor lists {len(extents)} extents instead of one"))
    elif extents[0] != capacity:
        dangers.append(Danger("contradiction", "its descriptor and its header disagree on the size of the disk"))
    return kind if kind in _KINDS else ""


def _judge_key(key: str, seen: dict[str, str]) -> list[Danger]:
    folded = key.lower()
    if folded.startswith("parentfilename"):
        return [Danger("backing-file", "its descriptor names a parent file")]
    if folded not in _KEYS and not folded.startswith("ddb."):
        return [Danger("unknown-feature", f"its descriptor sets {key[:40]!r}, which is unknown")]
    if folded in seen:
        return [Danger("contradiction", f"its descriptor sets {key[:40]!r} twice")]
    return []


FORMAT: Final = Format(
    DiskFormat.VMDK,
    probe,
    "vmdk",
    # VMware Workstation and Fusion, VirtualBox and QEMU run it as it is, and ESX imports it (``vmkfstools -i``).
    # streamOptimized is for OVA files: compressed, so zstd could not, and read-only for most programs.
    qemu_options="subformat=monolithicSparse,adapter_type=lsilogic",
)

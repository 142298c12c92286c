"""qcow2: QEMU's disk format, and the most dangerous one, for its header can name other files.

Source: QEMU's ``docs/interop/qcow2.txt``; the limits are those of QEMU's ``block/qcow2.c``, so that what passes here is
what QEMU opens. A qcow2 file is accepted only if it stands alone: no backing file, no external data file, no snapshots,
no bitmaps, no encryption.
"""

from __future__ import annotations

import struct
import sys
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.disk.format import Format
from haulout.disk.info import Damaged, Danger, Finding
from haulout.disk.sparse import is_zero
from haulout.disk.types import DiskFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.disk.image import Image
    from haulout.disk.info import Detail

MAGIC = b"QFI\xfb"
_V2 = struct.Struct(">4sIQIIQIIQQIIQ")
_V3 = struct.Struct(">QQQII")

_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION, _EXTENDED_L2 = (1 << bit for bit in range(5))
_KNOWN_INCOMPATIBLE = _DIRTY | _CORRUPT | _DATA_FILE | _COMPRESSION | _EXTENDED_L2
_RAW_EXTERNAL = 1 << 1

_END = 0
_EXTENSIONS = {
    0xE2792ACA: Danger("backing-file", "it names the format of a backing file"),
    0x44415441: Danger("data-file", "it keeps its data in another file that it names"),
    0x23852875: Danger("bitmaps", "it carries dirty bitmaps of a running machine", "convert it with qemu-img first"),
    0x0537BE77: Danger("encrypted", "its content is encrypted"),
}
_MAX_EXTENSIONS = 64

MAX_L1_BYTES = 32 << 20
MAX_REFCOUNT_TABLE_BYTES = 8 << 20
MAX_L2_BYTES = 256 << 20
"""All L2 tables together; at the usual cluster size that is 2 TiB of data in use."""

_OFFSET = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED_FLAG = 1 << 62
_DEFLATE_RATIO = 1032


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a qcow2 header; offsets and sizes in bytes."""

    version: int
    backing_offset: int
    backing_length: int
    cluster_bits: int
    size: int
    encryption: int
    l1_entries: int
    l1_offset: int
    refcount_offset: int
    refcount_clusters: int
    snapshots: int
    incompatible: int = 0
    autoclear: int = 0
    refcount_order: int = 4
    length: int = _V2.size
    compression: int = 0

    @property
    def cluster(self) -> int:
        """Return the cluster size."""
        return 1 << self.cluster_bits

    @property
    def l2_entry_size(self) -> int:
        """Return the bytes of one L2 entry: with extended L2 entries a bitmap follows each word."""
        return 16 if self.incompatible & _EXTENDED_L2 else 8


def probe(image: Image) -> Finding | None:
    """Recognise a qcow2 file and say what is wrong with it; None for anything else."""
    magic = image.read(0, 8)
    # Version 1 is another format, refused elsewhere.
    if not magic.startswith(MAGIC) or magic[4:] == b"\0\0\0\1":
        return None
    header = _header(image)
    dangers = _features(image, header)
    compressed = False
    try:
        dangers += _extensions(image, header)
        _check_tables(image, header)
        # The tables of a file with an external data file speak about that file, and are none of our business.
        if not dangers:
            compressed, dangers = _walk(image, header)
    except Damaged as damage:
        dangers.append(damage.danger)
    details: dict[str, Detail] = {
        "version": header.version,
        "cluster size": header.cluster,
        "extended L2": bool(header.incompatible & _EXTENDED_L2),
        "compression": {0: "zlib", 1: "zstd"}.get(header.compression, "unknown"),
    }
    return Finding(
        "qcow2",
        DiskFormat.QCOW2,
        header.size,
        compressed=compressed,
        details=details,
        dangers=tuple(dict.fromkeys(dangers)),
    )


def start_of_disk(image: Image, length: int) -> Iterator[tuple[int, int]]:
    """Yield where in the file the first bytes of the guest's disk are: offset and length of each stored cluster.

    Args:
        image: a qcow2 file without dangers.
        length: bytes of the disk, at most those that one L2 table of the smallest clusters covers, 32 KiB.

    Raises:
        Damaged: a table lies outside the file.
    """
    header = _header(image)
    table = int.from_bytes(image.exact(header.l1_offset, 8, "L1 table"), "big") & _OFFSET
    for number in range(-(-length // header.cluster) if table else 0):
        entry = int.from_bytes(image.exact(table + number * header.l2_entry_size, 8, "L2 table"), "big")
        compressed = entry & _COMPRESSED_FLAG
        offset = entry & ((1 << (62 - (header.cluster_bits - 8))) - 1 if compressed else _OFFSET)
        if offset:
            yield offset, header.cluster


def _header(image: Image) -> Header:
    fields = _V2.unpack(image.exact(0, _V2.size, "header"))[1:]
    version, backing_offset, backing_length, cluster_bits, size, encryption, l1_entries, l1_offset = fields[:8]
    refcount_offset, refcount_clusters, snapshots, snapshots_offset = fields[8:]
    if version not in {2, 3}:
        raise Damaged(f"it is qcow2 of version {version}; known are 2 and 3", rule="unknown-version")
    if not 9 <= cluster_bits <= 21:
        raise Damaged(f"its cluster size of 2^{cluster_bits} bytes is impossible")
    if snapshots_offset % (1 << cluster_bits) or snapshots_offset >> 63:
        raise Damaged("its snapshot table lies at an impossible place")
    incompatible, autoclear, refcount_order, length, compression = 0, 0, 4, _V2.size, 0
    if version == 3:
        incompatible, _, autoclear, refcount_order, length = _V3.unpack(image.exact(_V2.size, _V3.size, "header"))
        if not _V2.size + _V3.size <= length <= 1 << cluster_bits or length % 8:
            raise Damaged(f"its header length of {length} bytes is impossible")
        if length > _V2.size + _V3.size:
            compression = image.exact(_V2.size + _V3.size, 1, "header")[0]
    return Header(
        version,
        backing_offset,
        backing_length,
        cluster_bits,
        size,
        encryption,
        l1_entries,
        l1_offset,
        refcount_offset,
        refcount_clusters,
        snapshots,
        incompatible,
        autoclear,
        refcount_order,
        length,
        compression,
    )


def _features(image: Image, header: Header) -> list[Danger]:
    """Judge what the fixed part of the header asks for."""
    dangers = []
    if header.backing_offset or header.backing_length:
        name = image.read(header.backing_offset, min(header.backing_length, 1023)).decode("ascii", "backslashreplace")
        shown = "".join(c if c.isprintable() else "?" for c in name[:80])
        dangers.append(
            Danger(
                "backing-file",
                f"it is only an overlay of another file, {shown!r}",
                "flatten it where its backing file is: qemu-img convert -f qcow2 -O qcow2",
            )
        )
    bits = header.incompatible
    if bits & _DATA_FILE or header.autoclear & _RAW_EXTERNAL:
        dangers.append(_EXTENSIONS[0x44415441])
    if header.encryption:
        dangers.append(_EXTENSIONS[0x0537BE77])
    if header.snapshots:
        dangers.append(
            Danger(
                "snapshots",
                f"it holds {header.snapshots} internal snapshots, that is, data of other moments",
                "qemu-img convert makes a copy without them",
            )
        )
    if bits & _CORRUPT:
        dangers.append(Danger("corrupt", "QEMU marked it as corrupt", "qemu-img check -r all may repair it"))
    if bits & _DIRTY:
        dangers.append(Danger("dirty", "it was not closed cleanly", "stop its machine, or: qemu-img check -r all"))
    if bits & ~_KNOWN_INCOMPATIBLE:
        dangers.append(Danger("unknown-feature", f"it needs unknown features (bits {bits & ~_KNOWN_INCOMPATIBLE:#x})"))
    if header.compression > 1 or bool(bits & _COMPRESSION) != bool(header.compression):
        dangers.append(Danger("unknown-feature", "its compression method is unknown or contradicts its feature bits"))
    if bits & _EXTENDED_L2 and header.cluster_bits < 14:
        dangers.append(Danger("damaged", "its clusters are too small for the extended L2 entries it claims"))
    return dangers


def _extensions(image: Image, header: Header) -> list[Danger]:
    """Judge the header extensions, which end with type 0, at the backing file's name, or with the first cluster."""
    dangers: list[Danger] = []
    position = header.length
    end = header.cluster
    if header.length <= header.backing_offset < end:
        end = header.backing_offset
    for _ in range(_MAX_EXTENSIONS):
        if position + 8 > end:
            return dangers
        kind, length = struct.unpack(">II", image.exact(position, 8, "header extension"))
        if kind == _END:
            return dangers
        position += 8
        if length > end - position:
            raise Damaged("a header extension reaches past its cluster")
        # An empty extension of these kinds does nothing, but no writer makes one.
        if kind in _EXTENSIONS and _EXTENSIONS[kind] not in dangers:
            dangers.append(_EXTENSIONS[kind])
        position += -(-length // 8) * 8
    raise Damaged("it has more header extensions than any valid file")


def _check_tables(image: Image, header: Header) -> None:
    """Check that the two top tables are there, aligned, of a size QEMU takes, and enough for the disk."""
    cluster = header.cluster
    if header.refcount_order > 6:
        raise Damaged(f"its reference counts of 2^{header.refcount_order} bits are impossible")
    reach = cluster * (cluster // header.l2_entry_size)
    needed = -(-header.size // reach)
    if header.size >= 1 << 63 or needed * 8 > MAX_L1_BYTES:
        raise Damaged(f"its virtual size of {header.size} bytes is beyond what its clusters can address")
    # QEMU does not write such a size, and rounds it down where it meets one; others may round it up.
    if header.size % 512:
        raise Damaged(f"its virtual size of {header.size} bytes is not one of whole sectors")
    if header.l1_entries * 8 > MAX_L1_BYTES or header.l1_entries < needed:
        raise Damaged(f"its L1 table of {header.l1_entries} entries does not fit a disk of {header.size} bytes")
    if not 0 < header.refcount_clusters * cluster <= max(MAX_REFCOUNT_TABLE_BYTES, cluster):
        raise Damaged(f"its reference count table of {header.refcount_clusters} clusters is impossible")
    for name, offset, length in (
        ("L1 table", header.l1_offset, header.l1_entries * 8),
        ("reference count table", header.refcount_offset, header.refcount_clusters * cluster),
    ):
        if length and (offset % cluster or offset < cluster):
            raise Damaged(f"its {name} lies at an impossible place")
        if offset + length > image.size:
            raise Damaged(f"its {name} lies outside the file", rule="truncated", hint="is the file complete?")


def _walk(image: Image, header: Header) -> tuple[bool, list[Danger]]:
    """Visit every L2 table once: are clusters compressed, inside the file, and each used once?

    Without snapshots nothing is shared, so more clusters in use than the file has room for is a bomb.
    """
    l1 = _words(image.exact(header.l1_offset, header.l1_entries * 8, "L1 table"))
    tables = [entry & _OFFSET for entry in l1 if entry & _OFFSET]
    if len(tables) * header.cluster > MAX_L2_BYTES:
        raise Damaged("its tables are larger than any valid disk needs", rule="oversized-tables")
    if len(set(tables)) != len(tables):
        raise Damaged("two places of its L1 table lead to the same L2 table", rule="shared-clusters")
    step = header.l2_entry_size // 8
    plain = packed = last = 0
    for offset in tables:
        if offset % header.cluster:
            raise Damaged("an L2 table lies at an impossible place")
        table = image.exact(offset, header.cluster, "L2 table")
        if is_zero(table):
            continue
        entries = _words(table)[::step]
        used = [entry & _OFFSET for entry in entries if entry & _OFFSET and not entry & _COMPRESSED_FLAG]
        packed += sum(1 for entry in entries if entry & _COMPRESSED_FLAG)
        plain += len(used)
        last = max(last, max(used, default=0))
    dangers = []
    if last + header.cluster > -(-image.size // header.cluster) * header.cluster:
        dangers.append(Danger("truncated", "some of its data lies outside the file", "is the file complete?"))
    least = header.cluster // _DEFLATE_RATIO if header.compression == 0 else 1
    if plain * header.cluster + packed * least > image.size + header.cluster:
        dangers.append(Danger("shared-clusters", "it maps the same data many times, as decompression bombs do"))
    return packed > 0, dangers


def _words(data: bytes) -> array[int]:
    words = array("Q")
    words.frombytes(data)
    if sys.byteorder == "little":
        words.byteswap()
    return words


FORMAT: Final = Format(
    DiskFormat.QCOW2,
    probe,
    "qcow2",
    # Version 3, not compressed: zstd around it compresses better, and equal data stays equal bytes, which compressed
    # clusters would hide.
    qemu_options="compat=1.1,cluster_size=65536,lazy_refcounts=off,preallocation=off",
)

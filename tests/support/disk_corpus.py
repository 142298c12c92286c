"""Hostile and broken disk images, written byte by byte, and the rule that refuses each."""

import struct
import uuid
import zlib
from collections.abc import Callable

from haulout.disk import DiskFormat
from haulout.disk.formats.vhdx import crc32c

MIB = 1 << 20


# --- builders: a good file of each format, with holes for lies ---------------------------------------------------------


def qcow2(
    *,
    version=3,
    backing=(0, 0),
    cluster_bits=16,
    size=64 * MIB,
    crypt=0,
    l1=(1, 0x30000),
    refcount=(0x10000, 1),
    snapshots=0,
    incompatible=0,
    autoclear=0,
    order=4,
    header_length=104,
    compression=None,
    extensions=(),
    l1_entries=(0,),
    clusters=(),
    length=0x40000,
    name=b"",
):
    """A qcow2 file: header, refcount table at 64 KiB, one refcount block, L1 table at 192 KiB."""
    head = struct.pack(
        ">4sIQIIQIIQQIIQ",
        b"QFI\xfb",
        version,
        *backing,
        cluster_bits,
        size,
        crypt,
        *l1,
        *refcount,
        snapshots,
        0,
    )
    if version == 3:
        head += struct.pack(">QQQII", incompatible, 0, autoclear, order, header_length)
    if compression is not None:
        head += bytes([compression]) + bytes(7)
    for kind, data in extensions:
        head += struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)
    file = bytearray(max(length, len(head)))
    file[: len(head)] = head
    if name:
        file[backing[0] : backing[0] + len(name)] = name
    put(file, 0x10000, struct.pack(">Q", 0x20000))
    put(file, 0x30000, struct.pack(f">{len(l1_entries)}Q", *l1_entries))
    for offset, data in clusters:
        put(file, offset, data)
    return bytes(file)


def put(file, offset, data):
    if offset + len(data) <= len(file):
        file[offset : offset + len(data)] = data


def l2(*entries):
    return struct.pack(f">{len(entries)}Q", *entries)


DESCRIPTOR = b"""# Disk DescriptorFile
version=1
CID=93a22919
parentCID=ffffffff
createType="monolithicSparse"

# Extent description
RW 2048 SPARSE "disk.vmdk"

# The Disk Data Base
#DDB

ddb.virtualHWVersion = "4"
"""


def vmdk(
    *,
    version=1,
    flags=3,
    capacity=2048,
    grain=128,
    descriptor=DESCRIPTOR,
    at=1,
    sectors=20,
    entries=512,
    directory=30,
    overhead=128,
    algorithm=0,
    footer=None,
):
    def header(directory):
        return struct.pack(
            "<4sIIQQQQIQQQB4sH",
            b"KDMV",
            version,
            flags,
            capacity,
            grain,
            at,
            sectors,
            entries,
            21,
            directory,
            overhead,
            0,
            b"\n \r\n",
            algorithm,
        ).ljust(512, b"\0")

    file = bytearray(65536)
    file[:512] = header(directory)
    put(file, at * 512, descriptor)
    if footer is not None:
        file += struct.pack("<QII", 1, 0, 3).ljust(512, b"\0") + footer(header) + bytes(512)
    return bytes(file)


BAT = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
FILE_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
VIRTUAL_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
SECTOR_SIZE = uuid.UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
PARENT_LOCATOR = uuid.UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
PAGE_83 = uuid.UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
PHYSICAL_SECTOR_SIZE = uuid.UUID("cda348c7-445d-4471-9cc9-e9885251c556")
STRANGE = uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")


def sealed(data, length):
    data = data.ljust(length, b"\0")
    return data[:4] + struct.pack("<I", crc32c(data)) + data[8:]


def vhdx(
    *,
    heads=(b"head", b"head"),
    log=b"",
    version=1,
    regions=((BAT, 2 * MIB, MIB, 1), (METADATA, 3 * MIB, MIB, 1)),
    second=None,
    items=None,
    parameters=(MIB, 0),
    size=2 * MIB,
    sector=512,
    bat=(0, 0),
    length=4 * MIB,
    seal=sealed,
):
    file = bytearray(length)
    put(file, 0, b"vhdxfile")
    for number, magic in enumerate(heads):
        head = struct.pack("<4sIQ32s16sHHIQ", magic, 0, number, b"", log, 0, version, MIB, MIB)
        put(file, (64 + 64 * number) << 10, seal(head, 4096))
    for place, table in ((192, regions), (256, second or regions)):
        raw = struct.pack("<4sIII", b"regi", 0, len(table), 0)
        raw += b"".join(struct.pack("<16sQII", kind.bytes_le, *rest) for kind, *rest in table)
        put(file, place << 10, seal(raw, 65536))
    values = {
        FILE_PARAMETERS: struct.pack("<II", *parameters),
        VIRTUAL_SIZE: struct.pack("<Q", size),
        SECTOR_SIZE: struct.pack("<I", sector),
        PHYSICAL_SECTOR_SIZE: struct.pack("<I", 4096),
        PAGE_83: b"p" * 16,
    }
    if items:
        values |= items
    table, data = b"", b""
    for kind, value in values.items():
        if value is not None:
            table += struct.pack("<16sIIII", kind.bytes_le, 65536 + len(data), len(value), 4, 0)
            data += value
    count = sum(value is not None for value in values.values())
    put(file, 3 * MIB, struct.pack("<8sHH20s", b"metadata", 0, count, b"") + table)
    put(file, 3 * MIB + 65536, data)
    put(file, 2 * MIB, struct.pack(f"<{len(bat)}Q", *bat))
    return bytes(file)


def iso(*, blocks=20, big=None, block=2048, kind=1, length=20 * 2048):
    file = bytearray(max(length, 18 * 2048))
    primary = bytearray(2048)
    primary[:7] = bytes([kind]) + b"CD001\1"
    primary[40:72] = b"HAULOUT".ljust(32)
    primary[80:88] = struct.pack("<I", blocks) + struct.pack(">I", blocks if big is None else big)
    primary[128:132] = struct.pack("<H", block) + struct.pack(">H", block)
    file[32768 : 32768 + 2048] = primary
    file[34816 : 34816 + 7] = b"\xffCD001\1"
    return bytes(file)[:length]


def tar(*, size=b"00000000005\0", checksum=None, magic=b"ustar\x0000", data=b"hello", length=None):
    header = bytearray(512)
    header[0:8] = b"etc/name"
    header[100:124] = b"0000644\x000000000\x000000000\0"
    header[124:136] = size
    header[136:148] = b"00000000000\0"
    header[148:156] = b" " * 8
    header[156:157] = b"0"
    header[257:265] = magic
    value = sum(header) if checksum is None else checksum
    header[148:156] = b"%06o\0 " % value
    file = bytes(header) + data.ljust(512, b"\0") + bytes(1024)
    return file if length is None else file[:length]


def mbr(*entries, length=MIB):
    file = bytearray(length)
    for number, (flag, kind, start, count) in enumerate(entries):
        struct.pack_into("<B3sB3sII", file, 446 + 16 * number, flag, b"", kind, b"", start, count)
    file[510:512] = b"\x55\xaa"
    return bytes(file)


def gpt(
    *,
    length=MIB,
    sector=512,
    sectors=None,
    partitions=((64, 127),),
    here=1,
    backup=None,
    crc=None,
    entry_size=128,
    count=128,
    table_crc=None,
):
    """A GPT disk with its two headers; "sectors" is the size it believes in."""
    total = sectors or length // sector
    backup = total - 1 if backup is None else backup
    room = 128 * 128 // sector
    linux = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4").bytes_le
    table = b"".join(
        struct.pack("<16s16sQQQ72s", linux, bytes([number]) * 16, first, last, 0, b"r\0o\0")
        for number, (first, last) in enumerate(partitions, 1)
    ).ljust(128 * 128, b"\0")

    def header(here, other, table_at):
        raw = struct.pack("<8s4sIIIQQ", b"EFI PART", b"\0\0\1\0", 92, 0, 0, here, other)
        raw += struct.pack("<QQ16sQII", 2 + room, total - 2 - room, b"d" * 16, table_at, count, entry_size)
        raw += struct.pack("<I", zlib.crc32(table) if table_crc is None else table_crc)
        return raw[:16] + struct.pack("<I", zlib.crc32(raw) if crc is None else crc) + raw[20:]

    file = bytearray(mbr((0, 0xEE, 1, total - 1), length=length))
    put(file, sector, header(here, backup, 2))
    put(file, 2 * sector, table)
    put(file, backup * sector, header(backup, 1, backup - room))
    put(file, (backup - room) * sector, table)
    return bytes(file)


def ext4(*, blocks=256, length=MIB):
    file = bytearray(length)
    struct.pack_into("<IIIIIIII", file, 1024, 128, blocks, 0, 0, 0, 1, 2, 2)
    struct.pack_into("<II", file, 1024 + 32, 32768, 32768)
    struct.pack_into("<I", file, 1024 + 40, 128)
    file[1080:1082] = b"\x53\xef"
    struct.pack_into("<I", file, 1024 + 96, 0x40)
    return bytes(file)


def over(base, *pieces):
    file = bytearray(base)
    for offset, data in pieces:
        file[offset : offset + len(data)] = data
    return bytes(file)


def edited(old, new):
    assert old in DESCRIPTOR
    return vmdk(descriptor=DESCRIPTOR.replace(old, new))


GOOD: dict[str, tuple[DiskFormat, int, Callable[[], bytes]]] = {
    "qcow2 v3": (DiskFormat.QCOW2, 64 * MIB, qcow2),
    "qcow2 v2": (DiskFormat.QCOW2, 64 * MIB, lambda: qcow2(version=2)),
    "qcow2 zstd": (
        DiskFormat.QCOW2,
        64 * MIB,
        lambda: qcow2(header_length=112, compression=1, incompatible=8),
    ),
    "qcow2 unknown extension": (DiskFormat.QCOW2, 64 * MIB, lambda: qcow2(extensions=[(0x12345678, b"x" * 20)])),
    "qcow2 data": (
        DiskFormat.QCOW2,
        64 * MIB,
        lambda: qcow2(
            l1_entries=(1 << 63 | 0x40000,),
            clusters=[(0x40000, l2(1 << 63 | 0x50000))],
            length=0x60000,
        ),
    ),
    "vmdk": (DiskFormat.VMDK, MIB, vmdk),
    "vmdk stream with footer": (
        DiskFormat.VMDK,
        MIB,
        lambda: vmdk(
            version=3,
            flags=0x30001,
            directory=(1 << 64) - 1,
            algorithm=1,
            descriptor=DESCRIPTOR.replace(b"monolithicSparse", b"streamOptimized"),
            footer=lambda header: header(30),
        ),
    ),
    "vhdx": (DiskFormat.VHDX, 2 * MIB, vhdx),
    "vhdx one torn header": (DiskFormat.VHDX, 2 * MIB, lambda: vhdx(heads=(b"head", b"torn"))),
    "vhdx data": (DiskFormat.VHDX, 2 * MIB, lambda: vhdx(bat=(4 * MIB | 6, 5 * MIB | 6), length=6 * MIB)),
    "iso": (DiskFormat.ISO, 20 * 2048, iso),
    "iso hybrid mbr": (DiskFormat.ISO, 20 * 2048, lambda: over(iso(), (0, mbr((0x80, 0x17, 0, 80), length=512)))),
    "tar": (DiskFormat.TAR, 2048, tar),
    "tar v7": (DiskFormat.TAR, 2048, lambda: tar(magic=bytes(8))),
    "tar base-256": (DiskFormat.TAR, 2048, lambda: tar(size=b"\x80" + bytes(10) + b"\5")),
    "gpt": (DiskFormat.RAW, MIB, gpt),
    "gpt enlarged": (DiskFormat.RAW, 2 * MIB, lambda: gpt(sectors=2048, length=2 * MIB)),
    "gpt of large sectors": (DiskFormat.RAW, MIB, lambda: gpt(sector=4096)),
    "mbr": (DiskFormat.RAW, MIB, lambda: mbr((0x80, 0x83, 64, 128))),
    "ext4": (DiskFormat.RAW, MIB, ext4),
    "noise": (DiskFormat.RAW, 5000, lambda: b"\xa5" * 5000),
}

OUTSIDE = 0x7F000000

HOSTILE: dict[str, tuple[str, Callable[[], bytes]]] = {
    # qcow2: other files
    "backing file": ("backing-file", lambda: qcow2(backing=(0x200, 11), name=b"/etc/shadow")),
    "backing json": ("backing-file", lambda: qcow2(backing=(0x200, 24), name=b'json:{"driver":"file"...')),
    "backing http": ("backing-file", lambda: qcow2(backing=(0x200, 17), name=b"http://127.0.0.1/")),
    "backing in v2": ("backing-file", lambda: qcow2(version=2, backing=(0x200, 11), name=b"/etc/shadow")),
    "backing offset only": ("backing-file", lambda: qcow2(backing=(0x200, 0))),
    "backing length only": ("backing-file", lambda: qcow2(backing=(0, 11))),
    "backing name outside": ("backing-file", lambda: qcow2(backing=(1 << 40, 1023))),
    "backing name of 4 GiB": ("backing-file", lambda: qcow2(backing=(0x200, 0xFFFFFFFF))),
    "backing format": ("backing-file", lambda: qcow2(extensions=[(0xE2792ACA, b"raw")])),
    "backing format empty": ("backing-file", lambda: qcow2(extensions=[(0xE2792ACA, b"")])),
    "data file bit": ("data-file", lambda: qcow2(incompatible=4)),
    "data file name": ("data-file", lambda: qcow2(extensions=[(0x44415441, b"/etc/shadow")])),
    "data file behind another": (
        "data-file",
        lambda: qcow2(extensions=[(0x6803F857, bytes(48)), (0x44415441, b"/etc/shadow")]),
    ),
    "raw external": ("data-file", lambda: qcow2(autoclear=2)),
    # qcow2: what does not belong
    "encrypted aes": ("encrypted", lambda: qcow2(crypt=1)),
    "encrypted luks": ("encrypted", lambda: qcow2(crypt=2)),
    "crypto header": ("encrypted", lambda: qcow2(extensions=[(0x0537BE77, bytes(16))])),
    "snapshots": ("snapshots", lambda: qcow2(snapshots=1)),
    "bitmaps": ("bitmaps", lambda: qcow2(extensions=[(0x23852875, bytes(24))])),
    "dirty": ("dirty", lambda: qcow2(incompatible=1)),
    "corrupt": ("corrupt", lambda: qcow2(incompatible=2)),
    "unknown bit": ("unknown-feature", lambda: qcow2(incompatible=1 << 40)),
    "unknown compression": ("unknown-feature", lambda: qcow2(header_length=112, compression=7, incompatible=8)),
    "compression without bit": ("unknown-feature", lambda: qcow2(header_length=112, compression=1)),
    "version 4": ("unknown-version", lambda: qcow2(version=4)),
    "version 0": ("unknown-version", lambda: qcow2(version=0)),
    # qcow2: lies and damage
    "cluster bits 0": ("damaged", lambda: qcow2(cluster_bits=0)),
    "cluster bits 63": ("damaged", lambda: qcow2(cluster_bits=63)),
    "header length 4 GiB": ("damaged", lambda: qcow2(header_length=0xFFFFFFF8)),
    "header length 96": ("damaged", lambda: qcow2(header_length=96)),
    "endless extension": ("damaged", lambda: qcow2(extensions=[(1, b"")]) [:104] + struct.pack(">II", 1, 1 << 31) + bytes(1 << 18)),
    "thousand extensions": ("damaged", lambda: qcow2(extensions=[(1, b"")] * 1000)),
    "refcount order": ("damaged", lambda: qcow2(order=63)),
    "extended L2 of small clusters": ("damaged", lambda: qcow2(incompatible=16, cluster_bits=9, size=512)),
    "snapshot table misaligned": ("damaged", lambda: over(qcow2(), (0x47, b"\2"))),
    "snapshot table at 2^63": ("damaged", lambda: over(qcow2(), (0x40, b"\x80"))),
    "virtual size overflow": ("damaged", lambda: qcow2(size=(1 << 64) - 512)),
    "virtual size of part of a sector": ("damaged", lambda: qcow2(size=MIB + 2)),
    "virtual size beyond L1": ("damaged", lambda: qcow2(size=1 << 40)),
    "L1 of 32 GiB": ("damaged", lambda: qcow2(l1=(0xFFFFFFFF, 0x30000))),
    "L1 outside": ("truncated", lambda: qcow2(l1=(1, OUTSIDE))),
    "L1 at 2^63": ("truncated", lambda: qcow2(l1=(1, 1 << 63))),
    "L1 over header": ("damaged", lambda: qcow2(l1=(1, 0))),
    "L1 misaligned": ("damaged", lambda: qcow2(l1=(1, 0x30008))),
    "refcounts outside": ("truncated", lambda: qcow2(refcount=(OUTSIDE, 1))),
    "no refcounts": ("damaged", lambda: qcow2(refcount=(0x10000, 0))),
    "refcounts of 4 TiB": ("damaged", lambda: qcow2(refcount=(0x10000, 0xFFFFFFFF))),
    "L2 outside": ("truncated", lambda: qcow2(l1_entries=(OUTSIDE,))),
    "L2 misaligned": ("damaged", lambda: qcow2(l1_entries=(0x20200,))),
    "L2 shared": (
        "shared-clusters",
        lambda: qcow2(size=1 << 30, l1=(2, 0x30000), l1_entries=(0x20000, 0x20000)),
    ),
    "data outside": (
        "truncated",
        lambda: qcow2(l1_entries=(0x40000,), clusters=[(0x40000, l2(OUTSIDE))], length=0x50000),
    ),
    "bomb of one cluster": (
        "shared-clusters",
        lambda: qcow2(
            size=512 * MIB, l1_entries=(0x40000,), clusters=[(0x40000, l2(*[0x50000] * 8192))], length=0x60000
        ),
    ),
    "bomb of one compressed cluster": (
        "shared-clusters",
        lambda: qcow2(
            size=512 * MIB, l1_entries=(0x40000,), clusters=[(0x40000, l2(*[1 << 62 | 0x50000] * 8192))], length=0x50200
        ),
    ),
    "qcow2 of a header": ("truncated", lambda: qcow2()[:104]),
    "qcow2 of a magic": ("truncated", lambda: b"QFI\xfb"),
    "qcow2 of no size": ("empty", lambda: qcow2(size=0)),
    # vmdk
    "vmdk flat extent": ("data-file", lambda: edited(b'SPARSE "disk.vmdk"', b'FLAT "/etc/shadow" 0')),
    "vmdk flat among": (
        "data-file",
        lambda: edited(b'"disk.vmdk"\n', b'"disk.vmdk"\nRW 2048 FLAT "/etc/shadow" 0\n'),
    ),
    "vmdk extent path": ("data-file", lambda: edited(b'"disk.vmdk"', b'"/etc/shadow"')),
    "vmdk extent parent path": ("data-file", lambda: edited(b'"disk.vmdk"', b'"../disk.vmdk"')),
    "vmdk two extents": (
        "data-file",
        lambda: edited(b'"disk.vmdk"\n', b'"disk.vmdk"\nRW 2048 SPARSE "other.vmdk"\n'),
    ),
    "vmdk no extent": ("data-file", lambda: edited(b'RW 2048 SPARSE "disk.vmdk"\n', b"")),
    "vmdk device extent": ("data-file", lambda: edited(b'SPARSE "disk.vmdk"', b'FLAT "/dev/sda" 0')),
    "vmdk kind flat": ("unsupported", lambda: edited(b"monolithicSparse", b"monolithicFlat")),
    "vmdk kind vmfs": ("unsupported", lambda: edited(b"monolithicSparse", b"vmfsSparse")),
    "vmdk kind missing": ("unsupported", lambda: edited(b'createType="monolithicSparse"\n', b"")),
    "vmdk kind twice": (
        "contradiction",
        lambda: edited(b"createType=", b'createType="monolithicFlat"\ncreateType='),
    ),
    "vmdk kind in comment": ("data-file", lambda: edited(b"# Extent", b'# createType="monolithicFlat"\n# Extent')),
    "vmdk parent": ("backing-file", lambda: edited(b"ffffffff", b"12345678")),
    "vmdk parent name": (
        "backing-file",
        lambda: edited(b"parentCID=ffffffff\n", b'parentCID=ffffffff\nparentFileNameHint="/etc/shadow"\n'),
    ),
    "vmdk parent name in comment": (
        "data-file",
        lambda: edited(b"# Extent", b'# parentFileNameHint="/etc/shadow"\n# Extent'),
    ),
    "vmdk unknown key": ("unknown-feature", lambda: edited(b"version=1", b'version=1\nchangeTrackPath="x"')),
    "vmdk descriptor goes on": ("contradiction", lambda: vmdk(descriptor=DESCRIPTOR + b'\0\0RW 1 FLAT "x" 0')),
    "vmdk size contradiction": ("contradiction", lambda: vmdk(capacity=4096)),
    "vmdk capacity 0": ("damaged", lambda: vmdk(capacity=0)),
    "vmdk grain 3": ("damaged", lambda: vmdk(grain=3)),
    "vmdk version 9": ("unknown-version", lambda: vmdk(version=9)),
    "vmdk no descriptor": ("damaged", lambda: vmdk(at=0, descriptor=b"")),
    "vmdk descriptor outside": ("truncated", lambda: vmdk(at=1 << 40)),
    "vmdk descriptor of 2^60": ("damaged", lambda: vmdk(sectors=1 << 60)),
    "vmdk directory outside": ("truncated", lambda: vmdk(directory=1 << 40)),
    "vmdk spare directory outside": ("truncated", lambda: over(vmdk(), (0x36, b"\xff"))),
    "vmdk tables outside": ("truncated", lambda: vmdk(overhead=1 << 40)),
    "vmdk compression": ("unknown-feature", lambda: vmdk(algorithm=9)),
    "vmdk footer missing": (
        "truncated",
        lambda: vmdk(flags=0x30001, directory=(1 << 64) - 1, algorithm=1),
    ),
    "vmdk footer differs": (
        "contradiction",
        lambda: vmdk(
            flags=0x30001,
            directory=(1 << 64) - 1,
            algorithm=1,
            footer=lambda header: over(header(30), (12, struct.pack("<Q", 1 << 40))),
            descriptor=DESCRIPTOR.replace(b"monolithicSparse", b"streamOptimized"),
        ),
    ),
    "vmdk footer without directory": (
        "damaged",
        lambda: vmdk(flags=0x30001, directory=(1 << 64) - 1, algorithm=1, footer=lambda header: header((1 << 64) - 1)),
    ),
    "vmdk text": ("data-file", lambda: DESCRIPTOR),
    "vmdk text behind blanks": ("data-file", lambda: b"\n\n" + DESCRIPTOR),
    "vmdk esx": ("unsupported", lambda: b"COWD" + bytes(2048)),
    "vmdk of a magic": ("truncated", lambda: b"KDMV"),
    # vhdx
    "vhdx parent bit": ("backing-file", lambda: vhdx(parameters=(MIB, 2))),
    "vhdx parent locator": ("backing-file", lambda: vhdx(items={PARENT_LOCATOR: bytes(20)})),
    "vhdx partial block": ("backing-file", lambda: vhdx(bat=(4 * MIB | 7, 0))),
    "vhdx log": ("dirty", lambda: vhdx(log=b"l" * 16)),
    "vhdx headers": ("damaged", lambda: vhdx(heads=(b"torn", b"torn"))),
    "vhdx checksums": ("damaged", lambda: vhdx(seal=lambda data, length: data.ljust(length, b"\0"))),
    "vhdx version": ("unknown-version", lambda: vhdx(version=2)),
    "vhdx tables differ": (
        "contradiction",
        lambda: vhdx(second=((BAT, 2 * MIB, MIB, 1), (METADATA, 1 * MIB, MIB, 1))),
    ),
    "vhdx region twice": (
        "contradiction",
        lambda: vhdx(regions=((BAT, 2 * MIB, MIB, 1), (BAT, 3 * MIB, MIB, 1))),
    ),
    "vhdx regions overlap": (
        "contradiction",
        lambda: vhdx(regions=((BAT, 2 * MIB, 2 * MIB, 1), (METADATA, 3 * MIB, MIB, 1))),
    ),
    "vhdx region outside": (
        "truncated",
        lambda: vhdx(regions=((BAT, 1 << 62, MIB, 1), (METADATA, 3 * MIB, MIB, 1))),
    ),
    "vhdx region misplaced": (
        "damaged",
        lambda: vhdx(regions=((BAT, 0, MIB, 1), (METADATA, 3 * MIB, MIB, 1))),
    ),
    "vhdx unknown region": (
        "unknown-feature",
        lambda: vhdx(regions=((BAT, 2 * MIB, MIB, 1), (METADATA, 3 * MIB, MIB, 1), (STRANGE, MIB, MIB, 1))),
    ),
    "vhdx missing region": ("damaged", lambda: vhdx(regions=((METADATA, 3 * MIB, MIB, 1),))),
    "vhdx unknown metadata": ("unknown-feature", lambda: vhdx(items={STRANGE: b"12345678"})),
    "vhdx missing size": ("damaged", lambda: vhdx(items={VIRTUAL_SIZE: None})),
    "vhdx missing identity": ("damaged", lambda: vhdx(items={PAGE_83: None})),
    "vhdx missing physical sector size": ("damaged", lambda: vhdx(items={PHYSICAL_SECTOR_SIZE: None})),
    "vhdx virtual size": ("damaged", lambda: vhdx(size=1 << 60)),
    "vhdx block size": ("damaged", lambda: vhdx(parameters=(3 * MIB, 0))),
    "vhdx sector size": ("damaged", lambda: vhdx(sector=7)),
    "vhdx short table": ("damaged", lambda: vhdx(size=1 << 40)),
    "vhdx data outside": ("truncated", lambda: vhdx(bat=(4 * MIB | 6, 0))),
    "vhdx data shared": ("shared-clusters", lambda: vhdx(bat=(4 * MIB | 6, 4 * MIB | 6), length=5 * MIB)),
    "vhdx of no size": ("empty", lambda: vhdx(size=0)),
    "vhdx of a magic": ("truncated", lambda: b"vhdxfile"),
    # iso, tar
    "iso truncated": ("truncated", lambda: iso(blocks=1000)),
    "iso contradiction": ("contradiction", lambda: iso(big=7)),
    "iso block size": ("damaged", lambda: iso(block=3)),
    "iso without primary": ("damaged", lambda: iso(kind=2)),
    "tar truncated": ("truncated", lambda: tar(size=b"77777777777\0")),
    "tar size": ("damaged", lambda: tar(size=b"not a number")),
    "tar checksum": ("damaged", lambda: tar(checksum=1)),
    # raw
    "gpt missing": ("partition-table", lambda: mbr((0, 0xEE, 1, 2047))),
    "gpt checksum": ("partition-table", lambda: gpt(crc=1)),
    "gpt table checksum": ("partition-table", lambda: gpt(table_crc=1)),
    "gpt in another place": ("partition-table", lambda: gpt(here=7)),
    "gpt of many entries": ("partition-table", lambda: gpt(count=0xFFFFFFFF)),
    "gpt of empty entries": ("partition-table", lambda: gpt(entry_size=0)),
    "gpt partition turned": ("partition-table", lambda: gpt(partitions=((127, 64),))),
    "gpt partition over table": ("partition-table", lambda: gpt(partitions=((1, 64),))),
    "gpt truncated": ("truncated", lambda: gpt(sectors=4096)),
    "gpt partition outside": ("truncated", lambda: gpt(sectors=4096, partitions=((64, 4000),))),
    "mbr partition outside": ("truncated", lambda: mbr((0, 0x83, 64, 1 << 31))),
    "mbr circle": (
        "partition-table",
        lambda: over(mbr((0, 5, 64, 1024)), (64 * 512, mbr((0, 0x83, 1, 1), (0, 5, 0, 1), length=512))),
    ),
    "ext4 truncated": ("truncated", lambda: ext4(blocks=1 << 30)),
    "empty": ("empty", lambda: b""),
    # other formats
    "qcow": ("unsupported", lambda: b"QFI\xfb\0\0\0\1" + bytes(1024)),
    "qed": ("unsupported", lambda: b"QED\0" + bytes(1024)),
    "vdi": ("unsupported", lambda: bytes(64) + b"\x7f\x10\xda\xbe" + bytes(1024)),
    "vhd dynamic": ("truncated", lambda: b"conectix" + bytes(2048)),
    "vhd fixed": ("damaged", lambda: gpt() + b"conectix".ljust(512, b"\0")),
    "vhd fixed of old": ("damaged", lambda: bytes(4096) + b"conectix".ljust(511, b"\0")),
    "dmg": ("unsupported", lambda: bytes(4096) + b"koly".ljust(512, b"\0")),
    "parallels": ("unsupported", lambda: b"WithoutFreeSpace" + bytes(1024)),
    "parallels extended": ("unsupported", lambda: b"WithouFreSpacExt" + bytes(1024)),
    "luks": ("encrypted", lambda: b"LUKS\xba\xbe\0\1" + bytes(4096)),
    "gzip": ("compressed", lambda: b"\x1f\x8b\x08" + bytes(100)),
    "xz": ("compressed", lambda: b"\xfd7zXZ\0" + bytes(100)),
    "zstd": ("compressed", lambda: b"\x28\xb5\x2f\xfd" + bytes(100)),
    "zstd skippable": ("compressed", lambda: b"\x5e\x2a\x4d\x18" + bytes(100)),
    "bzip2": ("compressed", lambda: b"BZh91AY&SY" + bytes(100)),
    "zip": ("compressed", lambda: b"PK\x03\x04" + bytes(100)),
    # two at once
    "qcow2 and gpt": ("polyglot", lambda: over(gpt(), (0, qcow2()[:112]))),
    "qcow2 and ext4": ("polyglot", lambda: over(qcow2(), (1024, ext4()[1024:2048]))),
    "qcow2 and iso": ("polyglot", lambda: over(qcow2(), (32768, iso()[32768:36864]))),
    "qcow2 and vdi": ("polyglot", lambda: over(qcow2(header_length=104), (0x40, b"\x7f\x10\xda\xbe"))),
    "qcow2 and vhd": ("polyglot", lambda: qcow2() + b"conectix".ljust(512, b"\0")),
    "vmdk and mbr": ("polyglot", lambda: over(vmdk(), (446, mbr((0x80, 0x83, 1, 100), length=512)[446:]))),
    "vhdx and iso": ("polyglot", lambda: over(vhdx(), (32768, iso()[32768:36864]))),
    "vhdx and gpt": ("polyglot", lambda: over(vhdx(), (512, gpt(length=4 * MIB)[512:17408]))),
    "iso and ext4": ("polyglot", lambda: over(iso(blocks=500, length=MIB), (1024, ext4()[1024:2048]))),
    "iso and tar": ("polyglot", lambda: over(iso(), (0, tar()[:1024]))),
    "tar and gpt": ("polyglot", lambda: over(gpt(), (0, tar()[:512]))),
}  # fmt: skip

"""Disks in what people hand them out in: stream VMDK as VMware's tools write it, OVA."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
import zlib

_SECTOR = 512
_AT_END = 0xFFFF_FFFF_FFFF_FFFF


def stream_vmdk(raw: bytes, *, version: int = 3, access: str = "RDONLY", grain: int = 128) -> bytes:
    """Write a streamOptimized VMDK (Virtual Disk Format 5.0): grains, then tables, each behind a marker, and a footer."""
    capacity, grain_bytes = len(raw) // _SECTOR, grain * _SECTOR
    descriptor = (
        '# Disk DescriptorFile\nversion=1\nCID=7d6e0b9e\nparentCID=ffffffff\nisNativeSnapshot="no"\n'
        'createType="streamOptimized"\n\n# Extent description\n'
        f'{access} {capacity} SPARSE "generated-stream.vmdk"\n\n# The Disk Data Base\n#DDB\n\n'
        'ddb.adapterType = "lsilogic"\nddb.encoding = "UTF-8"\nddb.toolsVersion = "2147483647"\n'
        'ddb.uuid = "60 00 C2 9f 6f 2e 6f 5e-7f 0a 41 53 8d 9b 9e 11"\nddb.virtualHWVersion = "13"\n'
    ).encode()

    def header(directory: int) -> bytes:
        fields = (b"KDMV", version, 0x30001, capacity, grain, 1, 20, 512, 0, directory, grain, 0, b"\n \r\n", 1)
        return struct.pack("<4sIIQQQQIQQQB4sH", *fields).ljust(_SECTOR, b"\0")

    def marker(sectors: int, kind: int) -> bytes:
        return struct.pack("<QII", sectors, 0, kind).ljust(_SECTOR, b"\0")

    out = bytearray((header(_AT_END) + descriptor.ljust(20 * _SECTOR, b"\0")).ljust(grain_bytes, b"\0"))
    tables = []
    for first in range(0, capacity, 512 * grain):
        table = []
        for sector in range(first, first + 512 * grain, grain):
            data = raw[sector * _SECTOR :][:grain_bytes]
            if not any(data):
                table.append(0)
                continue
            table.append(len(out) // _SECTOR)
            packed = zlib.compress(data.ljust(grain_bytes, b"\0"))
            piece = struct.pack("<QI", sector, len(packed)) + packed
            out += piece + bytes(-len(piece) % _SECTOR)
        out += marker(4, 1)
        tables.append(len(out) // _SECTOR)
        out += struct.pack("<512I", *table)
    sectors = -(-len(tables) * 4 // _SECTOR)
    out += marker(sectors, 2)
    directory = len(out) // _SECTOR
    out += struct.pack(f"<{len(tables)}I", *tables).ljust(sectors * _SECTOR, b"\0")
    return bytes(out + marker(1, 3) + header(directory) + bytes(_SECTOR))


def ova(*disks: tuple[str, bytes], manifest: str | None = "sha256", form: int = tarfile.USTAR_FORMAT) -> bytes:
    """Write an OVA: the description first, then the list of digests, then the disks."""
    members = [("machine.ovf", b"<?xml version='1.0'?><Envelope/>")]
    if manifest is not None:
        lines = (f"{manifest.upper()}({name})= {hashlib.new(manifest, data).hexdigest()}\n" for name, data in disks)
        members.append(("machine.mf", "".join(lines).encode()))
    return archive(*members, *disks, form=form)


def archive(*members: tuple[str, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """Write a tar archive of files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()

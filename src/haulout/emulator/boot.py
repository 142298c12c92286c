"""What an emulated guest boots, and the measurements that follow from it.

The measurements are made the way each TEE makes them, from the pages or digests of the files, in order; the addresses
at which files are loaded are the emulator's own. They change with every byte that is booted, and are not those that the
same files have on hardware.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from haulout.workload import LaunchDigest, PageType

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE: Final = 4096
_FIRST: Final = 0x0010_0000
"""Where the first file is loaded; each other begins at the page behind the one before."""
_CHUNK: Final = 256
"""Bytes that TDX measures at once."""


@dataclass(frozen=True, slots=True)
class Boot:
    """Files that are booted, in order, and the kernel's command line."""

    files: tuple[bytes, ...] = field(default=(), repr=False)
    command_line: str = ""

    def snp(self) -> bytes:
        """Return the launch digest of SEV-SNP: every page, with its address and type."""
        digest = LaunchDigest()
        for address, page in self._pages():
            digest.add(PageType.NORMAL, address, page)
        return digest.value

    def mrtd(self) -> bytes:
        """Return TDX's MRTD: every page is added, then extended by chunks (Intel, TDX Module Base Specification)."""
        running = hashlib.sha384()
        for address, page in self._pages():
            running.update(_tdx_record(b"MEM.PAGE.ADD", address))
            for offset in range(0, PAGE, _CHUNK):
                running.update(_tdx_record(b"MR.EXTEND", address + offset) + page[offset : offset + _CHUNK])
        return running.digest()

    def rtmr(self) -> tuple[bytes, bytes, bytes, bytes]:
        """Return TDX's RTMRs: files are extended into the first, the command line into the second."""
        first = bytes(48)
        for content in self.files:
            first = hashlib.sha384(first + hashlib.sha384(content).digest()).digest()
        second = hashlib.sha384(bytes(48) + hashlib.sha384(self.command_line.encode()).digest()).digest()
        return first, second, bytes(48), bytes(48)

    def rim(self) -> bytes:
        """Return CCA's realm initial measurement, by SHA-512: every page and its address, upon what was before."""
        running = bytes(64)
        for address, page in self._pages():
            content = hashlib.sha512(page).digest()
            running = hashlib.sha512(running + address.to_bytes(8, "little") + content).digest()
        return running

    def _pages(self) -> Iterator[tuple[int, bytes]]:
        address = _FIRST
        for content in (*self.files, self.command_line.encode() + b"\0"):
            for offset in range(0, len(content), PAGE):
                yield address, content[offset : offset + PAGE].ljust(PAGE, b"\0")
                address += PAGE


def _tdx_record(name: bytes, address: int) -> bytes:
    return (name.ljust(16, b"\0") + address.to_bytes(8, "little")).ljust(128, b"\0")

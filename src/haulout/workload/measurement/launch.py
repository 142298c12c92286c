"""The launch digest of SEV-SNP: what the firmware measures of a guest, page by page, before it runs.

Source: AMD, SEV Secure Nested Paging Firmware ABI Specification (56860), SNP_LAUNCH_UPDATE, structure PAGE_INFO. Pure.
"""

from __future__ import annotations

import hashlib
import struct
from enum import IntEnum
from typing import Final

PAGE: Final = 4096
_INFO: Final = struct.Struct("<48s48sHBBBBBBQ")
"""Digest so far, contents, length, page type, IMI flag, permissions of VMPL3, VMPL2, VMPL1, reserved, address."""


class PageType(IntEnum):
    """What a page is, as the firmware distinguishes it."""

    NORMAL = 1
    VMSA = 2
    ZERO = 3
    UNMEASURED = 4
    SECRETS = 5
    CPUID = 6


class LaunchDigest:
    """A digest under way; it begins with zeros."""

    def __init__(self) -> None:
        self.value = bytes(48)

    def add(self, kind: PageType, address: int, page: bytes | None = None) -> None:
        """Measure a page.

        Args:
            kind: its type. Contents are measured of normal pages and of VMSAs; of others, the type and the address.
            address: guest-physical, in bytes.
            page: its 4096 bytes, for the types that have contents.
        """
        measured = kind in {PageType.NORMAL, PageType.VMSA}
        if measured is not (page is not None) or (page is not None and len(page) != PAGE):
            raise ValueError(f"a page of type {kind.name} and its contents do not go together")
        contents = bytes(48) if page is None else hashlib.sha384(page).digest()
        self.value = hashlib.sha384(_INFO.pack(self.value, contents, _INFO.size, kind, 0, 0, 0, 0, 0, address)).digest()

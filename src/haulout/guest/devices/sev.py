"""SEV-SNP through ``/dev/sev-guest``: Linux 5.19 and later, include/uapi/linux/sev-guest.h."""

from __future__ import annotations

import os
import struct
from ctypes import addressof, create_string_buffer
from typing import TYPE_CHECKING, Final

from haulout.guest.devices.port import Answer
from haulout.guest.refusal import GuestRefusal, Rule
from haulout.local import control
from haulout.tee.snp import SIZE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GET_EXT_REPORT: Final = 0xC020_5302
"""_IOWR('S', 2, struct snp_guest_request_ioctl)."""
_REQUEST: Final = struct.Struct("<B7xQQQ")
"""struct snp_guest_request_ioctl: version, addresses of request and response, the firmware's error."""
_REPORT: Final = struct.Struct("<64sI28x")
"""struct snp_report_req: report data, VMPL."""
_CERTIFICATES: Final = struct.Struct("<QI4x")
"""What struct snp_ext_report_req has behind it: address and size of the room for certificates."""
_RESPONSE: Final = 4000
_STATUS: Final = struct.Struct("<II24x")
"""MSG_REPORT_RSP (SEV-SNP Firmware ABI, table 24): status, size of the report."""
_ROOM: Final = 16 << 10
_ENTRY: Final = struct.Struct("<16sII")
_MAX_ENTRIES: Final = 16
_KINDS: Final = (
    bytes.fromhex("63da758de6644564adc5f4b93be8accd"),
    bytes.fromhex("a8074bc2a25a483eaae639c045a0b8a1"),
    bytes.fromhex("4ab7b379bbac4fe4a02f05aef327c782"),
)
"""GUIDs of VCEK, VLEK and ASK in the table of certificates (GHCB specification, 4.1.8.1); the signer's come first."""


class SevDevice:
    """The device."""

    name = "SEV-SNP by /dev/sev-guest"
    tee = "snp"

    def __init__(self, path: Path, control: Callable[[int, int, bytearray], None] = control) -> None:
        self._path = path
        self._control = control

    def evidence(self, report_data: bytes) -> Answer:
        """Return evidence that carries these 64 bytes.

        Raises:
            GuestRefusal: the firmware or the host refuses.
        """
        room = create_string_buffer(_ROOM)
        request = create_string_buffer(
            _REPORT.pack(report_data, 0) + _CERTIFICATES.pack(addressof(room), _ROOM), _REPORT.size + _CERTIFICATES.size
        )
        response = create_string_buffer(_RESPONSE)
        try:
            device = os.open(self._path, os.O_RDWR)
            try:
                argument = bytearray(_REQUEST.pack(1, addressof(request), addressof(response), 0))
                self._control(device, GET_EXT_REPORT, argument)
            finally:
                os.close(device)
        except OSError as exc:
            raise GuestRefusal(Rule.DEVICE, f"{self.name} gives no evidence: {exc.strerror}") from exc
        status, size = _STATUS.unpack_from(response.raw)
        if status or size != SIZE:
            raise GuestRefusal(Rule.DEVICE, f"{self.name} gives no evidence: status {status}, {size} bytes")
        return Answer(self.tee, response.raw[_STATUS.size : _STATUS.size + size], read_certificates(room.raw))


def find_sev(root: Path) -> SevDevice | None:
    """Return the device; None: there is none."""
    path = root / "dev/sev-guest"
    return SevDevice(path) if path.exists() else None


def read_certificates(table: bytes) -> tuple[bytes, ...]:
    """Return the certificates of a table that the host gave, the signer's first; nobody vouches for them.

    Entries that lead out of the table are left out: the verifier judges what remains.
    """
    found: dict[bytes, bytes] = {}
    for number in range(min(_MAX_ENTRIES, len(table) // _ENTRY.size)):
        kind, offset, size = _ENTRY.unpack_from(table, number * _ENTRY.size)
        if not any(kind):
            break
        if size and offset + size <= len(table):
            found[kind] = table[offset : offset + size]
    return tuple(found[kind] for kind in _KINDS if kind in found)

"""An emulated TEE: a virtio-serial port, at whose other end a process of the host measures what was booted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from haulout.guest.devices.port import LONGEST, Answer, as_question, read_answer
from haulout.guest.launch import TEE_PORT
from haulout.guest.refusal import GuestRefusal, Rule

if TYPE_CHECKING:
    from pathlib import Path

_PIECE: Final = 4096


class EmulatedDevice:
    """A port."""

    def __init__(self, path: Path) -> None:
        self.name = f"an emulated TEE at {path}"
        self._path = path
        self.tee = self._ask(b"").tee

    def evidence(self, report_data: bytes) -> Answer:
        """Return evidence that carries these 64 bytes.

        Raises:
            GuestRefusal: nobody answers, or not in the protocol.
        """
        return self._ask(report_data)

    def _ask(self, report_data: bytes) -> Answer:
        try:
            port = os.open(self._path, os.O_RDWR)
            try:
                os.write(port, as_question(report_data))
                line = bytearray()
                while not line.endswith(b"\n") and len(line) < LONGEST:
                    piece = os.read(port, _PIECE)
                    if not piece:
                        break
                    line += piece
            finally:
                os.close(port)
        except OSError as exc:
            raise GuestRefusal(Rule.DEVICE, f"the emulated TEE does not answer: {exc.strerror}") from exc
        return read_answer(bytes(line))


def find_emulated(root: Path) -> EmulatedDevice | None:
    """Return the emulated TEE; None: there is none."""
    path = find_port(root, TEE_PORT)
    return None if path is None else EmulatedDevice(path)


def find_port(root: Path, name: str) -> Path | None:
    """Return the device of a virtio-serial port; None: there is none of that name."""
    for one in sorted(root.glob("sys/class/virtio-ports/*/name")):
        if one.read_text().strip() == name:
            return root / "dev" / one.parent.name
    return None

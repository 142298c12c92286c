"""The launch document: what the host hands to a guest. Nobody vouches for it; pure.

The binding in it counts only if the processor vouches for its hash, and the URL only leads to whoever holds the key of
the binding. docs/formats/launch.md has the layout.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Self

from haulout.errors import InvalidWorkload
from haulout.guest.refusal import GuestRefusal, Rule
from haulout.local import parse_json
from haulout.workload.binding import Binding

TYPE: Final = "io.github.haulout.launch"
VERSION: Final = 1
SERIAL: Final = "haulout-launch"
"""Serial number of the small disk that holds the document."""
DISK_SERIAL: Final = "haulout-disk"
"""Serial number of the encrypted disk."""
TEE_PORT: Final = "io.github.haulout.tee"
"""Name of the virtio-serial port that leads to an emulated TEE."""
STATUS_PORT: Final = "io.github.haulout.status"
"""Name of the virtio-serial port on which the guest says what it does."""
MAX_BYTES: Final = 64 << 10
_SECTOR: Final = 512


@dataclass(frozen=True, slots=True)
class Launch:
    """What the host hands over.

    Attributes:
        binding: of the workload.
        broker_url: where the broker is; "" where there is none.
        resource: ``repository/type/tag`` of the passphrase; "": ``default/key/`` and the workload's id.
    """

    binding: Binding
    broker_url: str
    resource: str = ""

    @property
    def resource_path(self) -> str:
        """The name of the resource that holds the passphrase."""
        return self.resource or f"default/key/{self.binding.workload_id}"

    def to_bytes(self) -> bytes:
        """Return the document, and zeros up to a multiple of 512 bytes: the content of a disk."""
        document = {
            "binding": self.binding.to_bytes().decode(),
            "broker_url": self.broker_url,
            "resource": self.resource,
            "type": TYPE,
            "version": VERSION,
        }
        data = json.dumps(document, separators=(",", ":")).encode()
        return data + bytes(-len(data) % _SECTOR)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parse a document; zeros may follow it.

        Raises:
            GuestRefusal: it is none, or of a later version.
        """
        text = data.rstrip(b"\0")
        table = parse_json(text[:MAX_BYTES], _wrong)
        if (table.text("type"), table.number("version", None, 1 << 31)) != (TYPE, VERSION):
            raise _wrong("type", f"it is not {TYPE}, version {VERSION}")
        binding = table.text("binding", longest=MAX_BYTES)
        url, resource = table.text("broker_url", ""), table.text("resource", "")
        table.end()
        try:
            return cls(Binding.parse(binding.encode()), url, resource)
        except InvalidWorkload as exc:
            raise _wrong("binding", str(exc)) from exc


def _wrong(where: str, reason: str, *, hint: str | None = None) -> GuestRefusal:
    at = f" at {where}" if where else ""
    return GuestRefusal(Rule.LAUNCH, f"the launch document cannot be read{at}: {reason}", hint=hint)

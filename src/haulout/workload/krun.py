"""What libkrun reads of a confidential workload: ``krun-sev.json``, and the footer of the disk that repeats it. Pure.

Layout (libkrun up to 1.19, buildah mkcw)::

    disk = LUKS header | ciphertext | zeros | JSON | "KRUN" | length of the JSON, 8 bytes, little-endian

The whole disk is a multiple of 4096 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final, Self

from haulout.errors import InvalidManifest, InvalidWorkload, UsageError
from haulout.oci import json

MAGIC: Final = b"KRUN"
TRAILER: Final = len(MAGIC) + 8
"""Bytes behind the JSON."""
MAX_JSON: Final = 1 << 20
"""Largest JSON that is read, as libkrun reads it."""
ALIGNMENT: Final = 4096
CONFIG_NAME: Final = "krun-sev.json"
DISK_NAME: Final = "disk.img"
ENTRYPOINT_NAME: Final = "entrypoint"
CHAIN_NAME: Final = "sev.chain"
TEMPORARY_NAME: Final = "tmp"
INNER_CONFIG: Final = ".krun_config.json"
"""In the encrypted root: the configuration of the image inside."""

MAX_CPUS: Final = 255
MAX_MEMORY: Final = (1 << 32) - 1
MAX_TEXT: Final = 256
"""Bytes of a workload id or URL; libkrun's buffers hold as many."""
MAX_KEY_URL: Final = 99
"""Characters of the URL of a key that fit into the buffer of libkrun 1.19 and before."""


class Tee(StrEnum):
    """A trusted execution environment, as kbs-types names it: what a workload is configured for.

    Those that sign evidence are rows of :data:`haulout.tee.KINDS` under the same names; SEV does not.
    """

    SEV = "sev"
    SNP = "snp"
    TDX = "tdx"
    CCA = "cca"

    @property
    def goarch(self) -> str:
        """The architecture of its images, as Go names it."""
        return "arm64" if self is Tee.CCA else "amd64"


@dataclass(frozen=True, slots=True)
class WorkloadConfig:
    """``krun-sev.json``."""

    tee: Tee
    tee_data: str
    """JSON in a string, which differs from one TEE to the other."""
    workload_id: str
    cpus: int
    ram_mib: int
    attestation_url: str

    json_members: ClassVar = ("tee", "workload_id", "cpus", "ram_mib", "attestation_url")
    """docs/json.md."""

    @classmethod
    def of(
        cls, tee: Tee, workload_id: str, cpus: int, ram_mib: int, *, attestation_url: str = "", chain: bool = False
    ) -> Self:
        """Return the configuration of a workload; ``chain``: for SEV, whether ``/sev.chain`` is in the image.

        Raises:
            UsageError: there is no such guest.
        """
        for option, value, most in (("cpus", cpus, MAX_CPUS), ("memory", ram_mib, MAX_MEMORY)):
            if not 1 <= value <= most:
                raise UsageError(f"--{option} must be between 1 and {most} (got {value})")
        path = f"/{CHAIN_NAME}" if chain and tee is Tee.SEV else ""
        vendor = json.dumps({"vendor_chain": path, "attestation_server_pubkey": ""}).decode()
        data = '{"gen":"milan"}' if tee is Tee.SNP else vendor
        return cls(tee, data, workload_id, cpus, ram_mib, attestation_url)

    def to_bytes(self) -> bytes:
        """Serialise in mkcw's key order."""
        return json.dumps(
            {
                "tee": str(self.tee),
                "tee_data": self.tee_data,
                "workload_id": self.workload_id,
                "cpus": self.cpus,
                "ram_mib": self.ram_mib,
                "attestation_url": self.attestation_url,
            }
        )

    @classmethod
    def parse(cls, data: bytes, what: str) -> Self:
        """Parse it strictly; unknown members are ignored, as libkrun ignores them.

        Raises:
            InvalidWorkload: it is larger than 1 MiB, not JSON, of an unknown TEE, or a member is missing or invalid.
        """
        if len(data) > MAX_JSON:
            raise InvalidWorkload("json-size", f"{what} has {len(data)} bytes; at most {MAX_JSON} are accepted")
        try:
            values = json.loads(data, what)
        except InvalidManifest as exc:
            raise InvalidWorkload("json", f"{what} cannot be read: {exc.reason}") from exc
        tee = _text(values, "tee", what)
        if tee not in list(Tee):
            raise InvalidWorkload(
                "tee", f"{what} is for an unknown TEE, {tee[:40]!r}", hint=f"known: {', '.join(list(Tee))}"
            )
        return cls(
            Tee(tee),
            _text(values, "tee_data", what),
            _text(values, "workload_id", what),
            _number(values, "cpus", MAX_CPUS, what),
            _number(values, "ram_mib", MAX_MEMORY, what),
            _text(values, "attestation_url", what),
        )


def padding(before: int, document: bytes) -> int:
    """Return how many zeros go before the JSON, so that the disk ends on a multiple of 4096 bytes.

    Args:
        before: bytes of LUKS header and ciphertext.
        document: the JSON.
    """
    return -(before + len(document) + TRAILER) % ALIGNMENT


def footer(document: bytes) -> bytes:
    """Return the JSON with its trailer."""
    if len(document) > MAX_JSON:
        raise UsageError(f"the workload's configuration has {len(document)} bytes; the limit is {MAX_JSON}")
    return document + MAGIC + len(document).to_bytes(8, "little")


def json_size(trailer: bytes, room: int, what: str) -> int:
    """Return the size of the JSON that a disk's last 12 bytes announce.

    Args:
        trailer: those bytes.
        room: bytes of the disk before them.
        what: the disk, for errors.

    Raises:
        InvalidWorkload: the magic is missing, or the size is larger than 1 MiB or than the disk.
    """
    if len(trailer) != TRAILER or not trailer.startswith(MAGIC):
        raise InvalidWorkload(
            "footer-magic",
            f"{what} has no footer: its last {TRAILER} bytes do not begin with KRUN",
            hint="it is not a disk of a confidential workload, or it was truncated",
        )
    size = int.from_bytes(trailer[len(MAGIC) :], "little")
    if size > room:
        raise InvalidWorkload("footer-size", f"the footer of {what} announces {size} bytes, but there are {room}")
    if size > MAX_JSON:
        raise InvalidWorkload("json-size", f"the footer of {what} announces {size} bytes; the limit is {MAX_JSON}")
    return size


def check_before(before: bytes, what: str) -> None:
    """Check what stands directly before the JSON: zeros or ciphertext, but no second footer.

    Args:
        before: up to 4096 bytes in front of the JSON, the last byte last.
        what: the disk, for errors.

    Raises:
        InvalidWorkload: there is another footer, or nothing but zeros.
    """
    if len(before) >= ALIGNMENT and not any(before):
        raise InvalidWorkload("footer-padding", f"there are more zeros before the footer of {what} than padding can be")
    filled = len(before.rstrip(b"\0"))
    # The length of another footer ends in zeros, too.
    for stop in range(filled, min(filled + 8, len(before)) + 1):
        found = before[max(0, stop - TRAILER) : stop]
        if len(found) == TRAILER and found.startswith(MAGIC):
            raise InvalidWorkload(
                "footer-twice",
                f"{what} has two footers: one was appended to another",
                hint="it may have been tampered with; build the image again",
            )


def _text(values: dict[str, Any], key: str, what: str) -> str:
    value = values.get(key)
    if not isinstance(value, str):
        raise InvalidWorkload("json", f"{what}: {key} must be a string")
    return value


def _number(values: dict[str, Any], key: str, largest: int, what: str) -> int:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
        raise InvalidWorkload("json", f"{what}: {key} must be a number from 1 to {largest}")
    return value

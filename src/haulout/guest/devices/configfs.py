"""SEV-SNP and TDX through configfs-tsm: Linux 6.7 and later, Documentation/ABI/testing/configfs-tsm-report."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from haulout.guest.devices.port import Answer
from haulout.guest.devices.sev import read_certificates
from haulout.guest.refusal import GuestRefusal, Rule

if TYPE_CHECKING:
    from pathlib import Path

_TEES: Final = {"sev_guest": "snp", "tdx_guest": "tdx"}
"""Provider, as the kernel names it → TEE."""
REPORTS: Final = "sys/kernel/config/tsm/report"


class ConfigfsDevice:
    """A folder below which each folder is a report."""

    def __init__(self, entry: Path, tee: str) -> None:
        self.name = f"{tee.upper()} by configfs-tsm"
        self.tee = tee
        self._entry = entry

    def evidence(self, report_data: bytes) -> Answer:
        """Return evidence that carries these 64 bytes.

        Raises:
            GuestRefusal: the kernel or the host's quoting service fails.
        """
        try:
            (self._entry / "inblob").write_bytes(report_data)
            evidence = (self._entry / "outblob").read_bytes()
            table = b""
            # The host decides whether there are certificates.
            with suppress(OSError):
                table = (self._entry / "auxblob").read_bytes()
        except OSError as exc:
            raise GuestRefusal(Rule.DEVICE, f"{self.name} gives no evidence: {exc.strerror}") from exc
        return Answer(self.tee, evidence, read_certificates(table) if self.tee == "snp" else ())


def find_configfs(root: Path) -> ConfigfsDevice | None:
    """Return the device; None: this kernel has none, or one of a TEE that is not known here."""
    entry = root / REPORTS / f"haulout-{os.getpid()}"
    try:
        entry.mkdir(exist_ok=True)
        provider = (entry / "provider").read_text().strip()
    except OSError:
        return None
    tee = _TEES.get(provider)
    return None if tee is None else ConfigfsDevice(entry, tee)

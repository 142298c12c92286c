"""Where UEFI firmware for QEMU is: Debian, Fedora, Arch and Homebrew put it in these places."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from haulout.errors import ToolError

PLACES: Final = {
    "x86_64": (
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
        ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
        ("/usr/local/share/qemu/edk2-x86_64-code.fd", "/usr/local/share/qemu/edk2-i386-vars.fd"),
    ),
    "aarch64": (
        ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
        ("/opt/homebrew/share/qemu/edk2-aarch64-code.fd", "/opt/homebrew/share/qemu/edk2-arm-vars.fd"),
        ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"),
    ),
}
"""Architecture → code and variables, in the order they are looked for."""


def find(architecture: str) -> tuple[Path, Path]:
    """Return the firmware's code, and the variables a new machine begins with.

    Raises:
        ToolError: there is none.
    """
    for code, variables in PLACES[architecture]:
        if Path(code).is_file() and Path(variables).is_file():
            return Path(code), Path(variables)
    raise ToolError(
        "UEFI firmware", "is not installed, and this disk boots by it",
        hint="install it: the Debian package is ovmf (for aarch64: qemu-efi-aarch64)",
    )  # fmt: skip

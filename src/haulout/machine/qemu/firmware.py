"""Where UEFI firmware for QEMU is: by the descriptors that come with it (QEMU, docs/interop/firmware.json)."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from haulout.errors import ToolError
from haulout.local import install_hint

_BOARD: Final = {"x86_64": "pc-q35-9.0", "aarch64": "virt-9.0"}
"""What a descriptor's pattern of machine types has to match."""
_UNWANTED: Final = frozenset({"requires-smm", "enrolled-keys", "secure-boot"})
"""Features that need more of the board than we give, or refuse systems that are not signed."""


@dataclass(frozen=True, slots=True)
class Uefi:
    """Firmware for a machine."""

    code: Path
    variables: Path
    """Of a new machine: a template, or its own copy of that."""
    format: str
    """Of the two: ``raw`` or ``qcow2``."""


def folders(program: str) -> tuple[Path, ...]:
    """Return where descriptors may be, the most important first.

    Args:
        program: QEMU, which brings some of its own.
    """
    config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    found = shutil.which(program)
    own = [Path(found).resolve().parent.parent / "share/qemu/firmware"] if found else []
    usual = [Path(config).expanduser() / "qemu/firmware", Path("/etc/qemu/firmware"), Path("/usr/share/qemu/firmware")]
    return tuple(dict.fromkeys([*usual, *own]))


def find(architecture: str, places: tuple[Path, ...]) -> Uefi:
    """Return the first firmware that fits, in the order of the descriptors' names.

    Args:
        architecture: of the guest.
        places: folders of descriptors; one in the first replaces those of the same name in the others.

    Raises:
        ToolError: there is none.
    """
    named: dict[str, Path] = {}
    for place in places:
        for path in place.glob("*.json"):
            named.setdefault(path.name, path)
    for _, path in sorted(named.items()):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            if (found := _read(json.loads(path.read_bytes()), architecture)) is not None:
                return found
    raise ToolError(
        "UEFI firmware", "is not installed, and this disk boots by it",
        hint=install_hint("ovmf" if architecture == "x86_64" else "qemu-efi-aarch64"),
    )  # fmt: skip


def _read(document: dict[str, Any], architecture: str) -> Uefi | None:
    """Return what a descriptor describes, if it fits."""
    mapping = document["mapping"]
    board = _BOARD[architecture]
    fits = any(
        target["architecture"] == architecture and any(fnmatch(board, each) for each in target["machines"])
        for target in document["targets"]
    )
    if not fits or "uefi" not in document["interface-types"] or _UNWANTED & set(document["features"]):
        return None
    if mapping["device"] != "flash" or mapping.get("mode", "split") != "split":
        return None
    code, variables = mapping["executable"], mapping["nvram-template"]
    found = Uefi(Path(code["filename"]), Path(variables["filename"]), code["format"])
    same = variables["format"] == found.format and found.format in {"raw", "qcow2"}
    return found if same and found.code.is_file() and found.variables.is_file() else None

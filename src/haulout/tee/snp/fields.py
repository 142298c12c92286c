"""A report of SEV-SNP written as JSON, member by member, as the Rust crate ``sev`` and Trustee do. Pure.

The bytes are put together again; only the right ones verify.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from haulout.tee.snp.parse import SIGNED, SIZE

_WHOLE: Final = (("version", "<I", 0x0), ("guest_svn", "<I", 0x4), ("policy", "<Q", 0x8), ("vmpl", "<I", 0x30))
_MORE: Final = (("sig_algo", "<I", 0x34), ("plat_info", "<Q", 0x40), ("key_info", "<I", 0x48))
_OPTIONAL: Final = (
    ("cpuid_fam_id", "<B", 0x188),
    ("cpuid_mod_id", "<B", 0x189),
    ("cpuid_step", "<B", 0x18A),
    ("launch_mit_vector", "<Q", 0x1F8),
    ("current_mit_vector", "<Q", 0x200),
)
_OCTETS: Final = (
    ("family_id", 0x10, 16),
    ("image_id", 0x20, 16),
    ("report_data", 0x50, 64),
    ("measurement", 0x90, 48),
    ("host_data", 0xC0, 32),
    ("id_key_digest", 0xE0, 48),
    ("author_key_digest", 0x110, 48),
    ("report_id", 0x140, 32),
    ("report_id_ma", 0x160, 32),
    ("chip_id", 0x1A0, 64),
)
_TCBS: Final = (("current_tcb", 0x38), ("reported_tcb", 0x180), ("committed_tcb", 0x1E0), ("launch_tcb", 0x1F0))
_FIRMWARE: Final = (("current", 0x1E8), ("committed", 0x1EC))
_COMPONENT: Final = 72


def report(values: dict[str, Any]) -> bytes | None:
    """Return the 1184 bytes of a report; None where the members are not those of one."""
    if not {"measurement", "reported_tcb", "signature", "chip_id"} <= values.keys():
        return None
    out = bytearray(SIZE)
    try:
        for name, form, at in (*_WHOLE, *_MORE):
            struct.pack_into(form, out, at, values[name])
        for name, form, at in _OPTIONAL:
            struct.pack_into(form, out, at, values.get(name) or 0)
        for name, at, size in _OCTETS:
            out[at : at + size] = _sized(values[name], size)
        for name, at in _TCBS:
            out[at : at + 8] = _tcb(values[name])
        for name, at in _FIRMWARE:
            out[at : at + 3] = bytes(values[name][part] for part in ("build", "minor", "major"))
        for place, name in enumerate(("r", "s")):
            at = SIGNED + place * _COMPONENT
            out[at : at + _COMPONENT] = _sized(values["signature"][name], _COMPONENT)
    except (KeyError, TypeError, ValueError, struct.error):
        return None
    return bytes(out)


def octets(value: list[Any]) -> bytes | None:
    """Return a list of numbers as bytes; None where one is not a byte."""
    # Truth values are numbers in Python, and not in JSON.
    return bytes(value) if value and all(type(one) is int and 0 <= one < 256 for one in value) else None


def _sized(value: list[Any], size: int) -> bytes:
    found = octets(value)
    if found is None or len(found) != size:
        raise ValueError(size)
    return found


def _tcb(value: dict[str, Any]) -> bytes:
    parts = [value[name] for name in ("bootloader", "tee", "snp", "microcode")]
    fmc = value.get("fmc")
    # Only Turin has an FMC, and its layout.
    if fmc is not None:
        return bytes([fmc, *parts[:3], 0, 0, 0, parts[3]])
    return bytes([*parts[:2], 0, 0, 0, 0, *parts[2:]])

"""The launch measurement to expect of a workload's guest, from what the user knows of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from haulout.errors import ToolError, UsageError
from haulout.workload.krun import Tee
from haulout.workload.measurement.measure import SnpGuest, snp_launch_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOOL: Final = "krunfw_measurement"
_SECONDS: Final = 60
_SIZES: Final = {Tee.SEV: (32,), Tee.SNP: (48,), Tee.TDX: (48,), Tee.CCA: (32, 48, 64)}
_LINES: Final = {"sev": "SEV-ES", "sev_no_es": "SEV", "snp": "SNP"}


def expected_measurement(wanted: Mapping[str, Any], tee: Tee) -> bytes | None:
    """Return the measurement, or None where nothing was said that it could follow from.

    Args:
        wanted: ``measurement`` in hexadecimal, or ``firmware_library``, or ``ovmf`` with ``kernel``, ``initrd``,
            ``append`` and ``vcpu_type``; ``tee``, ``cpus`` and ``memory``.
        tee: which TEE.

    Raises:
        UsageError: more than one of them, or one that does not go with the TEE.
        HauloutError: as :func:`haulout.workload.measurement.measure.snp_launch_digest`; without krunfw_measurement.
    """
    ways = [name for name in ("measurement", "firmware_library", "ovmf") if wanted[name]]
    if len(ways) > 1:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in ways)
        raise UsageError(f"{names} each say what the measurement is", hint="use one of them")
    if not wanted["ovmf"] and (wanted["kernel"] or wanted["initrd"] or wanted["append"]):
        raise UsageError("--kernel, --initrd and --append are measured only beside --ovmf")
    if wanted["measurement"]:
        return _given(wanted["measurement"], tee)
    if wanted["firmware_library"]:
        return _by_tool(wanted)
    if wanted["ovmf"]:
        if tee is not Tee.SNP:
            raise UsageError("--ovmf measures guests of SEV-SNP", hint="give others with --measurement HEX")
        return snp_launch_digest(
            SnpGuest(
                Path(wanted["ovmf"]),
                wanted["cpus"],
                wanted["vcpu_type"],
                _path(wanted["kernel"]),
                _path(wanted["initrd"]),
                wanted["append"],
            )
        )
    return None


def _path(name: str | None) -> Path | None:
    return Path(name) if name else None


def _given(text: str, tee: Tee) -> bytes:
    digits = {2 * size for size in _SIZES[tee]}
    if len(text) not in digits or not re.fullmatch(r"[0-9a-fA-F]+", text):
        wanted = " or ".join(map(str, sorted(digits)))
        raise UsageError(f"a measurement of {str(tee).upper()} has {wanted} hexadecimal digits")
    return bytes.fromhex(text)


def _by_tool(wanted: Mapping[str, Any]) -> bytes:
    name = wanted["tee"]
    if name not in _LINES:
        raise UsageError(f"libkrun's firmware is measured for SEV and SEV-SNP, not for {name.upper()}")
    program = shutil.which(_TOOL)
    if program is None:
        raise ToolError(
            _TOOL, "this program is not installed, and it alone knows libkrun's layout", hint="use --measurement HEX"
        )
    library = wanted["firmware_library"]
    argv = [program, "-c", str(wanted["cpus"]), "-m", str(wanted["memory"]), library]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ToolError(_TOOL, f"it does not run: {exc}".split("\n", 1)[0][:200]) from exc
    found = re.search(
        rf"^{_LINES[name]}:\s*([0-9a-fA-F]{{64,96}})\s*$", done.stdout.decode("utf-8", "replace"), re.MULTILINE
    )
    if done.returncode or found is None:
        said = done.stderr.decode("utf-8", "replace").strip().split("\n", 1)[0][:120]
        raise ToolError(_TOOL, f"it measures nothing in {library}: {said or 'there is no such line'}")
    return bytes.fromhex(found[1])

"""A policy for ``haulout evidence verify`` that names one workload. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.errors import UsageError
from haulout.oci import json
from haulout.workload.krun import Tee

if TYPE_CHECKING:
    from haulout.workload.binding import Binding

_OPEN: Final = {
    Tee.SNP: "# Any launch measurement is accepted: list those of your firmware and kernel as measurements.",
    Tee.TDX: "# Any launch measurement is accepted: list those of your firmware and kernel as mrtd and rtmr0 to rtmr3.",
    Tee.CCA: "# Any initial measurement is accepted: list yours as rim.",
}


def policy_for(binding: Binding, tee: Tee, measurement: bytes | None) -> str:
    """Return the TOML.

    Args:
        binding: of the workload.
        tee: where it runs.
        measurement: the launch measurement, where it is known.

    Raises:
        UsageError: the TEE does not sign evidence that names a workload.
    """
    require_evidence(tee)
    match tee:
        case Tee.SNP:
            lines = ["[snp]", 'products = ["Milan", "Genoa", "Turin"]', _list("host-data", binding.host_data)]
            key = "measurements"
        case Tee.TDX:
            lines, key = ["[tdx]", _list("mrconfigid", binding.mrconfigid)], "mrtd"
        case _:
            lines = ["[cca]", "# Name the platforms you trust: platform-keys or roots (docs/evidence.md)."]
            lines.append(_list("personalization", binding.personalization))
            key = "rim"
    lines.append(_OPEN[tee] if measurement is None else _list(key, measurement))
    name = json.dumps(binding.workload_id).decode()
    return "\n".join(["schema = 1", f"name = {name}", "", "[freshness]", "report-data-required = true", "", *lines, ""])


def require_evidence(tee: Tee) -> None:
    """Require that a TEE signs evidence that names a workload.

    Raises:
        UsageError: it does not.
    """
    if tee is Tee.SEV:
        raise UsageError("evidence of SEV names no workload: cannot write a policy for it", hint="use --type snp")


def _list(key: str, value: bytes) -> str:
    return f'{key} = ["{value.hex()}"]'

"""A policy for ``haulout evidence verify`` that names one workload. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.errors import UsageError
from haulout.oci import json
from haulout.workload.krun import Tee

if TYPE_CHECKING:
    from haulout.workload.binding import Binding

_SECTIONS: Final = {
    Tee.SNP: ("host-data", "host_data", "measurements", 'products = ["Milan", "Genoa", "Turin"]'),
    Tee.TDX: ("mrconfigid", "mrconfigid", "mrtd", None),
    Tee.CCA: (
        "personalization",
        "personalization",
        "rim",
        "# Name the platforms you trust: platform-keys or roots (docs/evidence.md).",
    ),
}
"""Key of the binding's value and its attribute, key of the launch measurement, a line to begin with."""


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
    key, attribute, measured, first = _SECTIONS[tee]
    name = json.dumps(binding.workload_id).decode()
    lines = ["schema = 1", f"name = {name}", "", "[freshness]", "report-data-required = true", "", f"[{tee}]"]
    lines += [first] if first else []
    lines.append(f'{key} = ["{getattr(binding, attribute).hex()}"]')
    if measurement is None:
        lines.append(f"# Any launch measurement is accepted: list those of your firmware and kernel as {measured}.")
    else:
        lines.append(f'{measured} = ["{measurement.hex()}"]')
    return "\n".join([*lines, ""])


def require_evidence(tee: Tee) -> None:
    """Require that a TEE signs evidence that names a workload.

    Raises:
        UsageError: it does not.
    """
    if tee is Tee.SEV:
        raise UsageError("evidence of SEV names no workload: cannot write a policy for it", hint="use --type snp")

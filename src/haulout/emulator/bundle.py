"""A piece of emulated evidence with all that is needed to verify it, as files: evidence, certificates, policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from haulout.emulator.boot import Boot
    from haulout.emulator.platforms import Platform


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a platform made.

    Attributes:
        data: the evidence.
        files: what it is verified with, by the files' names.
        measurement: of what was booted.
        policy: lines of its section in a policy that accepts it.
    """

    data: bytes = field(repr=False)
    files: Mapping[str, bytes] = field(repr=False)
    measurement: bytes
    policy: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bundle:
    """The files, by name.

    Attributes:
        measurement: of what was booted.
    """

    files: dict[str, bytes] = field(repr=False)
    measurement: bytes


def listed(key: str, value: bytes) -> str:
    """Return the line of a policy that allows one value."""
    return f'{key} = ["{value.hex()}"]'


def make_bundle(
    platform: Platform, boot: Boot, at: datetime, *, report_data: bytes, workload: bytes | None = None
) -> Bundle:
    """Make evidence, and a policy for tests that accepts it and nothing else.

    Args:
        platform: the emulated platform.
        boot: what it boots.
        at: the time, for collateral.
        report_data: the 64 bytes that the guest chooses.
        workload: what binds the workload, ``platform.binding`` bytes; None: zeros.
    """
    made = platform.evidence(boot, at, report_data, workload or bytes(platform.binding))
    lines = [
        "# For tests only: it trusts an emulator, and anybody with the emulator's keys can make such evidence.",
        "schema = 1",
        'name = "emulator"',
        "test = true",
        f'roots = ["{platform.root.fingerprint()}"]',
        "",
        f"[{platform.kind}]",
        *made.policy,
    ]
    policy = ("\n".join(lines) + "\n").encode()
    return Bundle({"evidence.bin": made.data, **made.files, "policy.toml": policy}, made.measurement)

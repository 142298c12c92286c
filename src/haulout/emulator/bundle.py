"""A piece of emulated evidence with all that is needed to verify it, as files: evidence, certificates, policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from haulout.emulator.authorities import Authority
    from haulout.emulator.boot import Boot


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


class Platform(Protocol):
    """An emulated platform: a dataclass of authorities, keys and plain values, which the store writes.

    Attributes:
        kind: name of the kind of TEE.
        binding: bytes of what binds a workload: HOST_DATA, MRCONFIGID, personalization value.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    kind: ClassVar[str]
    binding: ClassVar[int]

    @property
    def root(self) -> Authority:
        """Return the root of its chain."""

    @classmethod
    def make(cls, at: datetime) -> Self:
        """Make one with new keys, whose certificates are valid from ``at`` on."""

    @classmethod
    def load(cls, values: Mapping[str, Any]) -> Self:
        """Read what the store wrote; raises ValueError, KeyError, TypeError or AttributeError at anything else."""

    def evidence(self, boot: Boot, at: datetime, report_data: bytes, workload: bytes) -> Evidence:
        """Make evidence of a guest that booted ``boot``."""


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
        "# For tests only: it trusts an emulator, and anyone with the emulator's keys can make such evidence.",
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

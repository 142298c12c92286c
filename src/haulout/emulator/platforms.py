"""The table of emulated platforms: one row for each kind of TEE, under the name that :mod:`haulout.tee` gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, Self

from haulout.emulator.cca import CcaEmulator
from haulout.emulator.snp import SnpEmulator
from haulout.emulator.tdx import TdxEmulator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from haulout.emulator.authorities import Authority
    from haulout.emulator.boot import Boot
    from haulout.emulator.bundle import Evidence


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


PLATFORMS: Final[dict[str, type[Platform]]] = {one.kind: one for one in (SnpEmulator, TdxEmulator, CcaEmulator)}

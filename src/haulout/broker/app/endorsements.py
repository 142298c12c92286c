"""Certificates and collateral from a folder, read once: for sites without a connection, and for tests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from haulout.errors import InvalidEvidence
from haulout.local import read_small, storage_errors
from haulout.tee import Given

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST: Final = 4 << 20
_COLLATERAL: Final = {".json", ".crl"}
_MOST: Final = 64


@dataclass(frozen=True, slots=True)
class Folder:
    """A supply that gives all its files for any evidence."""

    certificates: tuple[Given, ...] = ()
    collateral: tuple[Given, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Folder:
        """Read a folder: ``*.json`` and ``*.crl`` are collateral, ``*.pem``, ``*.der`` and ``*.crt`` certificates.

        Raises:
            StorageError: it cannot be read.
            InvalidEvidence: it has too many files, or one is too large.
        """
        with storage_errors(folder):
            names = sorted(each for each in folder.iterdir() if each.suffix in {*_COLLATERAL, ".pem", ".der", ".crt"})
        if len(names) > _MOST:
            raise InvalidEvidence(str(folder), f"it has {len(names)} files; at most {_MOST} are read")
        found = [
            Given(each.name, read_small(each, _LARGEST, too_large=partial(InvalidEvidence, str(each))))
            for each in names
        ]
        paired = list(zip(names, found, strict=True))
        return cls(
            tuple(given for name, given in paired if name.suffix not in _COLLATERAL),
            tuple(given for name, given in paired if name.suffix in _COLLATERAL),
        )

    def for_evidence(self, evidence: bytes) -> Folder:  # noqa: ARG002 - the same for any
        """Return everything."""
        return self

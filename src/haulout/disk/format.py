"""What there is to know of one disk format: a row of the table in :mod:`haulout.disk.formats`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.disk.image import Image
    from haulout.disk.info import Finding
    from haulout.disk.types import DiskFormat


@dataclass(frozen=True, slots=True)
class Format:
    """One disk format. Its names, extension and disk type are those of ``name``."""

    name: DiskFormat
    probe: Callable[[Image], Finding | None]
    """Recognises a file of this format by its magic and says what is wrong with it; None for any other file. May raise
    :class:`~haulout.disk.info.Damaged`."""
    content: str
    """What inspection calls such a file."""
    qemu_options: str | None = None
    """Options (``-o``) with which ``qemu-img`` writes it, under the name ``name``; None: it is neither made nor
    converted, but published as it is."""

"""What an inspection found: facts, and the rules that are broken."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from haulout.errors import (
    InvalidRootfs,
    InvalidWorkload,
    NotLuks,
    RefusedLuks,
    RefusedVerity,
    SizeMismatch,
    VerityMismatch,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.oci import Digest
    from haulout.workload.binding import Binding
    from haulout.workload.krun import WorkloadConfig
    from haulout.workload.luks import Header


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that is broken, and how."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Member:
    """An entry of the outer image."""

    name: str
    mode: int
    size: int


@dataclass
class Outer:
    """What everybody can see of an image."""

    manifest: Digest
    architecture: str = ""
    created: str | None = None
    members: tuple[Member, ...] = ()
    leaks: tuple[str, ...] = ()
    """What the configuration says of the image inside, or may: ``environment (2)``."""


@dataclass
class Opened:
    """What the passphrase showed."""

    file_system_size: int | None = None
    verity: str = "absent"
    """``verified`` against the binding's root; ``unbound``: hashes are there, but nobody vouches for their root;
    ``failed``; ``absent``."""
    architecture: str | None = None
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


@dataclass
class Findings:
    """Everything that was found out; collected while the inspection goes on."""

    outer: Outer | None = None
    config: WorkloadConfig | None = None
    disk_size: int | None = None
    payload_size: int | None = None
    """Bytes from the payload's beginning to the footer, padding included."""
    luks: Header | None = None
    binding: Binding | None = None
    measurement: str | None = None
    opened: Opened | None = None
    broken: list[Broken] = field(default_factory=list)

    def breaks(self, rule: str, reason: str) -> None:
        """Note a broken rule."""
        self.broken.append(Broken(rule, reason))

    @contextmanager
    def judging(self, prefix: str = "") -> Iterator[None]:
        """Note what a check raises as a broken rule, and go on behind the block.

        Args:
            prefix: goes before the names of rules of LUKS and dm-verity.
        """
        try:
            yield
        except InvalidWorkload as exc:
            self.breaks(exc.rule, exc.message)
        except NotLuks as exc:
            self.breaks("luks-missing", exc.message)
        except (RefusedLuks, RefusedVerity, InvalidRootfs) as exc:
            self.breaks(f"{prefix}{exc.rule}", exc.message)
        except VerityMismatch as exc:
            self.breaks("verity-block", exc.message)
        except SizeMismatch as exc:
            self.breaks("truncated", exc.message)

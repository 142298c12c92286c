"""What an inspection found: facts, and the rules that are broken."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from haulout.documents import Document
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
    from haulout.workload.luks import LuksHeader


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A rule that is broken, and how."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """An entry of the outer image."""

    json_members: ClassVar = ("name", "mode=octal_mode", "size")

    name: str
    mode: int
    size: int

    @property
    def octal_mode(self) -> str:
        """Permissions in four octal digits."""
        return f"{self.mode:04o}"


@dataclass
class OuterImage:
    """What can be seen of an image without its passphrase."""

    json_members: ClassVar = ("manifest", "architecture", "created", "entries=members", "leaks")

    manifest: Digest
    architecture: str = ""
    created: str | None = None
    members: tuple[ImageEntry, ...] = ()
    leaks: tuple[str, ...] = ()
    """What the configuration may reveal of the image inside: ``environment (2)``."""


@dataclass
class UnlockedDisk:
    """What the passphrase revealed."""

    file_system_size: int | None = None
    verity: str = "absent"
    """``verified`` against the binding's root; ``unbound``: there are hashes, but no trusted root; ``failed``;
    ``absent``."""
    architecture: str | None = None
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


@dataclass
class Findings(Document):
    """Everything that was found; collected while the inspection goes on."""

    json_members = ("image=outer", "config", "disk", "binding", "measurement", "opened=unlocked", "broken")

    outer: OuterImage | None = None
    config: WorkloadConfig | None = None
    disk_size: int | None = None
    payload_size: int | None = None
    """Bytes from the payload's beginning to the footer, padding included."""
    luks: LuksHeader | None = None
    binding: Binding | None = None
    measurement: str | None = None
    unlocked: UnlockedDisk | None = None
    broken: list[BrokenRule] = field(default_factory=list)

    @property
    def disk(self) -> dict[str, Any] | None:
        """The disk as docs/json.md shows it."""
        if self.disk_size is None:
            return None
        luks = self.luks and {
            "uuid": str(self.luks.uuid),
            "cipher": "aes-xts-plain64",
            "hash": self.luks.hash_name,
            "key_bits": self.luks.key_bytes * 8,
            "payload_offset": self.luks.payload_start,
            "slots": [number for number, slot in enumerate(self.luks.slots) if slot.active],
            "header_digest": str(self.luks.digest),
        }
        return {"size": self.disk_size, "payload_size": self.payload_size, "luks": luks}

    def breaks(self, rule: str, reason: str) -> None:
        """Note a broken rule."""
        self.broken.append(BrokenRule(rule, reason))

    @contextmanager
    def judging(self, prefix: str = "") -> Iterator[None]:
        """Note what a check raises as a broken rule, and go on behind the block.

        Args:
            prefix: of the names of rules of LUKS and dm-verity.
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

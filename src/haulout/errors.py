"""Every error Haulout raises on purpose, with its data, its exit code and its way out.

docs/exit-codes.md draws the tree, generated from the classes. Errors of one room alone are defined in that room.

Exit codes are stable: scripts may rely on them. 0 is yes or done, 1 is the answer "no", 128+N is death by signal N.
The text of an error is one line. ``hint`` is the way out, printed on a line of its own.
"""

# ruff: noqa: N818 - errors are named by what is wrong; the tree reads better so.

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class HauloutError(Exception):
    """Root of the tree; ``str(error)`` is one clear line."""

    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(HauloutError):
    """The command line, a reference or a file of yours is not valid."""

    exit_code = 2


_SHOWN: Final = 160
"""Characters of a reference that an error shows."""


class InvalidReference(UsageError):
    """A reference that does not parse; ``position`` is the index of the first offending character."""

    def __init__(self, text: str, position: int, reason: str, *, hint: str | None = None) -> None:
        self.text = text
        self.position = position
        self.reason = reason
        # Around the character, where nobody would find it in all of it.
        begin = max(0, min(position, len(text)) - _SHOWN // 2)
        end = begin + _SHOWN
        shown = ("…" if begin else "") + text[begin:end] + ("…" if text[end:] else "") or "(empty)"
        at = f", at character {position + 1}" if text else ""
        super().__init__(f"not a reference: {shown!r}: {reason}{at}", hint=hint)


class InvalidDigest(UsageError, ValueError):
    """A digest that does not parse, or of an algorithm other than SHA-256."""

    def __init__(self, text: str, reason: str = "expected sha256: and 64 lowercase hexadecimal digits") -> None:
        self.text = text
        super().__init__(f"not a digest: {text[:80]!r}: {reason}")


class InvalidPlatform(UsageError, ValueError):
    """An architecture or disk type that is not known."""

    def __init__(self, kind: str, text: str, known: Sequence[str]) -> None:
        self.kind = kind
        self.text = text
        self.known = tuple(known)
        super().__init__(f"unknown {kind} {text[:40]!r}", hint=f"known: {', '.join(known)}")


class InvalidPolicy(UsageError):
    """A policy that does not parse, or breaks its schema; ``key`` is the dotted key at fault, or ""."""

    def __init__(self, policy: str, key: str, reason: str, *, hint: str | None = None) -> None:
        self.policy = policy
        self.key = key
        self.reason = reason
        where = f" at {key}" if key else ""
        super().__init__(f"{policy} is not a valid policy{where}: {reason}", hint=hint)


class InvalidFile(UsageError):
    """A file of yours that does not parse, or breaks its schema.

    Attributes:
        path: the file.
        where: the dotted key at fault, "" for the document itself.
        reason: one line.
    """

    def __init__(self, path: Path, reason: str, *, where: str = "", hint: str | None = None) -> None:
        self.path = path
        self.where = where
        self.reason = reason
        super().__init__(f"{path}{f': {where}' if where else ''}: {reason}", hint=hint)


class ImageTooSmall(UsageError):
    """The file system asked for is too small for its content; ``size`` and ``needed`` are bytes."""

    def __init__(self, size: int, needed: int) -> None:
        self.size = size
        self.needed = needed
        super().__init__(
            f"a file system of {size} bytes is too small for this content",
            hint=f"it needs at least {needed} bytes; leave out the size to let haulout choose it",
        )


class NotFoundError(HauloutError):
    """What was asked for does not exist."""

    exit_code = 4


class NoMatchingDisk(NotFoundError):
    """The reference exists, but holds no disk of the wanted architecture and type."""

    def __init__(self, reference: str, wanted: str, present: Sequence[str], *, hint: str | None = None) -> None:
        self.reference = reference
        self.wanted = wanted
        self.present = tuple(present)
        there = (
            f"there are {', '.join(present)}"
            if len(present) > 1
            else f"there is {present[0]}"
            if present
            else "it holds no disk"
        )
        super().__init__(f"no {wanted} in {reference}; {there}", hint=hint)


class DeniedError(HauloutError):
    """Credentials are missing, wrong or not sufficient."""

    exit_code = 5


class WrongPassphrase(DeniedError):
    """A passphrase that does not open what is encrypted with another."""

    def __init__(self, what: str = "encrypted disk") -> None:
        super().__init__(f"this passphrase does not open the {what}")


class UnreachableError(HauloutError):
    """No connection, no TLS, or no answer in time."""

    exit_code = 6


class RegistryError(HauloutError):
    """The registry answered with a failure, or broke the protocol."""

    exit_code = 7

    def __init__(self, message: str, *, status: int | None = None, hint: str | None = None) -> None:
        self.status = status
        super().__init__(message, hint=hint)


class DeletionRefused(RegistryError):
    """The registry does not delete this.

    Attributes:
        only_by_digest: it deletes manifests, which takes all their tags away, but not a tag alone.
    """

    def __init__(self, what: str, host: str, *, status: int | None = None, only_by_digest: bool = False) -> None:
        self.only_by_digest = only_by_digest
        reason = "deletes only by digest, with all tags of the manifest" if only_by_digest else "does not delete"
        hint = (
            "delete the manifest by its digest, if no other tag needs it"
            if only_by_digest
            else "use the registry's own page or API, or have deletion enabled; "
            "docker-registry: REGISTRY_STORAGE_DELETE_ENABLED=true"
        )
        super().__init__(f"{what}: {host} {reason}", status=status, hint=hint)


class NotAttached(RegistryError):
    """The disks are published, but something that was to be attached to them is not.

    Attributes:
        pinned: what is published, by digest.
        failures: why, in the order of the attempts.
    """

    def __init__(self, pinned: str, failures: Sequence[HauloutError]) -> None:
        self.pinned = pinned
        self.failures = tuple(failures)
        first, more = failures[0], f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        super().__init__(
            f"the disks are published as {pinned}, but a delta could not be attached: {first}{more}",
            hint=first.hint or "repeat the command: nothing is uploaded twice",
        )


class ContentError(HauloutError):
    """Content from a registry or a file is damaged, or is not what it claims to be."""

    exit_code = 8


class DigestMismatch(ContentError):
    """Bytes that do not match their digest."""

    def __init__(self, what: str, expected: str, actual: str) -> None:
        self.what = what
        self.expected = expected
        self.actual = actual
        super().__init__(
            f"{what} does not match its digest: expected {expected}, got {actual}",
            hint="it was damaged or replaced where it is kept or on its way; try another mirror, or push again",
        )


class SizeMismatch(ContentError):
    """More or fewer bytes than the descriptor states."""

    def __init__(self, what: str, expected: int, actual: int | str) -> None:
        self.what = what
        self.expected = expected
        self.actual = actual
        super().__init__(f"{what} has the wrong size: expected {expected} bytes, got {actual}")


class InvalidManifest(ContentError):
    """A manifest or index that breaks its schema; ``path`` says where in the JSON."""

    def __init__(self, what: str, reason: str, *, path: str = "", hint: str | None = None) -> None:
        self.what = what
        self.path = path
        self.reason = reason
        where = f" at {path}" if path else ""
        super().__init__(f"{what} is not a valid manifest{where}: {reason}", hint=hint)


class InvalidToc(ContentError):
    """A table of contents that contradicts itself, the blob or the disk."""


class InvalidFrame(ContentError):
    """A compressed frame that does not decode to what the table of contents states."""


class InvalidDelta(ContentError):
    """A published delta that contradicts itself, or differs from its manifest."""


class InvalidEvidence(ContentError):
    """Evidence, a certificate or collateral that cannot be read: no verdict is possible.

    What can be read but must not be trusted is a refusal, not an error; it names its rule.

    Attributes:
        what: what was read, such as ``SEV-SNP report``.
        reason: one line.
        offset: the byte at fault, counted from the beginning of what was read; None where no single byte is.
    """

    def __init__(self, what: str, reason: str, *, offset: int | None = None, hint: str | None = None) -> None:
        self.what = what
        self.reason = reason
        self.offset = offset
        at = "" if offset is None else f", at byte {offset}"
        super().__init__(f"{what} cannot be read: {reason}{at}", hint=hint)


class NotLuks(ContentError):
    """A disk without a LUKS header."""

    def __init__(self) -> None:
        super().__init__("this is not an encrypted disk: it does not begin with a LUKS header")


class RefusedLuks(ContentError):
    """An encrypted disk that breaks a rule; ``rule`` is its name in docs/formats/luks.md."""

    def __init__(self, rule: str, reason: str, *, hint: str | None = None) -> None:
        self.rule = rule
        self.reason = reason
        super().__init__(f"refusing this encrypted disk: {reason} ({rule})", hint=hint)


class RefusedVerity(ContentError):
    """A dm-verity superblock that breaks a rule; ``rule`` is its name."""

    def __init__(self, rule: str, reason: str) -> None:
        self.rule = rule
        self.reason = reason
        super().__init__(f"refusing these hashes: {reason} ({rule})")


class VerityMismatch(ContentError):
    """A block that does not match the root hash.

    Attributes:
        level: None for a block of data; for one of hashes how far it is above the data, counted from 0.
        block: its number, in the data or within that level.
    """

    def __init__(self, level: int | None, block: int) -> None:
        self.level = level
        self.block = block
        what = f"block {block}" if level is None else f"hash block {block} of level {level}"
        super().__init__(
            f"{what} does not match the root hash",
            hint="it was damaged, replaced or taken from another version; get the image again",
        )


class InvalidWorkload(ContentError):
    """A confidential image or disk that breaks a rule; ``rule`` is its name."""

    def __init__(self, rule: str, reason: str, *, hint: str | None = None) -> None:
        self.rule = rule
        self.reason = reason
        super().__init__(reason, hint=hint)


class InvalidRootfs(ContentError):
    """Layers or a folder that cannot become a root file system.

    Attributes:
        source: what was read, such as ``layer 2`` or a folder.
        entry: the path inside, as text that is safe to print; "" where it is not about one entry.
        rule: the name of the broken rule, such as ``escape``.
        reason: one line.
    """

    def __init__(self, source: str, entry: str | bytes, rule: str, reason: str, *, hint: str | None = None) -> None:
        self.source = source
        text = entry.decode("utf-8", "backslashreplace") if isinstance(entry, bytes) else entry
        self.entry = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)[:300]
        self.rule = rule
        self.reason = reason
        where = f" at {self.entry}" if self.entry else ""
        super().__init__(f"refusing {source}{where}: {reason}", hint=hint)


class UnsafeDiskError(HauloutError):
    """Inspection refuses a disk image; ``path`` is the file, ``rule`` the name of the broken rule."""

    exit_code = 9

    def __init__(self, path: str, rule: str, reason: str, *, hint: str | None = None) -> None:
        self.path = path
        self.rule = rule
        self.reason = reason
        super().__init__(f"refusing {path}: {reason}", hint=hint)


class StorageError(HauloutError):
    """The local file system refused: full, read-only, no permission; ``path`` is where."""

    exit_code = 10

    def __init__(self, path: str, reason: str, *, hint: str | None = None) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}", hint=hint)


class ToolError(HauloutError):
    """A helper program is missing or failed; ``tool`` is its name."""

    exit_code = 11

    def __init__(self, tool: str, reason: str, *, hint: str | None = None) -> None:
        self.tool = tool
        self.reason = reason
        super().__init__(f"{tool}: {reason}", hint=hint)


class ConflictError(HauloutError):
    """Another process or thread is writing the same thing."""

    exit_code = 12


class NotReady(HauloutError):
    """A machine that did not become ready, or ended; ``console`` holds the last lines it wrote there."""

    exit_code = 13

    def __init__(self, name: str, reason: str, console: Sequence[str] = (), *, hint: str | None = None) -> None:
        self.name = name
        self.reason = reason
        self.console = tuple(console)
        shown = f"haulout machine logs {name} shows its console"
        super().__init__(f"machine {name} did not start: {reason}", hint=hint or shown)

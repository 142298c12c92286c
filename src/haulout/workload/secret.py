"""The passphrase of a disk: made, read from a file, or kept in one. Never shown, never an argument of a program."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.errors import HauloutError, NotFoundError, RegistryError, StorageError, UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RANDOM_BYTES: Final = 32
LONGEST: Final = 512
"""Bytes that the guest of libkrun has room for."""
_SERVER_ERRORS: Final = 500
"""The first status by which a server says that it failed, not that it refuses."""


def make() -> bytes:
    """Return a new passphrase: 32 random bytes in hexadecimal, as mkcw makes it."""
    return secrets.token_hex(RANDOM_BYTES).encode()


def read(name: str) -> bytes:
    """Read a passphrase from a file, or from standard input where its name is ``-``; one line break at its end is cut.

    Raises:
        NotFoundError: there is no such file.
        StorageError: it cannot be read.
        UsageError: it is empty, or longer than a guest can read.
    """
    try:
        if name == "-":
            data = sys.stdin.buffer.read(LONGEST + 3)
        else:
            with Path(name).open("rb") as stream:
                data = stream.read(LONGEST + 3)
    except FileNotFoundError as exc:
        raise NotFoundError(f"no such file: {name}") from exc
    except (OSError, ValueError, AttributeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else None
        raise StorageError(name, f"the passphrase cannot be read: {(reason or 'it is no file').lower()}") from exc
    data = data.removesuffix(b"\n").removesuffix(b"\r")
    where = "standard input" if name == "-" else name
    if not data:
        raise UsageError(f"the passphrase in {where} is empty")
    if len(data) > LONGEST:
        raise UsageError(f"the passphrase in {where} is longer than the {LONGEST} bytes that a guest can read")
    return data


@contextmanager
def kept(target: Path, passphrase: bytes) -> Iterator[Callable[[], None]]:
    """Prepare a file with the passphrase, for its owner alone; what is yielded puts it in its place.

    Until then nothing is at ``target``, and what is there already is never replaced: it may be the only key to a disk.
    Where the block fails after that, the file is taken away again, unless the image may be there all the same: because
    the failure is that no answer came, or an interruption. There is no line break at its end, as
    ``cryptsetup --key-file`` wants it.

    Raises:
        StorageError: something is there already, or the file system refuses.
    """
    if os.path.lexists(target):
        raise _taken(target)
    with _refusals(target):
        descriptor, fresh = _nameless(target.parent)
    placed = False

    def place() -> None:
        nonlocal placed
        with _refusals(target):
            try:
                # A link rather than a rename: it replaces nothing. Only with a descriptor Python follows /proc.
                os.link(fresh or f"/proc/self/fd/{descriptor}", target, src_dir_fd=descriptor, follow_symlinks=True)
            except FileExistsError:
                raise _taken(target) from None
        placed = True

    try:
        with _refusals(target):
            os.write(descriptor, passphrase)
            os.fsync(descriptor)
        yield place
    except BaseException as exc:
        if placed and not _is_open(exc):
            with suppress(OSError):
                target.unlink()
        raise
    finally:
        os.close(descriptor)
        if fresh is not None:
            with suppress(OSError):
                fresh.unlink()


def _is_open(failure: BaseException) -> bool:
    """Whether what was asked for last may have been done in spite of a failure."""
    if isinstance(failure, RegistryError):
        return failure.status is None or failure.status >= _SERVER_ERRORS
    return isinstance(failure, UnreachableError) or not isinstance(failure, HauloutError)


def _nameless(folder: Path) -> tuple[int, Path | None]:
    """Make a file without a name, which a killed process leaves no trace of; with one where there are no such files."""
    with suppress(OSError):
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600), None
    descriptor, name = tempfile.mkstemp(prefix=".haulout-", dir=folder)
    return descriptor, Path(name)


def _taken(target: Path) -> StorageError:
    return StorageError(
        str(target),
        "it is there already, and may be the only key to another disk",
        hint="name another file with --passphrase-out, or use this one with --passphrase-file",
    )


@contextmanager
def _refusals(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StorageError(
            str(target), f"the passphrase cannot be kept there: {(exc.strerror or 'refused').lower()}"
        ) from exc

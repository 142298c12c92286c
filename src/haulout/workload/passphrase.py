"""The passphrase of a disk: made, read from a file, or kept in one. Never shown, never an argument of a program."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.errors import HauloutError, RegistryError, StorageError, UnreachableError, UsageError
from haulout.local import appearing, read_head, storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RANDOM_BYTES: Final = 32
LONGEST: Final = 512
"""Bytes that the guest of libkrun has room for."""
_SERVER_ERRORS: Final = 500
"""The first status by which a server says that it failed, not that it refuses."""
_CANNOT_KEEP: Final = "cannot keep the passphrase"


def new_passphrase() -> bytes:
    """Return a new passphrase: 32 random bytes in hexadecimal, as mkcw makes it."""
    return secrets.token_hex(RANDOM_BYTES).encode()


def read_passphrase(name: str) -> bytes:
    """Read a passphrase from a file, or from standard input if its name is ``-``; one line break at its end is cut.

    Raises:
        NotFoundError: there is no such file.
        StorageError: it cannot be read.
        UsageError: it is empty, or longer than a guest can read.
    """
    if name == "-":
        with storage_errors("standard input", doing="cannot read the passphrase"):
            data = sys.stdin.buffer.read(LONGEST + 3)
    else:
        data = read_head(Path(name), LONGEST + 3)
    data = data.removesuffix(b"\n").removesuffix(b"\r")
    where = "standard input" if name == "-" else name
    if not data:
        raise UsageError(f"the passphrase in {where} is empty")
    if len(data) > LONGEST:
        raise UsageError(f"the passphrase in {where} is longer than {LONGEST} bytes, the most that a guest can read")
    return data


@contextmanager
def keep_passphrase(target: Path, passphrase: bytes) -> Iterator[Callable[[], None]]:
    """Prepare a file with the passphrase, for its owner alone; calling what is yielded puts it in its place.

    Until then nothing is at ``target``, and an existing file is never replaced: it may be the only key to a disk.
    If the block fails after that, the file is removed again, unless the image may be there all the same: because the
    failure is that no answer came, or an interruption. There is no line break at its end, as ``cryptsetup --key-file``
    wants it.

    Raises:
        StorageError: something is there already, or the file system refuses.
    """
    if os.path.lexists(target):
        raise _taken(target)
    placed = False
    with ExitStack() as stack:
        with storage_errors(target, doing=_CANNOT_KEEP):
            link = stack.enter_context(appearing(target, passphrase))

        def place() -> None:
            nonlocal placed
            with storage_errors(target, doing=_CANNOT_KEEP):
                try:
                    link()
                except FileExistsError:
                    raise _taken(target) from None
            placed = True

        try:
            yield place
        except BaseException as exc:
            if placed and not _may_have_succeeded(exc):
                with suppress(OSError):
                    target.unlink()
            raise


def _may_have_succeeded(failure: BaseException) -> bool:
    """Whether what was asked for last may have been done in spite of a failure."""
    if isinstance(failure, RegistryError):
        return failure.status is None or failure.status >= _SERVER_ERRORS
    return isinstance(failure, UnreachableError) or not isinstance(failure, HauloutError)


def _taken(target: Path) -> StorageError:
    return StorageError(
        str(target),
        "the file exists, and may hold the only key to another disk",
        hint="name another file with --passphrase-out, or use this one with --passphrase-file",
    )

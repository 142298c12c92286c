"""The file system's refusals, in one spelling."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from haulout.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_REASONS: Final = {
    errno.EACCES: "permission denied",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is too large for the file system",
    errno.EISDIR: "it is a directory",
    errno.ELOOP: "a symbolic link is in the way",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOENT: "no such file or directory",
    errno.ENOSPC: "the file system is full",
    errno.ENOTDIR: "it is not a directory",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
}
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def reason_of(error: OSError) -> str:
    """Return what went wrong, in a few words without the path."""
    return _REASONS.get(error.errno or 0) or (error.strerror or type(error).__name__).lower()


def is_full(error: OSError) -> bool:
    """Return whether there is no room left."""
    return error.errno in _FULL


def storage_error(
    path: str | os.PathLike[str],
    error: OSError | ValueError,
    *,
    doing: str = "",
    option: str = "",
    hint: str | None = None,
) -> StorageError:
    """Return the error to raise for what the operating system says about ``path``.

    Args:
        path: the file or folder that was asked for.
        error: what was said; a ValueError is a name that no file can have (a NUL byte, a lone surrogate).
        doing: what failed, such as ``cannot hold a layer``.
        option: how the user can name another place, such as ``--output``.
        hint: the way out; None: the usual one for this error.
    """
    if isinstance(error, ValueError):
        reason = "it is not a file name"
    else:
        reason, hint = reason_of(error), hint or _hint(os.fspath(path), error, option)
    return StorageError(os.fspath(path), f"{doing}: {reason}" if doing else reason, hint=hint)


def _hint(path: str, error: OSError, option: str) -> str | None:
    where = f"choose another place with {option}" if option else "choose another place"
    if error.errno in _FULL:
        return f"make room, or {where}"
    if error.errno == errno.EFBIG:
        return where
    if error.errno in _FORBIDDEN and option:
        return f"choose a place you may write to with {option}"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"see who may use it, and the folders above it: ls -ld {path}"
    if error.errno == errno.EROFS:
        return where
    if error.errno == errno.ENAMETOOLONG and option:
        return f"choose a shorter name with {option}"
    return None


@contextmanager
def storage_errors(path: str | os.PathLike[str], *, doing: str = "", option: str = "") -> Iterator[None]:
    """Turn what the operating system says into a :class:`StorageError`; arguments as for :func:`storage_error`."""
    try:
        yield
    except (OSError, ValueError) as exc:
        # A ValueError counts only where it comes from the operating system's interface.
        if isinstance(exc, ValueError) and not _is_bad_name(exc):
            raise
        raise storage_error(path, exc, doing=doing, option=option) from exc


def _is_bad_name(error: ValueError) -> bool:
    return isinstance(error, UnicodeEncodeError) or "null byte" in str(error) or "null character" in str(error)

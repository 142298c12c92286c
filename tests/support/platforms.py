"""This interpreter as it is elsewhere: run as the beginning of a program, takes away what Python lacks there.

Usage: ``python platforms.py darwin|win32 SCRIPT ARGUMENT...``; ``PWRITES=N`` ends the process, as a killed one, at its
N-th positioned write.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import errno
import os
import select
import socket
import sys
from types import ModuleType
from typing import Any

LINUX_ONLY = {
    "os": (
        "sched_getaffinity sched_setaffinity memfd_create copy_file_range posix_fallocate posix_fadvise fdatasync splice "
        "pipe2 eventfd pidfd_open getrandom getxattr listxattr setxattr removexattr prlimit setns unshare O_TMPFILE "
        "O_PATH O_DIRECT O_LARGEFILE O_NOATIME SEEK_DATA SEEK_HOLE"
    ),
    "fcntl": "F_OFD_GETLK F_OFD_SETLK F_OFD_SETLKW F_ADD_SEALS F_GET_SEALS F_GETPIPE_SZ F_SETPIPE_SZ",
    "socket": "TCP_USER_TIMEOUT TCP_QUICKACK TCP_CORK TCP_KEEPIDLE SOCK_CLOEXEC SOCK_NONBLOCK SO_BINDTODEVICE",
    "select": "epoll",
    "resource": "prlimit RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_SIGPENDING",
}
"""Attributes of the standard library that macOS lacks; SEEK_DATA and SEEK_HOLE it has, but not every file system."""
SYMBOLS = {"fallocate", "fallocate64", "prctl", "unshare", "sync_file_range", "memfd_create", "renameat2"}
POSIX_ONLY = ("fcntl", "resource", "termios", "pwd", "grp", "readline", "pty", "syslog")


def become_macos() -> None:
    """Take away what macOS lacks, ``/proc`` too."""
    import fcntl
    import resource

    for module in (os, fcntl, socket, select, resource):
        for name in LINUX_ONLY[module.__name__].split():
            if hasattr(module, name):
                delattr(module, name)
    # The standard library's own parts for macOS.
    system = ModuleType("_scproxy")
    system._get_proxies = system._get_proxy_settings = dict  # type: ignore[attr-defined]
    sys.modules["_scproxy"] = system
    real_ioctl = fcntl.ioctl

    def ioctl(fd: Any, request: int, *rest: Any) -> Any:
        if request in {0x40049409, 0x4020940D}:  # FICLONE, FICLONERANGE
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        return real_ioctl(fd, request, *rest)

    fcntl.ioctl = ioctl

    class Library(ctypes.CDLL):
        def __getattr__(self, name: str) -> Any:
            if name in SYMBOLS:
                raise AttributeError(name)
            return super().__getattr__(name)

    ctypes.CDLL = Library  # type: ignore[misc]

    def refuse(path: object) -> None:
        with contextlib.suppress(TypeError):
            if os.fsdecode(path).startswith("/proc"):  # type: ignore[arg-type]
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in {"open", "os.listdir", "os.scandir"}:
            refuse(arguments[0])

    sys.addaudithook(hook)
    for name in ("readlink", "stat", "lstat", "access"):
        real = getattr(os, name)

        def looked(path: Any, *rest: Any, _real: Any = real, **named: Any) -> Any:
            refuse(path)
            return _real(path, *rest, **named)

        for known in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            if real in known:
                known.add(looked)
        setattr(os, name, looked)


def become_windows() -> None:
    """Take away the modules that only POSIX systems have."""
    real = builtins.__import__

    def imported(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] in POSIX_ONLY:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **named)

    for name in POSIX_ONLY:
        sys.modules.pop(name, None)
    builtins.__import__ = imported


def die_at_write(number: int) -> None:
    """End this process at its ``number``-th positioned write, as SIGKILL would."""
    real, count = os.pwrite, 0

    def pwrite(fd: int, data: Any, offset: int) -> int:
        nonlocal count
        count += 1
        if count >= number:
            os._exit(9)
        return real(fd, data, offset)

    os.pwrite = pwrite


if __name__ == "__main__":
    _, platform, script, *arguments = sys.argv
    sys.platform = platform
    {"darwin": become_macos, "win32": become_windows}[platform]()
    if "PWRITES" in os.environ:
        die_at_write(int(os.environ["PWRITES"]))
    sys.argv = ["haulout", *arguments]
    exec(compile(script, "script", "exec"), {"__name__": "__main__"})

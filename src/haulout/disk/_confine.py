"""Become another program, with less: run as a script, in a process of its own.

Usage: python -I -S _confine.py ADDRESS_SPACE CPU_SECONDS FILE_SIZE PARENT_PID PROGRAM ARGUMENT…

The limits are set here, between fork and exec, because code in ``preexec_fn`` can deadlock in a program with threads.
Only the limits must succeed. Cutting the network off is tried and may fail (containers forbid it): inspection has shown
before that the file names nothing to be fetched, so it is a second wall. A mount namespace would add none: the program
needs the directory of its target, and the names a disk could hold are refused.

Outside Linux there are only the limits, and of address space none: macOS refuses that one. There the program outlives a
parent that is killed.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys

# <linux/prctl.h> and <linux/sched.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000


def _cut_network(library: ctypes.CDLL) -> None:
    """Enter an empty network namespace, if the kernel lets us."""
    user, group = os.geteuid(), os.getegid()
    # Root keeps its user namespace: in another one it could not read the files of other users.
    flags = _CLONE_NEWNET if user == 0 else _CLONE_NEWUSER | _CLONE_NEWNET
    if library.unshare(flags) != 0 or user == 0:
        return
    with contextlib.suppress(OSError):
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as stream:  # noqa: PTH123  (pathlib starts slowly)
                stream.write(text)


def _main(address_space: str, cpu_seconds: str, file_size: str, parent: str, *command: str) -> None:
    linux = sys.platform == "linux"
    for kind, limit in (
        *([(resource.RLIMIT_AS, int(address_space))] if linux else []),
        (resource.RLIMIT_CPU, int(cpu_seconds)),
        (resource.RLIMIT_FSIZE, int(file_size)),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (soft, soft))
    # Python ignores these two, and exec would hand that on.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if linux:
        library = ctypes.CDLL(None)
        library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _cut_network(library)
        # Last, for a change of namespace clears it. The parent may have died before.
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606  (no shell is the point)


if __name__ == "__main__":
    _main(*sys.argv[1:])

"""Processor time of ``haulout pull`` until its first bytes reach the registry, beside that of an idle interpreter.

``python benchmarks/start.py [PROGRAM]``; PROGRAM is a Python with haulout installed, this one unless it is named. The
registry is this process: when the first byte arrives, it reads the processor time of all threads of the program, those
that ended included, and ends the program. Compile all packages first, as an installation does: ``python -m compileall``.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = int(os.environ.get("ROUNDS", "15"))
LIMIT = 0.10
"""Seconds allowed before the first request."""
NOTHING = ("-c", "import time; print(time.process_time())")
WAYS = {"plain HTTP": ("--plain-http",), "HTTPS": ()}
"""Over HTTPS the first byte is that of the handshake; the certificates of the system are loaded before."""


def used(python: str, listener: socket.socket, *arguments: str) -> float:
    """Return the seconds of processor that a pull spends before its first byte arrives at ``listener``."""
    with subprocess.Popen([python, "-m", "haulout", *arguments], stderr=subprocess.DEVNULL) as pull:
        try:
            connection, _ = listener.accept()
            try:
                connection.settimeout(listener.gettimeout())
                connection.recv(1)
                # The processor clock of another process: clock_getcpuclockid(3), which Python lacks.
                return time.clock_gettime(~pull.pid << 3 | 2)
            finally:
                # First: when its connection closes, it would make another, which the next one would be taken for.
                pull.kill()
                pull.wait()
                connection.close()
        finally:
            pull.kill()


def idle(python: str) -> float:
    """Return the seconds of processor that an interpreter without a program spends."""
    return float(subprocess.run([python, *NOTHING], stdout=subprocess.PIPE, check=True).stdout)


def main() -> int:
    """Measure in turn, and print the medians; 1 where the limit is exceeded."""
    python = sys.argv[1] if len(sys.argv) > 1 else sys.executable
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        os.environ["XDG_CACHE_HOME"] = folder
        pull = ("pull", f"127.0.0.1:{listener.getsockname()[1]}/disk:1", "--output", f"{folder}/disk")
        for way in WAYS.values():
            used(python, listener, *pull, *way)  # modules are compiled once
        rounds = [
            (idle(python), *(used(python, listener, *pull, *way) for way in WAYS.values())) for _ in range(ROUNDS)
        ]
    bare, *columns = zip(*rounds, strict=True)
    print(f"an idle interpreter: {statistics.median(bare):.3f} s of processor (least {min(bare):.3f})")
    for name, column in zip(WAYS, columns, strict=True):
        print(
            f"before the first request, {name}: {statistics.median(column):.3f} s (least {min(column):.3f}); "
            f"at most {LIMIT:.2f} s"
        )
    return int(any(statistics.median(column) > LIMIT for column in columns))


if __name__ == "__main__":
    sys.exit(main())

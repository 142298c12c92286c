"""Processor time of ``haulout pull`` up to its first request, beside that of an interpreter that does nothing.

``python benchmarks/start.py [PROGRAM]``; PROGRAM is a Python with haulout installed, this one unless it is named. The
program ends itself when it hands the first bytes to its socket, so that a busy machine does not count what came after.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile

ROUNDS = int(os.environ.get("ROUNDS", "15"))
LIMIT = 0.10
"""Seconds allowed before the first request."""
NOTHING = "import time; print(time.process_time())"
PULL = """
import os, socket, sys, time

def first(*_):
    used = time.process_time()
    os.write(1, str(used).encode())
    os._exit(0)

socket.socket.sendall = socket.socket.send = first
from haulout.cli.main import main
main(sys.argv[1:])
"""


def used(python: str, program: str, *arguments: str) -> float:
    """Return the seconds of processor that a program reports of itself, those of all its threads."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    ended = subprocess.run([python, "-c", program, *arguments], env=environment, stdout=subprocess.PIPE, check=True)
    return float(ended.stdout)


def main() -> int:
    """Measure in turn, and print the medians; 1 where the limit is exceeded."""
    python = sys.argv[1] if len(sys.argv) > 1 else sys.executable
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        os.environ["XDG_CACHE_HOME"] = folder
        pull = ("pull", f"127.0.0.1:{listener.getsockname()[1]}/disk:1", "--output", f"{folder}/disk")
        used(python, PULL, *pull)  # modules are compiled once
        rounds = [(used(python, PULL, *pull), used(python, NOTHING)) for _ in range(ROUNDS)]
    (started, bare), (least, least_bare) = (
        [reduce(column) for column in zip(*rounds, strict=True)] for reduce in (statistics.median, min)
    )
    print(
        f"before the first request: {started:.3f} s of processor (least {least:.3f}), {started / bare:.1f} times "
        f"python -c pass ({bare:.3f} s, least {least_bare:.3f}); at most {LIMIT:.2f} s"
    )
    return int(started > LIMIT)


if __name__ == "__main__":
    sys.exit(main())

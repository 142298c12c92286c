"""Processes to be killed: forked from one that has the modules loaded, run under strace, ended before a chosen call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CALLS = [
    "write",
    "pwrite64",
    "pread64",
    "sendto",
    "recvfrom",
    "fsync",
    "ftruncate",
    "fallocate",
    "fchmod",
    "rename",
    "renameat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
]
"""System calls before which processes are killed: those that change something, and the data's way to and fro."""


class Wrong(Exception):  # noqa: N818 - it names a finding
    """A promise that was broken."""


_SERVER = """
import ctypes, json, os, sys, traceback
import haulout.disk.convert, haulout.usecases, haulout.registry.client, haulout.cli.session
from haulout.cli import main, pull, push

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child:
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
        continue
    try:
        # PR_SET_PTRACER, PR_SET_PTRACER_ANY: strace is no ancestor.
        ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)
        os.environ |= order["environment"]
        for number, name in enumerate(("out", "err"), 1):
            os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        if order["gate"]:
            os.close(os.open(order["gate"], os.O_RDONLY))
        sys.argv = ["haulout", *order["argv"]]
        sys.exit(main.main())
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(end.code if isinstance(end.code, int) else 1 if end.code else 0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(99)
    os._exit(0)
"""


@dataclass(frozen=True)
class Point:
    """Where to kill: before call number ``number`` of ``call``, or after ``seconds``."""

    call: str = ""
    number: int = 0
    seconds: float = 0.0


class Stable:
    """Forks processes that run the command line, one at a time; can kill them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        os.mkfifo(folder / "gate")
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def run(self, argv: list[str], environment: dict[str, str]) -> dict[str, Any]:
        """Run to the end; returns the JSON printed."""
        self._begin(argv, environment)
        code = self._end()
        if code:
            raise Wrong(f"exit code {code}: {(self._folder / 'err').read_text()[-500:]}")
        result = json.loads((self._folder / "out").read_text())
        assert isinstance(result, dict)
        assert "error" not in result
        return result

    def kill(self, argv: list[str], environment: dict[str, str], point: Point) -> bool:
        """Kill at ``point``; returns whether it was reached."""
        if not point.call:
            child = self._begin(argv, environment)
            timer = threading.Timer(point.seconds, os.kill, (child, 9))
            timer.start()
            code = self._end()
            timer.cancel()
        else:
            how = ("-e", f"inject={point.call}:signal=SIGKILL:when={point.number}", "-o", "/dev/null")
            code = self._traced(argv, environment, point.call, *how)
        text = (self._folder / "err").read_text()
        if "Traceback" in text:
            raise Wrong(f"a traceback: {text[-800:]}")
        return code == -9

    def census(self, argv: list[str], environment: dict[str, str]) -> list[Point]:
        """Run to the end and list the points there were."""
        log = self._folder / "log"
        if self._traced(argv, environment, ",".join(CALLS), "-o", str(log)):
            raise Wrong((self._folder / "err").read_text()[-500:])
        counts: Counter[tuple[str, str]] = Counter()
        for line in log.read_text().splitlines():
            thread, _, rest = line.partition(" ")
            call = rest.strip().partition("(")[0]
            if call in CALLS:
                counts[thread, call] += 1
        most: Counter[str] = Counter()
        for (_, call), number in counts.items():
            most[call] = max(most[call], number)
        return [Point(call, number) for call in CALLS for number in range(1, most[call] + 1)]

    def close(self) -> None:
        """End the server."""
        self._server.stdin.close()
        self._server.wait(10)

    def _begin(self, argv: list[str], environment: dict[str, str], gate: str = "") -> int:
        names = {name: str(self._folder / name) for name in ("out", "err")}
        order = {"argv": argv, "environment": environment, "gate": gate, **names}
        self._server.stdin.write(json.dumps(order) + "\n")
        return int(self._server.stdout.readline())

    def _end(self) -> int:
        return int(self._server.stdout.readline())

    def _traced(self, argv: list[str], environment: dict[str, str], calls: str, *how: str) -> int:
        gate = str(self._folder / "gate")
        child = self._begin(argv, environment, gate)
        command = ["strace", "-f", "-p", str(child), "-e", f"trace={calls}", *how]
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as strace:
            while "attached" not in strace.stderr.readline():
                if strace.poll() is not None:
                    os.kill(child, 9)
                    raise SystemExit("strace cannot attach here")
            Path(gate).write_bytes(b"")
            code = self._end()
            strace.stderr.read()
        return code

"""Kill a machine's host side at random moments, again and again, and see that nothing is lost.

The machine runs the tiny image. Its data disk holds a file of random bytes, and the number of the last round whose
``sync`` was answered. A round runs one verb (or none), kills one or more of command, supervisor and QEMU by SIGKILL
somewhere on its way, and recovers by the verbs that a user would type next: ``start``; after ``rm`` also ``init``.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.machines import listed, supervisor, vm
from tests.support.sandbox import Done

if TYPE_CHECKING:
    from tests.support.sandbox import Sandbox

NAME = "web"
STORE = ".local/share/containers"
OPTIONS = ("oci:machines:5.0", "--cpus", "1", "--memory", "256", "--disk", "1")
SIZE = 2 << 20
BACKUP = "oci:backup:{id}"
"""A machine made anew, on kept data, is another one: its export does not replace that of the old one."""
SECONDS = 300.0
"""For a verb: a host that is busy with many others boots slowly."""
VERBS = {
    # What runs while something is killed, whether the machine runs before, and the longest wait for the kill.
    "start": (("start", NAME, "--no-connect"), False, 5.0),
    "take over": (("start", NAME, "--no-connect"), True, 1.5),
    "stop": (("stop", NAME), True, 3.0),
    "switch off": (("stop", NAME, "--wait", "0"), True, 1.0),
    "restart": (("restart", NAME), True, 7.0),
    "write": (
        ("ssh", NAME, "--", "sh", "-c", f"dd if=/dev/urandom of={STORE}/scrap bs=65536 count=64; sync"),
        True,
        2.0,
    ),
    "set": (("set", NAME, "--memory", "257"), True, 0.5),
    "rm": (("rm", NAME), False, 0.8),
    "rm --force": (("rm", NAME, "--force"), True, 4.0),
    "init": (("init", NAME, *OPTIONS), None, 1.5),
    "clone": (("clone", NAME, "copy"), False, 0.8),
    "export": (("export", NAME, BACKUP), True, 10.0),
    "nothing": ((), True, 1.0),
}
VICTIMS = (("command",), ("supervisor",), ("qemu",), ("command", "supervisor"), ("supervisor", "qemu"),
           ("command", "supervisor", "qemu"))  # fmt: skip


@dataclass
class Report:
    """What happened."""

    kills: int = 0
    rounds: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    """Rounds after which data was gone or wrong."""
    stuck: list[str] = field(default_factory=list)
    """Rounds after which the next verb of a user failed."""

    def __str__(self) -> str:
        lines = [f"{self.kills} kill -9: {len(self.lost)} lost volumes, {len(self.stuck)} machines that need a human"]
        lines += [f"  {name}: {dict(sorted(found.items()))}" for name, found in
                  (("during", self.rounds), ("killed", self.killed))]  # fmt: skip
        return "\n".join([*lines, *self.lost, *self.stuck])


class Killer:
    """Kills, recovers and checks, one round after the other.

    Args:
        place: where haulout runs; the tiny image is there.
        seed: of chance.
    """

    def __init__(self, place: Sandbox, seed: int) -> None:
        self.place = place
        self.report = Report()
        self._rng = random.Random(seed)
        self._acknowledged = 0
        self._content = ""
        self._folder = Path(place.environment["XDG_DATA_HOME"], "haulout/machines", NAME)

    def run(self, kills: int) -> None:
        """Make the machine, and kill so often."""
        self._do("init", NAME, *OPTIONS)
        self._do("start", NAME, "--no-connect")
        self._content = hashlib.md5(data := self._rng.randbytes(SIZE), usedforsecurity=False).hexdigest()
        (self.place.path / "volume").write_bytes(data)
        self._do("cp", "volume", f"{NAME}:{STORE}/volume")
        self._do("ssh", NAME, "--", "sh", "-c", f"echo 0 >{STORE}/round && sync")
        while self.report.kills < kills:
            verb = self._rng.choice(list(VERBS))
            victims = self._rng.choice(VICTIMS)
            wait = self._rng.uniform(0, VERBS[verb][2])
            what = f"round {sum(self.report.rounds.values())}: {verb}, {wait:.2f} s, {' and '.join(victims)}"
            self.report.rounds[verb] += 1
            try:
                self._round(verb, wait, victims)
                self._recover(what)
            except AssertionError as error:
                self.report.stuck.append(f"{what}: {error}")
                # A human's remedy, so that the other rounds say something, too.
                self._call("stop", NAME, "--wait", "0")
                for one in (*vm(self.place, NAME), *supervisor(self.place, NAME)):
                    _kill(one)
                self._acknowledged = 0
        self._do("stop", NAME)

    def _round(self, verb: str, wait: float, victims: tuple[str, ...]) -> None:
        words, running, _ = VERBS[verb]
        if not running:
            self._do("stop", NAME, "--wait", "5")
        if running is None:
            self._do("rm", NAME)
        if verb == "take over":
            self._kill("supervisor", None)
        if verb == "export":
            words = tuple(each.format(id=self._id()) for each in words)
        argv = ["haulout", "machine", *words] if words else ["sleep", "60"]
        with subprocess.Popen(
            argv, cwd=self.place.path, env=self.place.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as command:  # fmt: skip
            time.sleep(wait)
            for victim in victims:
                self._kill(victim, command)
            if not words:
                command.kill()
            # One that was not killed ends by itself: all verbs are bounded.
            command.wait(timeout=SECONDS)

    def _kill(self, victim: str, command: subprocess.Popen[bytes] | None) -> None:
        if victim == "command":
            found = [command.pid] if command is not None and command.poll() is None else []
        else:
            found = {"supervisor": supervisor, "qemu": vm}[victim](self.place, NAME)
        for one in found:
            _kill(one)
            self.report.kills += 1
            self.report.killed[victim] += 1

    def _recover(self, what: str) -> None:
        machines = listed(self.place)
        broken = [name for name, one in machines.items() if one["problem"]]
        assert not broken, f"{broken} broken"
        if NAME not in machines:
            self._do("init", NAME, *OPTIONS)
        if "clone" in what:
            # A copy that was killed is no machine and is in nobody's way; one that was not is whole.
            if "copy" not in machines:
                self._do("stop", NAME, "--wait", "5")
                self._do("clone", NAME, "copy")
            self._do("rm", "copy", "--data")
        self._do("start", NAME, "--no-connect")
        if "export" in what:
            self._do("export", NAME, BACKUP.format(id=self._id()))
            folders = [each.name for each in self._folder.iterdir() if each.is_dir()]
            assert set(folders) <= {"seed", "slots"}, f"what was copied is left: {folders}"
        number = sum(self.report.rounds.values())
        read = self._do(
            "ssh", NAME, "--", "sh", "-c",
            f"cat {STORE}/round; md5sum <{STORE}/volume; echo {number} >{STORE}/new && sync && "
            f"mv {STORE}/new {STORE}/round && sync",
        ).out.split()  # fmt: skip
        if len(read) < 2 or int(read[0]) < self._acknowledged or read[1] != self._content:
            self.report.lost.append(f"{what}: {read}")
        self._acknowledged = number

    def _id(self) -> str:
        return str(json.loads((self._folder / "machine.json").read_text())["id"])

    def _call(self, *words: str) -> Done:
        done = subprocess.run(
            ["haulout", "machine", *words], cwd=self.place.path, env=self.place.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def _do(self, *words: str) -> Done:
        done = self._call(*words)
        assert done.code == 0, f"machine {' '.join(words)}: exit code {done.code}: {done.err[-1500:]}"
        return done


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

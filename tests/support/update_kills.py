"""Kill what carries out an update, at each step of its journal, and see that the machine is whole afterwards.

A round updates between two variants of the tiny image, or rolls back. As soon as the journal says the step that was drawn,
and a moment later, one or more of command, supervisor and QEMU are killed by SIGKILL. Then the verb that a user would type next,
``start``, has to bring up a machine with the system that its file names, all data that was acknowledged, and no step under way.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.machines import ask, listed, supervisor, vm

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import Sandbox

NAME = "web"
STORE = ".local/share/containers"
SECONDS = 600.0
VARIANTS = {"plain": "oci:machines:5.0", "second": "oci:machines:second", "loses": "oci:machines:loses"}
STEPS = ("staging", "staged", "stopping", "trying", "undone", "committed")
VICTIMS = (("command",), ("supervisor",), ("qemu",), ("command", "supervisor"), ("supervisor", "qemu"),
           ("command", "supervisor", "qemu"))  # fmt: skip


@dataclass
class Report:
    """What happened."""

    kills: int = 0
    cuts: int = 0
    """Of these, kills of QEMU: power cuts of the guest."""
    rounds: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    half: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = f"{len(self.lost)} lost volumes, {len(self.half)} half systems, {len(self.stuck)} that need a human"
        lines = [f"{self.kills} kill -9, {self.cuts} of them of QEMU: {counts}",
                 f"  killed at: {dict(self.rounds)}; the machine had: {dict(self.ended)}"]  # fmt: skip
        return "\n".join([*lines, *self.lost, *self.half, *self.stuck])


class UpdateKiller:
    """Kills, recovers and checks, one round after the other.

    Args:
        place: where haulout runs; the variants are published there.
        folder: of the machine, which runs.
        seed: of chance.
    """

    def __init__(self, place: Sandbox, folder: Path, seed: int) -> None:
        self.place = place
        self.report = Report()
        self._folder = folder
        self._rng = random.Random(seed)
        self._number = 0
        self._acknowledged = 0
        self._orphaned = False

    def run(self, kills: int) -> None:
        """Kill so often; the machine runs before and afterwards."""
        self._check("before")
        while self.report.kills < kills:
            target = self._rng.choice([*(each for each in VARIANTS if each != self._system()), "back"])
            steps = ("stopping", "trying", "undone") if target == "back" else STEPS
            step, victims = self._rng.choice(steps), self._rng.choice(VICTIMS)
            delay = self._rng.choice((0.0, self._rng.uniform(0, 6)))
            what = f"round {self._number}: {target}, {step} + {delay:.1f} s, {' and '.join(victims)}"
            try:
                self._round(target, step, delay, victims)
                self._check(what)
            except AssertionError as error:
                self.report.stuck.append(f"{what}: {error}")
                self._call("stop", NAME, "--wait", "0")
                for one in (*vm(self.place, NAME), *supervisor(self.place, NAME)):
                    _kill(one)
                self._acknowledged = 0
                assert self._call("start", NAME, "--no-connect").returncode == 0
            faults = len(self.report.lost) + len(self.report.half) + len(self.report.stuck)
            sys.stdout.write(f"{time.strftime('%H:%M:%S')} {what}: {self.report.kills} kills, {faults} faults\n")
            sys.stdout.flush()

    def _round(self, target: str, step: str, delay: float, victims: tuple[str, ...]) -> None:
        verb = ["rollback", NAME] if target == "back" else ["update", NAME, "--to", VARIANTS[target], "--force"]
        with subprocess.Popen(
            ["haulout", "machine", *verb], cwd=self.place.path,
            env=self.place.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as command:  # fmt: skip
            self._orphaned = False
            before, deadline = self._journal().get("at"), time.monotonic() + SECONDS
            while command.poll() is None and time.monotonic() < deadline:
                found = self._journal()
                if found.get("step") == step and (step in {"stopping", "trying", "undoing"} or found["at"] != before):
                    break
                time.sleep(0.01)
            time.sleep(delay if command.poll() is None else 0)
            self.report.rounds[str(self._journal().get("step"))] += 1
            for victim in victims:
                found_pids = {
                    "command": [command.pid] if command.poll() is None else [],
                    "supervisor": supervisor(self.place, NAME),
                    "qemu": vm(self.place, NAME),
                }[victim]
                for pid in found_pids:
                    _kill(pid)
                    self._orphaned |= victim == "supervisor"
                    self.report.kills += 1
                    self.report.cuts += victim == "qemu"
            # Whoever takes over knows what ran from the journal alone.
            self._orphaned &= bool(self._journal().get("running"))
            command.wait(timeout=SECONDS)

    def _check(self, what: str) -> None:
        """Start it as a user would, and see that it is whole."""
        started = self._call("start", NAME, "--no-connect")
        assert started.returncode == 0, f"start: {started.stderr[-600:]}"
        # A supervisor that was not killed carries on with the update, whatever became of its command.
        deadline = time.monotonic() + SECONDS
        while self._journal().get("step") in {"stopping", "trying", "undoing"} and time.monotonic() < deadline:
            time.sleep(0.5)
        assert self._call("start", NAME, "--no-connect").returncode == 0
        if self._orphaned:
            found = [
                each["Id"] for each in json.loads(ask(self.place, "podman", "/v4.0.0/libpod/containers/json", NAME))
            ]
            assert found == ["db"], f"containers: {found}"
        self._orphaned = False
        self._number += 1
        read = self._call(
            "ssh", NAME, "--", "sh", "-c",
            f"cat /run/variant; cat {STORE}/round || echo 0; echo {self._number} >{STORE}/new && sync && "
            f"mv {STORE}/new {STORE}/round && mkdir -p {STORE}/fake && "
            f"cat /proc/sys/kernel/random/boot_id >{STORE}/fake/db && sync",
        ).stdout.split()  # fmt: skip
        if (journal := self._journal()).get("step") in {"stopping", "trying", "undoing"}:
            # It had begun only now.
            self._check(what)
            return
        wanted = self._system()
        parts = sorted(path.name for path in self._folder.glob("data-*"))
        if len(read) < 2 or int(read[1]) < self._acknowledged:
            self.report.lost.append(f"{what}: {read}, {self._acknowledged} was acknowledged")
        elif read[0] != wanted or len(parts) > 1 or journal.get("step") in {"stopping", "trying", "undoing"}:
            self.report.half.append(f"{what}: {read} of {wanted}, {parts}, {journal.get('step')}")
        self._acknowledged = self._number
        self.report.ended[f"{journal.get('step')}"] += 1
        one = listed(self.place)[NAME]
        assert one["state"] == "running", one["state"]

    def _system(self) -> str:
        """The variant that the machine file names."""
        image = json.loads((self._folder / "machine.json").read_text())["image"]["reference"]
        return next(name for name, reference in VARIANTS.items() if reference == image)

    def _journal(self) -> dict[str, str]:
        with suppress(OSError, ValueError):
            return dict(json.loads((self._folder / "update.json").read_text()))
        return {}

    def _call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["haulout", "machine", *words], cwd=self.place.path, env=self.place.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

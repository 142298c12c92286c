"""An update of a machine, as its supervisor carries it out: note what runs, switch, prove, keep or undo."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from haulout.errors import HauloutError
from haulout.machine.guest.link import GuestFailed
from haulout.machine.model import SOCKETS
from haulout.machine.update import api, gate, switch
from haulout.machine.update.journal import Action, Step, Switch, decide

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from haulout.machine.guest.link import Link
    from haulout.machine.model import Machine
    from haulout.machine.provider import VirtualMachine
    from haulout.machine.store import Place
    from haulout.machine.update.journal import Container, Journal

    _Running = Mapping[str, tuple[Container, ...]]
    Tell = Callable[[dict[str, Any]], Awaitable[None]]

_Result = TypeVar("_Result")
_GLANCE_SECONDS: Final = 30.0
_RESTORE_SECONDS: Final = 120.0


async def _whole(work: Callable[..., _Result], *arguments: Any) -> _Result:
    """Do something aside; who gives up waiting waits for its end, so that nothing is done behind anybody's back."""
    doing = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        raise


class Updater:
    """Carries out one switch after the other.

    Args:
        place: of the machine.
        say: told what is waited for.
    """

    def __init__(self, place: Place, say: Callable[[str], None]) -> None:
        self._place = place
        self._say = say
        self._asked = Switch.NONE
        self._running: _Running = {}
        self._interrupted = False
        """Whether a guest was left that could not be asked what runs."""
        self._quiet_since: float | None = None
        self.trial: Journal | None = None
        """Of the system that has to prove itself now."""
        self.hangs = False
        """Whether the guest that is to be left says nothing any more."""
        self.blame = False
        """Whether it is the new image's fault when its trial ends now."""

    async def begin(
        self, what: Switch, link: Link | None, life: VirtualMachine | None, machine: Machine, tell: Tell
    ) -> bool:
        """Note what runs, before the machine is stopped for the switch; False: ``tell`` is told why it is not.

        Args:
            what: is asked for.
            link: into the guest; None: there is none.
            life: of the virtual machine, if it has begun.
            machine: that runs.
            tell: told what fails.
        """
        self.hangs = self._interrupted = False
        try:
            if what is Switch.UPDATE:
                noted = await self._note(link, machine)
                if await self._unite(life, machine):
                    # That may have taken a while.
                    noted = await self._note(link, machine)
            else:
                noted = switch.plan_rollback(self._place, data=what is Switch.ROLLBACK_DATA)
                noted = replace(noted, running=await self._glance(link) or noted.running)
                if what is Switch.ROLLBACK and not self.hangs:
                    await self._unite(life, machine)
            self._quiet_since = time.monotonic()
            await asyncio.to_thread(self._write, noted)
        except (HauloutError, GuestFailed, OSError) as error:
            await tell({"failed": str(error), "console": []})
            return False
        self._asked, self._running = what, noted.running
        return True

    def _write(self, noted: Journal) -> None:
        """Write down what the switch needs; what was done to the data meanwhile is in the journal that is there."""
        before = switch.read_journal(self._place)
        kept = before is not None and before.data_kept
        switch.write_journal(self._place, noted.turned(Step.STOPPING, data_kept=kept))

    async def _unite(self, life: VirtualMachine | None, machine: Machine) -> bool:
        """Make the data disk one file before the machine stops: what fails is done while it does not run."""
        if life is None or not self._place.data_since(machine.image).exists():
            return False
        self._say("writing what changed since the last update into the data disk")
        try:
            await asyncio.to_thread(switch.give_up_before, self._place)
            await life.unite_data()
        except (HauloutError, OSError) as error:
            self._say(f"the data disk cannot be made one file while the machine runs: {error}")
            return False
        return True

    async def _note(self, link: Link | None, machine: Machine) -> Journal:
        """Return the journal with what the new system has to have.

        Raises:
            GuestFailed: that cannot be found out, or the update could not be kept.
        """
        journal = switch.read_journal(self._place)
        if link is None:
            raise GuestFailed("it does not answer")
        if journal is None or journal.step is not Step.STAGED:
            raise GuestFailed("no update is staged")
        if lacking := [each for each in machine.update.hooks if not os.access(each, os.X_OK)]:
            raise GuestFailed(f"the machine's update hooks are no programs that can be run: {', '.join(lacking)}")
        self._say("noting what runs")
        seen = await gate.look(link, machine, sorted(link.sockets))
        podmans = {each.name for each in machine.sockets if each in SOCKETS}
        if unknown := (seen.sockets | podmans & link.sockets) - {*seen.running}:
            raise GuestFailed(f"the containers that run cannot be found out: {', '.join(sorted(unknown))}")
        if passing := [each.name or each.id[:12] for all_ in seen.running.values() for each in all_ if each.passing]:
            self._say(f"not waited for, as podman removes them when they stop: {', '.join(passing)}")
        running = {name: tuple(each for each in all_ if not each.passing) for name, all_ in seen.running.items()}
        return replace(journal, sockets=tuple(sorted(seen.sockets)), running=running, old_podman=seen.podman)

    async def _glance(self, link: Link | None) -> _Running:
        """Return the containers that run, as far as that is told soon: a guest that hangs has to be left, too."""
        found: dict[str, tuple[Container, ...]] = {}
        self._say("noting what runs")
        self.hangs = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_GLANCE_SECONDS):
                if link is not None:
                    for name in sorted(link.sockets):
                        with suppress(OSError):
                            found[name] = await api.containers(link.inner(name))
            self.hangs = False
        # Podman itself knows afterwards which ones did not end.
        self._interrupted = self.hangs or link is None
        return found

    def adopt(self, machine: Machine) -> bool:
        """Look at the virtual machine that runs, left by a supervisor that was killed; True: it is to be switched off.

        Raises:
            StorageError: the journal cannot be written.
        """
        with suppress(HauloutError):
            journal = switch.read_journal(self._place)
            action = decide(journal, machine.image.digest, running=True)
            self._remember(journal)
            if action is Action.UNDO:
                return True
            switch.note(self._place, machine, journal, action)
        return False

    def _remember(self, journal: Journal | None) -> None:
        """Take over what ran before a switch that another supervisor began, and that was killed."""
        if journal is not None:
            self._running = self._running or journal.running

    async def system(self) -> Machine:
        """Return the machine to start: with its own system, or with another one on trial.

        Raises:
            HauloutError: files cannot be written, or there is no way back.
        """
        loop = asyncio.get_running_loop()

        def say(what: str) -> None:
            loop.call_soon_threadsafe(self._say, what)

        return await _whole(self._system, say)

    def _system(self, say: Callable[[str], None]) -> Machine:
        asked, self._asked, self.trial, self.blame = self._asked, Switch.NONE, None, False
        with suppress(HauloutError):
            self._remember(journal := switch.read_journal(self._place))
            # Where there is no room for it, it is undone like any other.
            self.trial = journal if asked is not Switch.NONE else None
        machine, self.trial = switch.settle(self._place, say, switching=asked is not Switch.NONE)
        return machine

    async def prove(self, link: Link, machine: Machine, seconds: float) -> Machine:
        """Have the new system prove itself, and keep it.

        Raises:
            GuestFailed: it lacks something; it is not kept.
            HauloutError: that it is kept cannot be written.
        """
        trial = self.trial
        assert trial is not None
        back = trial.kind is not Switch.UPDATE
        # The system before has to boot: what it lacks beyond that is no reason to stay with one that is to be left.
        before = gate.Proof() if back else gate.Proof(
            sockets=frozenset(trial.sockets), mounts=len(machine.mounts), running=trial.running
        )  # fmt: skip
        doing = ""

        def say(what: str) -> None:
            nonlocal doing
            doing = what
            self._say(what)

        try:
            async with asyncio.timeout(max(seconds, 1.0)):
                found = await gate.prove(link, machine, self._place, before, say)
        except TimeoutError:
            bound = machine.update.health_seconds
            raise GuestFailed(f"it did not prove itself within {bound} seconds: still {doing}") from None
        if lacks := gate.failures(before, found):
            raise GuestFailed("; ".join(lacks))
        self.blame = False
        down = None if self._quiet_since is None else time.monotonic() - self._quiet_since
        kept = await _whole(self._commit, found.podman, down)
        self.trial, self._quiet_since = None, None
        if not back:
            self._running = {}
        self._say("the system before is back" if back else "the new system is kept")
        return kept

    def _commit(self, podman: str, down: float | None) -> Machine:
        kept = switch.commit(self._place, podman, down)
        # At once: whoever was told to stop meanwhile does not come back here.
        self.trial = None
        return kept

    async def undo(self, reason: str, *, failed: bool) -> None:
        """Undo the trial, whose system does not run any more.

        Where files cannot be written, the next start does it. ``failed``: nobody asked for its end.
        """
        trial, self.trial = self.trial, None
        assert trial is not None
        # QEMU that was killed, or failed, is this host's.
        blame = failed and self.blame and trial.kind is Switch.UPDATE and not reason.startswith("QEMU ")
        with suppress(HauloutError):
            trial = switch.read_journal(self._place) or trial
        try:
            undone = await asyncio.to_thread(switch.end_trial, self._place, trial, reason, bad=blame)
            self._say(f"going back to the system before: {reason}" if undone else f"the new system is kept: {reason}")
        except HauloutError as error:
            self._say(str(error))

    async def restore(self, link: Link) -> None:
        """Start what ran before in the system that it ran in; the journal has it until then."""
        if self._running or self._interrupted:
            with suppress(TimeoutError):
                async with asyncio.timeout(_RESTORE_SECONDS):
                    await gate.bring_back(link, self._running, interrupted=self._interrupted)
            with suppress(HauloutError):
                await asyncio.to_thread(switch.forget_running, self._place)
        self._running, self._interrupted, self._quiet_since = {}, False, None

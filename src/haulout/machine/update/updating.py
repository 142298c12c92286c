"""An update of a machine, as its supervisor carries it out: note what runs, switch, prove, keep or undo."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from haulout.errors import HauloutError
from haulout.machine.guest.link import GuestFailed
from haulout.machine.update import gate, switch
from haulout.machine.update.journal import Action, Step, decide

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from haulout.machine.guest.link import Link
    from haulout.machine.model import Machine
    from haulout.machine.store import Place
    from haulout.machine.update.journal import Container, Journal

    Tell = Callable[[dict[str, Any]], Awaitable[None]]

_Result = TypeVar("_Result")
_RESTORE_SECONDS: Final = 120.0


class Switch(StrEnum):
    """What is asked for."""

    NONE = ""
    UPDATE = "update"
    ROLLBACK = "rollback"
    ROLLBACK_DATA = "rollback-data"


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
        self._running: Mapping[str, tuple[Container, ...]] = {}
        self._quiet_since: float | None = None
        self.trial: Journal | None = None
        """Of the system that has to prove itself now."""
        self.blame = False
        """Whether it is the new image's fault when its trial ends now."""

    async def begin(self, what: Switch, link: Link | None, machine: Machine, tell: Tell) -> bool:
        """Note what runs, before the machine is stopped for the switch; False: ``tell`` is told why it is not."""
        try:
            if link is None:
                raise GuestFailed("it does not answer")  # noqa: TRY301 - as when it stops answering
            await self._note(what, link, machine)
        except (HauloutError, GuestFailed, OSError) as error:
            await tell({"failed": str(error), "console": []})
            return False
        return True

    async def _note(self, what: Switch, link: Link, machine: Machine) -> None:
        journal = switch.read_journal(self._place)
        if what is not Switch.UPDATE:
            switch.check_way_back(self._place, journal, data=what is Switch.ROLLBACK_DATA)
        elif journal is None or journal.step is not Step.STAGED:
            raise GuestFailed("no update is staged")
        self._say("noting what runs")
        seen = await gate.look(link, machine, sorted(link.sockets))
        if unknown := seen.sockets - {*seen.running}:
            raise GuestFailed(f"the containers that run cannot be found out: {', '.join(sorted(unknown))}")
        if what is Switch.UPDATE and journal is not None:
            noted = journal.turned(
                Step.STOPPING, sockets=tuple(sorted(seen.sockets)), running=seen.running, old_podman=seen.podman
            )
            await asyncio.to_thread(switch.write_journal, self._place, noted)
        self._asked, self._running, self._quiet_since = what, seen.running, time.monotonic()

    def adopt(self, machine: Machine) -> bool:
        """Look at the virtual machine that runs, left by a supervisor that was killed; True: it is to be switched off.

        Raises:
            StorageError: the journal cannot be written.
        """
        with suppress(HauloutError):
            journal = switch.read_journal(self._place)
            action = decide(journal, machine.image.digest, running=True)
            if action is Action.UNDO:
                return True
            switch.note(self._place, machine, journal, action)
        return False

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
        if asked in {Switch.ROLLBACK, Switch.ROLLBACK_DATA}:
            return switch.roll_back(self._place, say, data=asked is Switch.ROLLBACK_DATA)
        if asked is Switch.UPDATE:
            # Where there is no room for it, it is undone like any other.
            self.trial = switch.read_journal(self._place)
        machine, self.trial = switch.settle(self._place, say, switching=asked is Switch.UPDATE)
        return machine

    async def prove(self, link: Link, machine: Machine, seconds: float) -> Machine:
        """Have the new system prove itself, and keep it.

        Raises:
            GuestFailed: it lacks something; it is not kept.
            HauloutError: that it is kept cannot be written.
        """
        trial = self.trial
        assert trial is not None
        before = gate.Proof(sockets=frozenset(trial.sockets), mounts=len(machine.mounts), running=trial.running)
        try:
            async with asyncio.timeout(max(seconds, 1.0)):
                found = await gate.prove(link, machine, self._place, before, self._say)
        except TimeoutError:
            raise GuestFailed(f"it did not prove itself within {machine.update.health_seconds} seconds") from None
        if lacks := gate.failures(before, found):
            raise GuestFailed("; ".join(lacks))
        self.blame = False
        down = None if self._quiet_since is None else time.monotonic() - self._quiet_since
        kept = await _whole(self._commit, found.podman, down)
        self.trial, self._running, self._quiet_since = None, {}, None
        self._say("the new system is kept")
        return kept

    def _commit(self, podman: str, down: float | None) -> Machine:
        kept = switch.commit(self._place, podman, down)
        # At once: whoever was told to stop meanwhile does not come back here.
        self.trial = None
        return kept

    async def undo(self, reason: str, *, failed: bool) -> bool:
        """Undo the trial, whose system does not run any more; return whether the machine ran before it.

        Where files cannot be written, the next start does it. ``failed``: nobody asked for its end.
        """
        trial, self.trial = self.trial, None
        assert trial is not None
        # QEMU that was killed, or failed, is this host's.
        blame = failed and self.blame and not reason.startswith("QEMU ")
        with suppress(HauloutError):
            trial = switch.read_journal(self._place) or trial
        try:
            undone = await asyncio.to_thread(switch.end_trial, self._place, trial, reason, bad=blame)
            self._say(f"going back to the system before: {reason}" if undone else f"the new system is kept: {reason}")
        except HauloutError as error:
            self._say(str(error))
        return self._quiet_since is not None

    async def restore(self, link: Link) -> None:
        """Start what ran before in the system that it ran in."""
        running, self._running = self._running, {}
        if running:
            with suppress(TimeoutError):
                async with asyncio.timeout(_RESTORE_SECONDS):
                    await gate.bring_back(link, running)
        self._quiet_since = None

"""The supervisor: one process for each machine that runs. It holds the sockets, boots the guest and explains its end.

It holds ``run.lock`` for its life, and QEMU holds ``vm.lock`` for its own. Killed, it leaves QEMU running; the next one
takes that over.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from haulout.errors import ConflictError, HauloutError
from haulout.machine.events import EventKind, publish
from haulout.machine.guest import agent, proxy, trim, trust
from haulout.machine.guest.link import GuestFailed, Link
from haulout.machine.provider import power_off
from haulout.machine.states import Phase, State, Status, why_ended
from haulout.machine.store import boot
from haulout.machine.supervision.control_server import Story, answer
from haulout.machine.supervision.forward import BACKLOG, CHUNK, Forwarder, bind
from haulout.machine.update.updating import Updater

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
    from pathlib import Path

    from haulout.machine.provider import Ended, Provider, VirtualMachine
    from haulout.machine.store import Place
    from haulout.machine.update.journal import Switch

_Result = TypeVar("_Result")
STOP_SECONDS: Final = 90.0
"""That a guest has to shut down, unless the user says otherwise."""
_UNREADY_SECONDS: Final = 15.0
"""The same for one that has not booted: its power button may lead nowhere."""
_BOOT_SECONDS: Final = 300.0
_STARVED: Final = "paused: the file system of its disks is full"
_LOOK_SECONDS: Final = 2.0
_DRAIN_SECONDS: Final = 3.0
"""That requests under way have before a guest is shut down."""
_LOSS_SECONDS: Final = 2.0
"""That a machine has to end which loses what served it: then there is nothing to tell."""
_HOLD_SECONDS: Final = 60.0
"""After which an ephemeral machine ends that nobody holds."""


class Supervisor:
    """Runs one machine until it ends.

    Args:
        place: its files; ``run.lock`` is held by this process.
        provider: makes it run.
    """

    def __init__(self, place: Place, provider: Provider) -> None:
        self._place = place
        self._provider = provider
        self._machine = place.load()
        self._phase = Phase.BOOTING
        self._since = time.monotonic()
        self._waiting_for = ""
        self._life: VirtualMachine | None = None
        self._link: Link | None = None
        self._ready = asyncio.Event()
        self._stop = asyncio.Event()
        self._stop_seconds = STOP_SECONDS
        self._again = False
        self.boot_seconds = _BOOT_SECONDS
        self._environment: Mapping[str, str] = os.environ
        self.story = Story()
        self._came_up = False
        self._lost: list[str] = []
        self._updates = Updater(place, self._say)
        self._holders = 0
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._forwarders: list[Forwarder] = []

    async def run(self, listening: Callable[[], None]) -> None:
        """Run it to its end.

        Args:
            listening: called when clients can connect.

        Raises:
            OSError: a socket cannot be bound.
        """
        await self._listen()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        listening()
        self._spawn(self._keep_listening())
        if self._machine.ephemeral:
            self._spawn(self._end_unless_held())
        try:
            while True:
                self._again = False
                await self._live()
                if not self._again:
                    break
                self._stop.clear()
                self._machine = self._place.load()
        finally:
            # Those who wait for the end are told.
            await asyncio.sleep(0.1)
            self._hang_up()
            shutil.rmtree(self._place.runtime, ignore_errors=True)

    async def _listen(self) -> None:
        self._hang_up()
        for each in self._machine.sockets:
            inner = self._place.socket(f"to-{each.name}")
            forwarder = Forwarder(inner, self._ready, partial(self._lacks, each.name))
            self._forwarders.append(forwarder)
            listener = bind(self._place.socket(each.name))
            self._servers.append(
                await asyncio.start_unix_server(forwarder.serve, sock=listener, backlog=BACKLOG, limit=CHUNK)
            )
        self._servers.append(
            await asyncio.start_unix_server(partial(answer, self), sock=bind(self._place.socket("control")))
        )

    def _hang_up(self) -> None:
        while self._servers:
            self._servers.pop().close()

    async def _keep_listening(self) -> None:
        """Listen anew, and connect anew, where the runtime directory was removed, as at the end of a user's session."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self._place.socket("control").exists():
                with suppress(HauloutError, OSError):
                    self._place.prepare_runtime(self._machine)
                    await self._listen()
                    if self._life is not None:
                        # The configuration of ssh, and its sockets, were there, too.
                        self._life.reset.set()

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(self) -> None:
        self._enter(Phase.BOOTING)
        self.story.begin_chapter()
        self._came_up = False
        self._lost = []
        last = self._place.last_event()
        if last is not None and last.kind != "ended" and not self._place.is_held("vm.lock"):
            # Whoever would have told was killed, too.
            self._publish(EventKind.CRASHED, reason=why_ended(last, State.STOPPED, boot()))
        self._place.record("started")
        self._publish(EventKind.STARTING)
        begun = None
        try:
            begun = await self._unless_stopped(self._begin(shutting_down=last is not None and last.kind == "stopping"))
            ended = await self._attend(*begun)
        except asyncio.CancelledError:
            await self._finish("stopped: it had not begun", failed=False)
        except (HauloutError, GuestFailed, OSError) as error:
            # Before it began, its console is that of the life before.
            await self._finish(str(error), failed=True, console=begun is not None, hint=getattr(error, "hint", None))
        else:
            await self._finish(*ended)

    async def _unless_stopped(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Do something that may hang; it is cancelled where a stop is asked for."""
        doing, asked = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        await asyncio.wait([doing, asked], return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        doing.cancel()
        return await doing

    async def _begin(self, *, shutting_down: bool) -> tuple[VirtualMachine, tuple[str, str]]:
        trial = False
        if self._place.is_held("vm.lock"):
            self._say("taking over the virtual machine that runs")
            self._life = await self._provider.adopt(self._place.name, self._place)
            # Its file systems may have been at rest when the one before was killed.
            self._spawn(agent.thaw(self._place.socket("agent")))
            trial = await asyncio.to_thread(self._updates.adopt, self._machine)
        if self._life is not None and (shutting_down or trial):
            # Its guest was told to, and may answer for a while; what a trial wrote is given up.
            self._say("waiting for it to shut down")
            ending = asyncio.ensure_future(self._life.ended())
            await power_off(self._life, ending, 0.0 if trial else self._stop_seconds)
            self._life = None
        life = self._life
        if life is None:
            self._machine = await self._updates.system()
        authorities = trust.read_authorities(self._machine.ca)
        proxies = proxy.proxy_for_guest(self._machine.proxy, self._environment)
        for remark in (*authorities.remarks, *proxies.remarks):
            self._say(remark)
        additions = trust.script(authorities.certificates), proxy.script(proxies.variables)
        if life is None:
            lock = self._place.take("vm.lock")
            try:
                self._life = life = await self._provider.start(self._machine, self._place, self._say, lock)
            finally:
                os.close(lock)
        return life, additions

    async def _attend(self, life: VirtualMachine, additions: tuple[str, str]) -> tuple[str, bool]:
        """Wait for an end: return why, and whether that was a failure."""
        self._updates.blame = True
        ending = asyncio.ensure_future(life.ended())
        linking = asyncio.create_task(self._keep_linked(life, additions))
        asked = asyncio.create_task(self._stop.wait())
        heeding = asyncio.create_task(self._heed_losses(life, ending))
        try:
            await asyncio.wait({ending, linking, asked}, return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                return ending.result().reason, not (self._stop.is_set() or (ending.result().by_guest and self._came_up))
            if linking.done() and not self._stop.is_set():
                failure = str(linking.exception() or "its connection ended")
                await power_off(life, ending, 1.0)
                return failure, True
            was_ready = self._ready.is_set()
            self._enter(Phase.STOPPING)
            self._place.record("stopping")
            self._say("stopping")
            # From here on clients wait: the guest may end its services in any order.
            self._ready.clear()
            await asyncio.gather(*(each.drain(_DRAIN_SECONDS) for each in self._forwarders))
            if was_ready and self._link is not None and not self._machine.ephemeral:
                await trim.trim(self._link, self._stop_seconds)
            linking.cancel()
            ended: Ended = await power_off(
                life, ending, self._stop_seconds if was_ready else min(self._stop_seconds, _UNREADY_SECONDS)
            )
            return f"stopped: {ended.reason}", False
        finally:
            self._ready.clear()
            for task in (linking, asked, heeding):
                task.cancel()
            await asyncio.gather(linking, asked, heeding, return_exceptions=True)
            self._life = None

    async def _heed_losses(self, life: VirtualMachine, ending: asyncio.Future[Ended]) -> None:
        """Tell what the machine loses while it runs."""
        while True:
            lost = await life.losses.get()
            if (await asyncio.wait({ending}, timeout=_LOSS_SECONDS))[0] or self._stop.is_set():
                return
            if lost not in self._lost:
                self._lost.append(lost)
                self._tell_whether_whole()

    def _tell_whether_whole(self) -> None:
        missing = self._missing()
        data = {"missing": missing or None, "lost": self._lost or None}
        self._publish(EventKind.DEGRADED if missing or self._lost else EventKind.STARTED, **data)

    async def _keep_linked(self, life: VirtualMachine, additions: tuple[str, str]) -> None:
        """Connect, and connect again whenever the connection is lost.

        Raises:
            GuestFailed: the guest does not become ready.
        """
        if not life.ssh_port:
            raise GuestFailed("QEMU does not answer")
        trial = self._updates.trial is not None
        seconds: float | None = self._machine.update.health_seconds if trial else self.boot_seconds
        while not self._stop.is_set():
            self._enter(Phase.CONNECTING)
            self._link = link = Link(self._place, self._machine, life, additions)
            try:
                began = time.monotonic()
                await link.open(self._say, seconds)
                if self._updates.trial is not None:
                    left = (seconds or 0.0) - (time.monotonic() - began)
                    self._machine = await self._updates.prove(link, self._machine, left)
                await self._updates.restore(link)
                # A guest that was ready once is never given up: it may have been stopped with its host.
                seconds = None
                self._enter(Phase.READY)
                self._ready.set()
                self._came_up = True
                life.booted()
                self._place.record("ready")
                self._tell_whether_whole()
                await self.story.tell({"done": True})
                if trim.is_due(self._place.file("trimmed")):
                    self._spawn(trim.trim(link))
                await link.lost()
            finally:
                self._ready.clear()
                await link.close()

    async def _finish(self, reason: str, failed: bool, *, console: bool = True, hint: str | None = None) -> None:  # noqa: FBT001 - a pair that is passed on
        self._place.record("ended", reason)
        if self._updates.trial is not None:
            await self._updates.undo(reason, failed=failed)
            self._again |= failed and not self._stop.is_set()
            failed = False
        self._publish(EventKind.CRASHED if failed else EventKind.STOPPED, reason=reason)
        if failed:
            said = self._place.console() if console else []
            await self.story.tell({"failed": reason, "console": said, "hint": hint})
        elif not self._again:
            await self.story.tell({"done": True})

    def _publish(self, kind: EventKind, **data: Any) -> None:
        publish(self._place.history, self._place.name, self._machine.id, kind, **data)

    def _enter(self, phase: Phase) -> None:
        self._phase, self._since = phase, time.monotonic()

    def _say(self, what: str) -> None:
        self._waiting_for = what
        self._spawn(self.story.tell({"say": what}))

    def _lacks(self, name: str) -> bool:
        return name in self._missing()

    def _missing(self) -> list[str]:
        found = self._link.sockets if self._link is not None else set()
        return [each.name for each in self._machine.sockets if self._phase is Phase.READY and each.name not in found]

    def status(self) -> Status:
        """Return how the machine is."""
        missing = self._missing()
        starved = self._life is not None and self._life.starved
        waiting_for = _STARVED if starved else "" if self._phase is Phase.READY else self._waiting_for
        return Status(
            self._phase,
            time.monotonic() - self._since,
            waiting_for,
            self._life.accelerator if self._life else "",
            self._life.ssh_port if self._life else 0,
            tuple(each.name for each in self._machine.sockets if each.name not in missing),
            tuple(missing),
            tuple(self._lost),
        )

    async def clients(self) -> int:
        """Return how many are connected; see :class:`haulout.machine.supervision.control_server.Supervised`."""
        through_ports = await self._life.connections() if self._life is not None else 0
        return through_ports + sum(len(each) for each in self._forwarders)

    @property
    def is_ready(self) -> bool:
        """Whether the guest answers."""
        return self._ready.is_set()

    def stop(self, seconds: float | None, environment: Mapping[str, str] | None, *, again: bool) -> None:
        """End this life of the machine; see :class:`haulout.machine.supervision.control_server.Supervised`."""
        self._again = again
        self._stop_seconds = STOP_SECONDS if seconds is None else seconds
        self._environment = self._environment if environment is None else environment
        self._stop.set()

    def switch(self, what: Switch) -> None:
        """Go on to another system; see :class:`haulout.machine.supervision.control_server.Supervised`."""
        self._spawn(self._switch(what))

    async def _switch(self, what: Switch) -> None:
        link = self._link if self._ready.is_set() else None
        begins = self._updates.begin(what, link, self._life, self._machine, self.story.tell)
        if await begins and not self._stop.is_set():
            self.stop(_UNREADY_SECONDS if self._updates.hangs else None, None, again=True)

    async def forward(self) -> None:
        """Lead the ports into the guest that the machine file names by now; see ``VirtualMachine``."""
        if self._life is not None:
            await self._life.forward(self._place.load().forwards)

    def copy_data(self, target: Path) -> AsyncGenerator[int, None]:
        """Copy the data disk; see ``VirtualMachine``."""
        if self._life is None or self._link is None or not self.is_ready:
            raise ConflictError(f"machine {self._place.name} is not ready")
        sync = partial(self._link.run, "sync")
        return self._life.copy_data(target, agent.at_rest(self._place.socket("agent"), sync))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep an ephemeral machine from ending; nothing of it is needed after the last one who does."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if self._machine.ephemeral and not self._holders:
                self._stop_seconds = 0.0
                self._stop.set()

    async def _end_unless_held(self) -> None:
        # Until then, whoever made it waits for it, and its boot has bounds of its own.
        await self._ready.wait()
        await asyncio.sleep(_HOLD_SECONDS)
        if not self._holders:
            self._stop.set()

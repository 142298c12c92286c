"""QEMU, started and taken over: its process is held, its end is explained."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from haulout.errors import ConflictError, ToolError
from haulout.local import Peer, begin, printable, storage_errors
from haulout.machine.guest import agent, seed
from haulout.machine.model import Forward, Protocol
from haulout.machine.partial import Served, served_at
from haulout.machine.provider import Ended
from haulout.machine.qemu import accel, argv, virtiofsd
from haulout.machine.qemu.copying import copy_data
from haulout.machine.qemu.files import check, prepare
from haulout.machine.qemu.qmp import Qmp
from haulout.machine.qemu.uniting import end_uniting, unite_data
from haulout.machine.store import tail

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from haulout.machine.model import Machine, Mount
    from haulout.machine.store import Place

_SSH: Final = 22
_POLL: Final = 0.05
_START_SECONDS: Final = 30.0
_ADOPT_SECONDS: Final = 60.0
"""That one may take that has just begun, or is just ending: a busy host is slow at both."""
_ROOM_SECONDS: Final = 2.0
"""Between looks whether the host has room again."""
_REASONS: Final = {
    "guest-shutdown": "the guest shut down",
    "guest-panic": "the guest's kernel panicked",
    "guest-reset": "the guest rebooted",
    "host-qmp-quit": "it was switched off",
    "host-signal": "QEMU was ended by a signal",
}


class _Life:
    """One life of QEMU, seen through its QMP socket."""

    def __init__(
        self, accelerator: str, peer: Peer, process: asyncio.subprocess.Process | None, log: Path, agent_socket: Path
    ) -> None:
        self.accelerator = accelerator
        self.ssh_port = 0
        self.resets = 0
        self.reset = asyncio.Event()
        self.panicked = False
        self.starved = False
        self._going_on: asyncio.Future[None] | None = None
        self._peer = peer
        self._process = process
        self._log = log
        self._agent = agent_socket
        self._copying = asyncio.Lock()
        self._qmp: Qmp | None = None
        self._reason = ""
        self.losses: asyncio.Queue[str] = asyncio.Queue()
        self.helpers: list[asyncio.subprocess.Process] = []
        self._watches: list[asyncio.Task[None]] = []
        self._base: Served | None = None

    async def connect(self, path: Path) -> None:
        self._qmp = await Qmp.connect(path, self._happened)
        forwards = _forwards(await self._monitor("info usernet"))
        self.ssh_port = next((each.host for each in forwards if each.guest == _SSH), 0)

    def _happened(self, event: dict[str, Any]) -> None:
        kind, data = event.get("event"), event.get("data", {})
        if kind == "SHUTDOWN":
            self._reason = str(data.get("reason", ""))
        if kind == "RESET":
            self.resets += 1
            self.reset.set()
        self.panicked |= kind == "GUEST_PANICKED"
        if kind == "BLOCK_IO_ERROR" and data.get("nospace") and data.get("action") == "stop":
            self.starved = True
            self._going_on = asyncio.ensure_future(self._go_on())

    async def _go_on(self) -> None:
        """Let a guest try again that QEMU paused at a write for which the host has no room."""
        await asyncio.sleep(_ROOM_SECONDS)
        self.starved = False
        await self._tell("cont")

    async def ended(self) -> Ended:
        """Wait for its end, and return why."""
        if self._process is not None:
            code = await self._process.wait()
        else:
            await self._peer.ended()
            code = 0
        if self._qmp is not None:
            # The last event may still be in the socket.
            await asyncio.sleep(0)
            await self._qmp.close()
        self._peer.close()
        for watch in self._watches:
            watch.cancel()
        for helper in self.helpers:
            with suppress(ProcessLookupError):
                helper.terminate()
        if code > 0 or (code < 0 and self._reason != "host-signal"):
            return Ended(f"QEMU {_fate(code, self._log)}")
        reason = _REASONS.get(self._reason, self._reason or "QEMU was killed, or crashed")
        return Ended(reason, by_guest=self._reason == "guest-shutdown")

    def watch(self, fate: Coroutine[Any, Any, str]) -> None:
        """Watch a program that serves this life: ``fate`` waits for its end, and returns what is lost then."""

        async def lose() -> None:
            self.losses.put_nowait(await fate)

        self._watches.append(asyncio.create_task(lose()))

    def serve(self, base: Served | None) -> None:
        """Keep its base served, where it is not whole yet."""
        self._base = base
        if base is not None:
            self._watches.append(asyncio.create_task(base.keep()))

    async def has_served_base(self) -> bool:
        """Return whether its base is served, and not a file."""
        nodes = await self._qmp.execute("query-named-block-nodes", flat=True) if self._qmp is not None else []
        return any(each["node-name"] == "base-file" and each["drv"] == "nbd" for each in nodes)

    def booted(self) -> None:
        """Let begin what may wait until the guest has booted."""
        if self._base is not None:
            self._base.settle()

    async def watch_mounts(self, place: Place) -> None:
        """Watch the programs that serve the mounts, which another process has started.

        Raises:
            ToolError: QEMU does not answer.
        """
        for each in await self._qmp.execute("query-chardev") if self._qmp is not None else []:
            if found := re.fullmatch(r"fs(\d+)", each["label"]):
                what = f"mount {int(found[1]) + 1} hangs"
                if each["filename"].startswith("disconnected:"):
                    self.losses.put_nowait(f"{what}: virtiofsd ended")
                    continue
                # By what it writes: whoever connected to its socket would take it away from QEMU.
                for peer in await asyncio.to_thread(Peer.writing, place.file(f"virtiofsd{found[1]}.log")):
                    self.watch(_peer_lost(peer, what))

    async def has_network(self) -> bool:
        """Return whether the guest's driver has set filters for what the card receives: Linux does when it is up."""
        with suppress(ToolError):
            found = await self._qmp.execute("query-rx-filter") if self._qmp is not None else []
            return any(each["multicast-table"] for each in found)
        return False

    async def connections(self) -> int:
        """Return how many are connected to forwarded ports; see :class:`haulout.machine.provider.VirtualMachine`."""
        table = await self._monitor("info usernet")
        ports = {each.guest for each in _forwards(table) if each.protocol is Protocol.TCP} - {_SSH}
        return sum(int(port) in ports for port in re.findall(r"(?m)^\s*TCP\[ESTABLISHED\]\s+\d+\s+\S+\s+(\d+)", table))

    async def forward(self, wanted: Sequence[Forward]) -> None:
        """Lead other ports into the guest; see :class:`haulout.machine.provider.VirtualMachine`."""
        found = {each for each in _forwards(await self._monitor("info usernet")) if each.host != self.ssh_port}
        for each in found - set(wanted):
            await self._monitor(f"hostfwd_remove network {argv.rule(each).rpartition('-')[0]}")
        for each in dict.fromkeys(wanted):
            if each not in found and (said := await self._monitor(f"hostfwd_add network {argv.rule(each)}")):
                await self.forward(list(found))
                raise _taken(said) or ToolError("QEMU", printable(said))

    async def _monitor(self, line: str) -> str:
        if self._qmp is None:
            raise ToolError("QEMU", "does not answer")
        said: str = await self._qmp.execute("human-monitor-command", **{"command-line": line})
        return said.strip()

    def copy_data(self, target: Path, moment: AbstractAsyncContextManager[object]) -> AsyncGenerator[int, None]:
        """Copy the data disk; see :func:`haulout.machine.qemu.copying.copy_data`."""
        if self._qmp is None:
            raise ToolError("QEMU", "does not answer")
        return copy_data(self._qmp, self._copying, target, moment)

    async def unite_data(self) -> None:
        """Make the data disk one file; see :func:`haulout.machine.qemu.uniting.unite_data`."""
        if self._qmp is None:
            raise ToolError("QEMU", "does not answer")
        await unite_data(self._qmp, self._copying)

    async def go_on(self) -> None:
        """Let it go on as it was left by a supervisor that was killed, which may have paused it.

        Raises:
            ToolError: it does not answer.
            StorageError: files cannot be removed.
        """
        if self._qmp is not None:
            await end_uniting(self._qmp)
            await self._tell("cont")

    async def press_power_button(self) -> None:
        """Ask the guest to shut down, and its agent, too: a guest may pass over the button; never fails."""
        await self._tell("system_powerdown")
        await agent.shutdown(self._agent)

    async def quit(self) -> None:
        """End it as a power cut does; never fails."""
        await self._tell("quit")

    def kill(self) -> None:
        """End its process; never fails."""
        self._peer.kill()

    async def _tell(self, command: str) -> None:
        with suppress(ToolError):
            if self._qmp is not None:
                await self._qmp.execute(command)


class Qemu:
    """Makes virtual machines by QEMU.

    Args:
        notes: file that remembers which accelerator works.
    """

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self._architecture = {"arm64": "aarch64", "AMD64": "x86_64"}.get(os.uname().machine, os.uname().machine)

    async def start(self, machine: Machine, place: Place, say: Callable[[str], None], lock: int) -> _Life:
        """Start it; see :class:`haulout.machine.provider.Provider`."""
        program = argv.program(self._architecture)
        say("choosing how to run the guest")
        chosen = await asyncio.to_thread(accel.choose, program, machine.accelerator, self._architecture, self._notes)
        preparing = asyncio.to_thread(prepare, machine, place, self._architecture)
        files, served = await asyncio.gather(preparing, self._served(machine, place))
        say(f"starting QEMU ({chosen})")
        told = seed.credentials(machine, place.file("key.pub").read_text("ascii").strip())
        line = argv.command(machine, files, chosen, self._architecture, told)
        log = place.file("qemu.log")
        begun: list[asyncio.subprocess.Process] = []
        try:
            for number, socket in enumerate(files.mounts):
                said = place.file(f"virtiofsd{number}.log")
                begun.append(await virtiofsd.share(machine.mounts[number], socket, said))
            with storage_errors(log, doing="cannot be written"), log.open("wb") as output:
                process = await begin(line, output=output, descriptors=(lock,), hint=accel.hint(self._architecture))
            begun.append(process)
            life = _Life(chosen.value, await _peer(process, files.qmp, log), process, log, files.agent)
            life.helpers = begun[:-1]
            life.serve(served)
            for number, (helper, mount) in enumerate(zip(life.helpers, machine.mounts, strict=True)):
                life.watch(_helper_lost(helper, mount, place.file(f"virtiofsd{number}.log")))
            try:
                await life.connect(files.qmp)
            except ToolError:
                # It listens before it has set up its network.
                with suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), 1.0)
                _check(process, log)
                raise
        except BaseException:
            for each in begun:
                with suppress(ProcessLookupError):
                    each.kill()
                await each.wait()
            raise
        return life

    @staticmethod
    async def _served(machine: Machine, place: Place) -> Served | None:
        """Have the base served, where it is not whole yet."""
        if served_at(place, machine) is None:
            return None
        served = Served(place, machine)
        await served.begin()
        return served

    def check(self, machine: Machine, place: Place) -> None:
        """Check what a start needs; see :func:`haulout.machine.qemu.files.check`."""
        check(machine, place, self._architecture)

    async def adopt(self, name: str, place: Place) -> _Life:
        """Take over one that runs; see :class:`haulout.machine.provider.Provider`."""
        deadline = time.monotonic() + _ADOPT_SECONDS
        while (peer := Peer.of(place.socket("qmp"))) is None:
            # It may have been started a moment ago.
            if time.monotonic() > deadline or not place.is_held("vm.lock"):
                raise ToolError(
                    "QEMU", f"runs for machine {name}, but its control socket is gone",
                    hint=f"haulout machine stop {name} ends it, as a power cut does",
                )  # fmt: skip
            await asyncio.sleep(_POLL)
        life = _Life("", peer, None, place.file("qemu.log"), place.socket("agent"))
        try:
            await life.connect(place.socket("qmp"))
            if await life.has_served_base():
                life.serve(Served(place, place.load()))
            await life.go_on()
            await life.watch_mounts(place)
        except ToolError:
            # It hangs: there is no other way with it than to end it, which the caller does.
            life.ssh_port = 0
        return life


async def _peer(process: asyncio.subprocess.Process, path: Path, log: Path) -> Peer:
    """Wait until QEMU listens."""
    try:
        async with asyncio.timeout(_START_SECONDS):
            while True:
                peer = Peer.of(path)
                if peer is not None:
                    return peer
                _check(process, log)
                await asyncio.sleep(_POLL)
    except TimeoutError:
        raise ToolError("QEMU", f"did not begin to listen within {_START_SECONDS:.0f} seconds: {_said(log)}") from None


def _check(process: asyncio.subprocess.Process, log: Path) -> None:
    if process.returncode is not None:
        said = _said(log)
        raise _taken(said) or ToolError("QEMU", f"ended at once, with exit code {process.returncode}: {said}")


async def _helper_lost(helper: asyncio.subprocess.Process, mount: Mount, log: Path) -> str:
    return f"the mount of {mount.source} hangs: virtiofsd {_fate(await helper.wait(), log)}"


async def _peer_lost(peer: Peer, what: str) -> str:
    try:
        await peer.ended()
    finally:
        peer.close()
    return f"{what}: virtiofsd ended"


def _fate(code: int, log: Path) -> str:
    """Say how a process ended."""
    if code < 0:
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    return f"failed with exit code {code}: {_said(log)}"


def _said(log: Path) -> str:
    lines = [line for line in tail(log, 4096).splitlines() if line.strip()]
    return printable(lines[-1]) if lines else "it said nothing"


def _forwards(text: str) -> list[Forward]:
    """Read the table of ``info usernet``, in the order of the command line."""
    found = re.findall(r"(?m)^\s*(TCP|UDP)\[HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)\s+\S+\s+(\d+)", text)
    return [Forward(int(host), int(guest), Protocol(kind.lower())) for kind, host, guest in found]


def _taken(text: str) -> ConflictError | None:
    """Return the error about a port, where QEMU failed at that."""
    found = re.search(r"forwarding rule '(tcp|udp):127\.0\.0\.1:(\d+)", text)
    if found is None:
        return None
    return ConflictError(
        f"port {found[2]} ({found[1]}) of this host is taken, or needs root",
        hint="end what listens there, or choose other ports, or none: haulout machine set NAME --publish …",
    )

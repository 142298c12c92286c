"""The way into a guest that runs: one ssh for each of its users, which holds the sockets' inner ends."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from haulout.local import begin, replace_file, storage_errors
from haulout.machine import guest, ssh

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from haulout.machine.model import Machine
    from haulout.machine.provider import VirtualMachine
    from haulout.machine.store import Place

_GREETING_SECONDS: Final = (1.0, 15.0)
"""The first and the longest wait for a greeting. What is sent to a guest before it has a driver for its network card is
lost, and sent again too late; but a guest that is slow needs its time."""
_GREETING_SHARE: Final = 0.15
"""How much of the time since the start a connection waits: slow guests boot slowly, too."""
_GREETINGS: Final = 1
"""Connections that wait at once. Each is a process in the guest, also one that was given up: QEMU goes on with it."""
_SECOND_USER_SECONDS: Final = 20.0
_SOCKET_SECONDS: Final = 60.0
_SCRIPT_SECONDS: Final = 120.0
_APART_SECONDS: Final = 120.0
"""For certificates: a guest without acceleration, on a busy host, is slow, and its sockets are not to wait for that."""
_MOST_RESETS: Final = 5
CLOCK_SECONDS: Final = 5.0
"""Between looks at the guest's clock. Timers stand still while the host sleeps: it is wrong for that long at most."""
_CLOCK_WRONG: Final = 1.0
_CLOCK_TRIES: Final = 4
"""A guest that is stopped between question and order sets an old time, and is asked again."""


class GuestFailed(Exception):  # noqa: N818 - named by what is wrong
    """A guest that will not become ready; the supervisor tells who waits for it."""


class Link:
    """ssh into a guest, from the first sign of life to the loss of the connection."""

    def __init__(self, place: Place, machine: Machine, life: VirtualMachine, additions: tuple[str, str]) -> None:
        self._place = place
        self._machine = machine
        self._life = life
        self._additions = additions
        self._masters: dict[str, asyncio.subprocess.Process] = {}
        self._resets = 0
        self.sockets: set[str] = set()
        """Names of those the guest has."""

    def inner(self, name: str) -> Path:
        """Return where ssh listens for a socket of the guest."""
        return self._place.socket(f"to-{name}")

    async def open(self, say: Callable[[str], None], seconds: float | None) -> None:
        """Wait until ssh answers, prepare the guest, and connect its sockets.

        Raises:
            GuestFailed: not within ``seconds`` (None: any), or it shows that it never will.
        """
        with storage_errors(self._place.ssh_config, doing="cannot be written"):
            replace_file(self._place.ssh_config, ssh.config(self._place, self._life.ssh_port).encode(), durable=False)
        self._resets = self._life.resets
        if not self._place.file(ssh.KNOWN).exists():
            self._place.file(ssh.LEARNED).unlink(missing_ok=True)
        self._life.reset.clear()
        say("waiting for the guest to boot")
        try:
            async with asyncio.timeout(seconds):
                await self._banner()
                say("waiting for ssh")
                await self._log_in()
        except TimeoutError:
            raise GuestFailed(f"ssh did not answer within {seconds or 0:.0f} seconds") from None
        say("waiting for the sockets")
        await self._prepare(say)

    def _check(self) -> None:
        if self._life.panicked or any("Kernel panic" in line for line in self._place.console(30)):
            raise GuestFailed("the guest's kernel panicked")
        if self._life.resets - self._resets > _MOST_RESETS:
            raise GuestFailed("the guest reboots again and again")

    async def _banner(self) -> None:
        """Wait until a server greets: QEMU accepts connections long before the guest does."""
        tries: set[asyncio.Task[bool]] = set()
        began = time.monotonic()
        first, longest = _GREETING_SECONDS
        try:
            while True:
                self._check()
                now = time.monotonic()
                patience = min(first + _GREETING_SHARE * (now - began), longest)
                tries.add(asyncio.create_task(_greeted(self._life.ssh_port, patience)))
                while (left := now + patience / _GREETINGS - time.monotonic()) > 0:
                    # A connection that is refused leaves nothing to wait for but the time.
                    pause = asyncio.create_task(asyncio.sleep(left, result=False))
                    done, tries = await asyncio.wait({*tries, pause}, return_when=asyncio.FIRST_COMPLETED)
                    tries.discard(pause)
                    pause.cancel()
                    if any(each.result() for each in done):
                        return
        finally:
            for each in tries:
                each.cancel()
            await asyncio.gather(*tries, return_exceptions=True)

    async def _log_in(self) -> None:
        """Connect all users; the first may take its time, since a guest makes its users at its first boot."""
        users = list(dict.fromkeys(["root", *(each.user for each in self._machine.sockets)]))
        deadline = float("inf")
        while missing := [user for user in users if user not in self._masters]:
            self._check()
            await asyncio.gather(*(self._master(user) for user in missing))
            if self._masters and deadline == float("inf"):
                deadline = time.monotonic() + _SECOND_USER_SECONDS
            if time.monotonic() > deadline:
                return
            if len(self._masters) < len(users):
                await asyncio.sleep(1.0)

    async def _master(self, user: str) -> None:
        control = self._place.runtime / f"ssh-{user}"
        forwards = [each for each in self._machine.sockets if each.user == user]
        wanted = [control, *(self.inner(each.name) for each in forwards)]
        for path in wanted:
            path.unlink(missing_ok=True)
        options = ["-N", "-M", "-o", "ExitOnForwardFailure=yes"]
        for each in forwards:
            options += ["-L", f"{self.inner(each.name)}:{each.guest}"]
        with self._place.file("ssh.log").open("ab") as output:
            process = await begin(ssh.client(self._place, user, *options), output=output, hint=ssh.HINT)
        try:
            while process.returncode is None:
                if all(path.exists() for path in wanted):
                    self._masters[user] = process
                    return
                await asyncio.sleep(0.05)
        finally:
            if user not in self._masters:
                await _end(process)

    @property
    def _root(self) -> list[str]:
        """The beginning of a command line that runs a shell as root."""
        if "root" in self._masters:
            return [*ssh.client(self._place, "root"), "sh"]
        return [*ssh.client(self._place, next(iter(self._masters))), "sudo -n sh"]

    async def run(self, script: str, seconds: float = _SCRIPT_SECONDS) -> list[str]:
        """Run a shell script as root in the guest, and return the lines it prints; none where it fails."""
        if not self._masters:
            return []
        pipe = asyncio.subprocess.PIPE
        with self._place.file("ssh.log").open("ab") as output:
            process = await begin([*self._root[:-1], f"{self._root[-1]} -s"], output=output, stdin=pipe, stdout=pipe)
        try:
            async with asyncio.timeout(seconds):
                out, _ = await process.communicate(script.encode())
                return out.decode("utf-8", "replace").split()
        except TimeoutError:
            return []
        finally:
            await _end(process)

    async def _prepare(self, say: Callable[[str], None]) -> None:
        names = {each.name for each in self._machine.sockets if each.user in self._masters}
        trusting, additions = self._additions
        said = ["told"]
        if self._machine.ca:
            said = await self.run(f"changed=\n{trusting}\necho told $changed", _APART_SECONDS)
        else:
            additions = f"{trusting}\n{additions}"
        if "told" not in said:
            say("the machine is slow to take over the CA certificates; it goes on with that")
        if "ca-refused" in said:
            say("the machine could not be made to trust the CA certificates: it has no ca-certificates")
        if said != ["told"]:
            additions = f"changed=1\n{additions}"
        found = {*said, *await self.run(guest.setup(self._machine, additions))}
        # The set-up ended with sync(1): the guest will not make itself another key.
        learned = self._place.file(ssh.LEARNED)
        if "synced" in found and learned.exists():
            learned.replace(self._place.file(ssh.KNOWN))
        deadline = time.monotonic() + _SOCKET_SECONDS
        while (missing := names - found) and "has-podman" in found and time.monotonic() < deadline:
            await asyncio.sleep(1.0)
            found |= set(await self.run(guest.sockets(self._machine, sorted(missing))))
        self.sockets = names & found

    async def lost(self) -> None:
        """Wait until a connection ends, or the guest reboots; keeps its clock right meanwhile."""
        waits = [asyncio.create_task(each.wait()) for each in self._masters.values()]
        reset = asyncio.create_task(self._life.reset.wait())
        time_keeping = asyncio.create_task(self._keep_time())
        try:
            await asyncio.wait([*waits, reset], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (*waits, reset, time_keeping):
                each.cancel()
            await asyncio.gather(*waits, reset, time_keeping, return_exceptions=True)

    async def _keep_time(self) -> None:
        """Ask the guest for its time, and set its clock where that is wrong, as after the host's sleep.

        What is compared is the host's time at the answer: a guest that was stopped answers when it goes on.
        """
        pipe = asyncio.subprocess.PIPE
        with self._place.file("ssh.log").open("ab") as output:
            process = await begin(
                [*self._root[:-1], f"{self._root[-1]} -c '{guest.CLOCK}'"], output=output, stdin=pipe, stdout=pipe
            )
        try:
            while True:
                order = ""
                for _ in range(_CLOCK_TRIES):
                    if await _wrong_by(process, order) <= _CLOCK_WRONG:
                        break
                    order = f"@{time.time():.0f}"
                await asyncio.sleep(CLOCK_SECONDS)
        except (OSError, ValueError):
            return
        finally:
            await _end(process)

    async def close(self) -> None:
        """Hang up."""
        for process in self._masters.values():
            await _end(process)
        self._masters.clear()
        self.sockets = set()


async def _greeted(port: int, seconds: float) -> bool:
    """Return whether an SSH server greets at a port of the loopback address (RFC 4253, section 4.2)."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                return (await reader.read(4)).startswith(b"SSH")
            finally:
                writer.close()
    return False


async def _wrong_by(clock: asyncio.subprocess.Process, order: str) -> float:
    """Ask the script of a guest's clock, and return how wrong that is, in seconds, within half a second.

    Raises:
        OSError, ValueError: it has ended.
    """
    assert clock.stdin is not None
    assert clock.stdout is not None
    clock.stdin.write(f"{order}\n".encode())
    answer = int(await clock.stdout.readline())
    return abs(time.time() - answer - 0.5)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()

"""The way into a guest that runs: root's ssh, which holds the inner ends of all sockets.

Where a guest does not let root in, each user has one. Processor time of a guest that boots is dear, above all without
acceleration: nothing is sent before it has a network, and the first connection that is greeted is the one that stays.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from haulout.local import begin, replace_file, storage_errors, terminate
from haulout.machine.guest import scripts, ssh
from haulout.machine.guest.seed import USER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from haulout.machine.model import Machine, Socket
    from haulout.machine.provider import VirtualMachine
    from haulout.machine.store import Place

_ROOT: Final = "root"
_NETWORK_SECONDS: Final = 15.0
"""After which a guest is asked that has not set up its network card, as far as can be seen."""
_LOGIN_SECONDS: Final = (2, 30)
"""The first and the longest wait for a greeting, doubled each time. What reaches a guest before it has its address is
lost, and sent again too late; but a slow guest needs its time, and QEMU goes on to connect what was given up."""
_LOGIN_SHARE: Final = 0.15
"""How much of the time since the start the first is, at least: slow guests boot slowly, too."""
_PAUSE_SHARE: Final = 0.04
_PAUSE_SECONDS: Final = (0.1, 1.0)
"""Between logins that were refused; again a share of the time since the start, and its bounds."""
_ROOT_SECONDS: Final = 20.0
"""That root may come later than another user."""
_SOCKET_SECONDS: Final = 60.0
"""Or as long as the guest booted: for a socket that is not there yet. After it, clients are refused until it is."""
_LATE_SECONDS: Final = (2.0, 60.0)
"""Between looks at what was not there in that time: the first and the longest, doubled each time."""
_SCRIPT_SECONDS: Final = 120.0
_APART_SECONDS: Final = 120.0
"""For certificates: a guest without acceleration, on a busy host, is slow, and its sockets are not to wait for that."""
_MOST_RESETS: Final = 5
_POLL: Final = 0.05
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
        began = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                await self._network()
                say("waiting for ssh")
                await self._log_in(began)
        except TimeoutError:
            raise GuestFailed(f"ssh did not answer within {seconds or 0:.0f} seconds") from None
        say("waiting for the sockets")
        await self._prepare(say, max(_SOCKET_SECONDS, time.monotonic() - began))

    def _check(self) -> None:
        if self._life.panicked or any("Kernel panic" in line for line in self._place.console(30)):
            raise GuestFailed("the guest's kernel panicked")
        if self._life.resets - self._resets > _MOST_RESETS:
            raise GuestFailed("the guest reboots again and again")

    async def _network(self) -> None:
        """Wait until the guest has a network card: QEMU accepts connections long before."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_NETWORK_SECONDS):
                while not await self._life.has_network():
                    self._check()
                    await asyncio.sleep(_POLL)

    async def _log_in(self, began: float) -> None:
        """Log in as root, or else as the users of the sockets: a guest makes its users at its first boot."""
        sockets, deadline, more = self._machine.sockets, float("inf"), 1
        while _ROOT not in self._masters and time.monotonic() < deadline:
            self._check()
            waited = time.monotonic() - began
            seconds = round(min(more * max(_LOGIN_SHARE * waited, _LOGIN_SECONDS[0]), _LOGIN_SECONDS[1]))
            if await self._master(_ROOT, [each for each in sockets if each.user not in self._masters], seconds):
                # It is there, and does not know root.
                for user in {each.user for each in sockets} - {_ROOT, *self._masters}:
                    await self._master(user, [each for each in sockets if each.user == user], seconds)
                if self._masters and deadline == float("inf"):
                    deadline = time.monotonic() + _ROOT_SECONDS
            if _ROOT not in self._masters:
                more *= 2 if time.monotonic() - began - waited > seconds - _POLL else 1
                await asyncio.sleep(min(max(_PAUSE_SHARE * waited, _PAUSE_SECONDS[0]), _PAUSE_SECONDS[1]))

    async def _master(self, user: str, sockets: Sequence[Socket], seconds: float) -> bool:
        """Connect a user, and these sockets; return whether the guest denies him that."""
        control = self._place.runtime / f"ssh-{user}"
        wanted = [control, *(self.inner(each.name) for each in sockets)]
        for path in wanted:
            path.unlink(missing_ok=True)
        options = ["-N", "-M", "-o", "ExitOnForwardFailure=yes", "-o", f"ConnectTimeout={seconds:.0f}"]
        for each in sockets:
            options += ["-L", f"{self.inner(each.name)}:{each.guest}"]
        log = self._place.file("ssh.log")
        with log.open("ab") as output:
            before = output.tell()
            process = await begin(ssh.client(self._place, user, *options), output=output, hint=ssh.HINT)
        try:
            while process.returncode is None:
                if all(path.exists() for path in wanted):
                    self._masters[user] = process
                    return False
                await asyncio.sleep(_POLL)
        finally:
            if user not in self._masters:
                await terminate(process)
        with log.open("rb") as said:
            said.seek(before)
            return b"Permission denied (" in said.read()

    @property
    def _root(self) -> list[str]:
        """The beginning of a command line that runs a shell as root."""
        if _ROOT in self._masters:
            return [*ssh.client(self._place, _ROOT), "sh"]
        return [*ssh.client(self._place, next(iter(self._masters))), "sudo -n sh"]

    async def run(self, script: str, seconds: float | None = _SCRIPT_SECONDS) -> list[str]:
        """Run a shell script as root in the guest, and return the words it prints; none where it fails."""
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
            await terminate(process)

    @property
    def _names(self) -> set[str]:
        """Names of the sockets whose users are logged in."""
        return {each.name for each in self._machine.sockets if {each.user, _ROOT} & {*self._masters}}

    async def _prepare(self, say: Callable[[str], None], seconds: float) -> None:
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
        found = {*said, *await self.run(scripts.setup(self._machine, additions))}
        # The set-up ended with sync(1): the guest will not make itself another key.
        learned = self._place.file(ssh.LEARNED)
        if "synced" in found and learned.exists():
            learned.replace(self._place.file(ssh.KNOWN))
        deadline = time.monotonic() + seconds
        while (missing := self._names - found) and "has-podman" in found and time.monotonic() < deadline:
            await asyncio.sleep(1.0)
            found |= set(await self.run(scripts.sockets(self._machine, sorted(missing))))
        self.sockets = self._names & found

    async def lost(self) -> None:
        """Wait until a connection ends, or the guest reboots; keeps its clock right meanwhile, and eases shells."""
        waits = [asyncio.create_task(each.wait()) for each in self._masters.values()]
        reset = asyncio.create_task(self._life.reset.wait())
        aside = [asyncio.create_task(self._keep_time()), asyncio.create_task(self._ease_shells())]
        aside.append(asyncio.create_task(self._find_late()))
        try:
            await asyncio.wait([*waits, reset], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (*waits, reset, *aside):
                each.cancel()
            await asyncio.gather(*waits, reset, *aside, return_exceptions=True)

    async def _ease_shells(self) -> None:
        """Log the user in whose shells ``machine ssh`` opens: they share the connection, and need not log in, each."""
        if USER not in self._masters:
            await self._master(USER, [], _LOGIN_SECONDS[1])

    async def _find_late(self) -> None:
        """Look for sockets that were not there when the guest was prepared: it may be slow, or get podman later."""
        pause, longest = _LATE_SECONDS
        while missing := self._names - self.sockets:
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
            self.sockets |= missing & {*await self.run(scripts.sockets(self._machine, sorted(missing)))}

    async def _keep_time(self) -> None:
        """Ask the guest for its time, and set its clock where that is wrong, as after the host's sleep.

        What is compared is the host's time at the answer: a guest that was stopped answers when it goes on.
        """
        pipe = asyncio.subprocess.PIPE
        with self._place.file("ssh.log").open("ab") as output:
            process = await begin(
                [*self._root[:-1], f"{self._root[-1]} -c '{scripts.CLOCK}'"], output=output, stdin=pipe, stdout=pipe
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
            await terminate(process)

    async def close(self) -> None:
        """Hang up."""
        for process in self._masters.values():
            await terminate(process)
        self._masters.clear()
        self.sockets = set()


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

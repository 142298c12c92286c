"""The provider port: what runs a machine. One real provider is here, QEMU."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from haulout.machine.model import Forward, Machine
    from haulout.machine.store import Place

_QUIT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a virtual machine ended."""

    reason: str
    by_guest: bool = False
    """Whether the guest shut down."""


class VirtualMachine(Protocol):
    """One life of a virtual machine, of which this process may not be the parent."""

    accelerator: str
    ssh_port: int
    """On the loopback address; 0: it does not answer."""
    resets: int
    """How often the guest rebooted."""
    reset: asyncio.Event
    """Set whenever it does."""
    panicked: bool
    starved: bool
    """Whether it is paused until the host has room for what it writes."""
    losses: asyncio.Queue[str]
    """What it had when it started, as a mount, and has no more; also where all of it ends."""

    async def ended(self) -> Ended:
        """Wait for its end, and return why."""

    def booted(self) -> None:
        """Let begin what may wait until the guest has booted, as fetching the rest of its disk."""

    async def has_network(self) -> bool:
        """Return whether the guest has set up its network card; False also where it does not answer."""

    async def connections(self) -> int:
        """Return how many are connected to ports that lead into the guest, but that of ssh.

        Raises:
            ToolError: it does not answer.
        """

    async def forward(self, wanted: Sequence[Forward]) -> None:
        """Lead these ports of the host into the guest, and no others, from now on.

        Raises:
            ConflictError: one is taken; then all are as they were.
            ToolError: it does not answer.
        """

    def copy_data(self, target: Path, moment: AbstractAsyncContextManager[object]) -> AsyncGenerator[int, None]:
        """Copy the data disk as it is at the end of a moment, and yield how many bytes are done.

        Raises:
            ToolError: that does not go.
        """

    async def unite_data(self) -> None:
        """Make the data disk one file, which is in two parts since an update.

        Raises:
            ToolError: that does not go; it goes on with both parts.
        """

    async def press_power_button(self) -> None:
        """Ask the guest to shut down; never fails."""

    async def quit(self) -> None:
        """End it as a power cut does; never fails."""

    def kill(self) -> None:
        """End its process; never fails."""


class Provider(Protocol):
    """Makes virtual machines run."""

    async def start(self, machine: Machine, place: Place, say: Callable[[str], None], lock: int) -> VirtualMachine:
        """Start it.

        Args:
            machine: what it is to be.
            place: its files.
            say: told what is waited for.
            lock: descriptor that the virtual machine inherits, and holds for its life.

        Raises:
            ToolError: it cannot be started, or ended at once.
            StorageError: files cannot be written.
        """

    async def adopt(self, name: str, place: Place) -> VirtualMachine:
        """Take over one that runs, and whose supervisor died.

        Raises:
            ToolError: it does not answer.
        """


async def power_off(life: VirtualMachine, ending: asyncio.Future[Ended], seconds: float) -> Ended:
    """End a virtual machine within bounds: the power button, then the plug, then SIGKILL.

    Args:
        life: what runs.
        ending: its end, which is waited for.
        seconds: that the guest has to shut down.
    """
    for act, patience in ((life.press_power_button, seconds), (life.quit, _QUIT_SECONDS)):
        # Aside: a process that hangs does not answer, either.
        acting = asyncio.ensure_future(act())
        done, _ = await asyncio.wait([ending], timeout=patience)
        acting.cancel()
        if done:
            return ending.result()
    life.kill()
    return await ending

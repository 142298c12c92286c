"""End a machine whose supervisor died or hangs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from haulout.errors import ToolError
from haulout.local import Peer
from haulout.machine.events import EventKind, publish
from haulout.machine.provider import power_off

if TYPE_CHECKING:
    from haulout.machine.provider import Provider
    from haulout.machine.store import Place

_GONE_SECONDS: Final = 10.0


def force_off(place: Place, provider: Provider, seconds: float) -> str:
    """End it within bounds, and return why it ended; the machine file is not needed.

    Args:
        place: its files.
        provider: which takes over what runs.
        seconds: that the guest has to shut down.

    Raises:
        ToolError: it goes on in spite of all.
    """
    # A supervisor that hangs, first: it would hold QEMU's ear.
    _kill(place, "run.lock")
    reason = "its supervisor was ended"
    if place.is_held("vm.lock"):
        place.record("stopping")
        try:
            reason = asyncio.run(_end(place, provider, seconds))
        except ToolError:
            # Its control socket is gone, as after the runtime directory was removed.
            _kill(place, "vm.lock")
            reason = "QEMU was killed"
    deadline = time.monotonic() + _GONE_SECONDS
    while place.is_held("run.lock") or place.is_held("vm.lock"):
        if time.monotonic() > deadline:
            raise ToolError("QEMU", f"of machine {place.name} goes on in spite of SIGKILL")
        time.sleep(0.05)
    place.record("ended", f"stopped: {reason}")
    publish(place.history, place.name, place.identity, EventKind.STOPPED, reason=reason)
    return reason


def _kill(place: Place, lock: str) -> None:
    for peer in Peer.writing(place.file(lock)):
        peer.kill()
        peer.close()


async def _end(place: Place, provider: Provider, seconds: float) -> str:
    life = await provider.adopt(place.name, place)
    ending = asyncio.ensure_future(life.ended())
    if not life.ssh_port:
        # It hangs.
        life.kill()
        await ending
        return "QEMU was killed"
    return (await power_off(life, ending, seconds)).reason

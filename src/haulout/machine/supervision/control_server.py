"""Answers what commands ask of a supervisor: one JSON object asks, lines of JSON answer (see ``control``)."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from haulout.errors import HauloutError
from haulout.machine.update.journal import Switch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from contextlib import AbstractContextManager

    from haulout.machine.states import Status

_SILENCE: Final = 60.0
"""Seconds after which who listens is told that it goes on."""


class Story:
    """What a supervisor has to tell, line by line; whoever listens later hears it from a line on."""

    def __init__(self) -> None:
        self._lines: list[dict[str, Any]] = []
        self._told = asyncio.Condition()
        self.chapter = 0
        """Where the story of this life of the machine begins."""

    def begin_chapter(self) -> None:
        """Let another life of the machine begin."""
        self.chapter = len(self)

    def __len__(self) -> int:
        return len(self._lines)

    async def tell(self, line: dict[str, Any]) -> None:
        """Add a line: ``say`` what is waited for, that it is ``done``, or that it ``failed``."""
        async with self._told:
            self._lines.append(line)
            self._told.notify_all()

    async def stream(self, writer: asyncio.StreamWriter, at: int) -> None:
        """Send the story from a line on, until it says that something is done or failed."""
        while True:
            async with self._told:
                while len(self._lines) <= at:
                    try:
                        async with asyncio.timeout(_SILENCE):
                            await self._told.wait()
                    except TimeoutError:
                        # What takes long without a word is told from a supervisor that hangs.
                        writer.write(_line({"goes_on": True}))
                lines, at = self._lines[at:], len(self._lines)
            for line in lines:
                writer.write(_line(line))
            await writer.drain()
            if any("say" not in line for line in lines):
                return


class Supervised(Protocol):
    """What a supervisor does when it is asked."""

    story: Story
    boot_seconds: float
    """That the guest has to become ready."""

    @property
    def is_ready(self) -> bool:
        """Whether the guest answers."""

    def status(self) -> Status:
        """Return how the machine is."""

    async def clients(self) -> int:
        """Return how many are connected to its sockets and ports.

        Raises:
            HauloutError: that cannot be found out.
        """

    def stop(self, seconds: float | None, environment: Mapping[str, str] | None, *, again: bool) -> None:
        """End this life of the machine.

        Args:
            seconds: that its guest has to shut down; None: the usual.
            environment: of the user, for the lives that follow; None: the one before.
            again: whether another life follows.
        """

    def switch(self, what: Switch) -> None:
        """Go on to another system, or back; the story tells what comes of it."""

    async def forward(self) -> None:
        """Lead the ports into the guest that the machine file names by now.

        Raises:
            HauloutError: that does not go.
        """

    def copy_data(self, target: Path) -> AsyncGenerator[int, None]:
        """Copy the data disk to an empty file of its size, and yield how many bytes are done.

        Raises:
            HauloutError: that does not go.
        """

    def held(self) -> AbstractContextManager[None]:
        """Keep an ephemeral machine from ending."""


async def answer(supervised: Supervised, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one client; what it asks wrongly has no answer."""
    with suppress(OSError, ValueError, KeyError, TypeError, HauloutError):
        request = json.loads(await reader.readline())
        match request["do"]:
            case "status":
                writer.write(_line(supervised.status().to_dict()))
            case "clients":
                writer.write(_line({"clients": await supervised.clients()}))
            case "follow":
                supervised.boot_seconds = float(request.get("seconds") or supervised.boot_seconds)
                if supervised.is_ready:
                    writer.write(_line({"done": True}))
                else:
                    await supervised.story.stream(writer, supervised.story.chapter)
            case "stop" | "restart" as what:
                begun, seconds = len(supervised.story), request.get("seconds")
                supervised.stop(
                    None if seconds is None else float(seconds), request.get("environment"), again=what == "restart"
                )
                await supervised.story.stream(writer, begun)
            case "switch":
                begun = len(supervised.story)
                supervised.switch(Switch(request["to"]))
                await supervised.story.stream(writer, begun)
            case "forward":
                writer.write(_line(await _forward(supervised)))
            case "copy":
                await _copy(supervised, Path(request["target"]), writer)
            case "hold":
                with supervised.held():
                    await reader.read()
        await writer.drain()
    writer.close()


async def _forward(supervised: Supervised) -> dict[str, object]:
    try:
        await supervised.forward()
    except HauloutError as error:
        return {"failed": str(error)}
    return {"done": True}


async def _copy(supervised: Supervised, target: Path, writer: asyncio.StreamWriter) -> None:
    try:
        # Closed at once where the client hangs up.
        async with aclosing(supervised.copy_data(target)) as steps:
            async for done in steps:
                writer.write(_line({"copied": done}))
                await writer.drain()
    except HauloutError as error:
        writer.write(_line({"failed": str(error)}))
    else:
        writer.write(_line({"done": True}))


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"

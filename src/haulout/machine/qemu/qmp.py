"""The QEMU Machine Protocol: JSON lines over a socket (qemu.org, QMP specification)."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from haulout.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SECONDS: Final = 20.0
_LONGEST_LINE: Final = 1 << 20


class Qmp:
    """A connection. It must be read for its whole life, since QEMU sends events at any time."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_event: Callable[[dict[str, Any]], None]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._on_event = on_event
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, path: Path, on_event: Callable[[dict[str, Any]], None]) -> Self:
        """Connect, and negotiate.

        Raises:
            ToolError: nobody listens, or it does not answer in time.
        """
        try:
            async with asyncio.timeout(_SECONDS):
                reader, writer = await asyncio.open_unix_connection(path, limit=_LONGEST_LINE)
                made = cls(reader, writer, on_event)
                await reader.readline()
                made._task = asyncio.create_task(made._read())
                await made.execute("qmp_capabilities")
                return made
        except (OSError, TimeoutError) as error:
            raise ToolError("QEMU", f"does not answer: {str(error) or 'no greeting in time'}") from error

    async def execute(self, name: str, **arguments: Any) -> Any:
        """Run a command and return its answer.

        Raises:
            ToolError: QEMU refuses, does not answer in time, or ended.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        try:
            self._writer.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
            async with asyncio.timeout(_SECONDS):
                return await answer
        except (OSError, TimeoutError) as error:
            raise ToolError("QEMU", f"does not answer {name}") from error

    async def _read(self) -> None:
        with suppress(OSError, ValueError):
            while line := await self._reader.readline():
                message = json.loads(line)
                if "event" in message:
                    self._on_event(message)
                elif self._waiting and not (answer := self._waiting.popleft()).done():
                    if "return" in message:
                        answer.set_result(message["return"])
                    else:
                        answer.set_exception(ToolError("QEMU", str(message.get("error", {}).get("desc", "refused"))))
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(ToolError("QEMU", "ended"))
        self._waiting.clear()

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

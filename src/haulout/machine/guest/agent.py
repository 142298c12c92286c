"""The guest agent of QEMU, where a guest has it: JSON over a virtio serial port (QEMU, docs/interop/qemu-ga-ref).

A guest may have none, and may be restarted in the middle: each question is a connection of its own, which begins by
agreeing where answers begin.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from haulout.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

PORT: Final = "org.qemu.guest_agent.0"
SECONDS: Final = 5.0
_FREEZE_SECONDS: Final = 30.0
_LONGEST: Final = 1 << 20
_DELIMITER: Final = b"\xff"


async def ask(path: Path, command: str, *, seconds: float = SECONDS, **arguments: Any) -> Any:
    """Have the agent execute a command, and return what it answers.

    Args:
        path: of the socket that leads to the agent.
        command: such as ``guest-info``.
        seconds: the longest wait.
        arguments: of the command.

    Raises:
        ToolError: there is no agent, it does not answer in time, or it refuses.
    """
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(path, limit=_LONGEST)
            try:
                number = secrets.randbits(31)
                writer.write(_DELIMITER + _line("guest-sync-delimited", {"id": number}))
                await reader.readuntil(_DELIMITER)
                while json.loads(await reader.readline())["return"] != number:
                    await reader.readuntil(_DELIMITER)
                writer.write(_line(command, arguments))
                answer: dict[str, Any] = json.loads(await reader.readline())
            finally:
                writer.close()
            return answer["return"] if "error" not in answer else _refused(answer["error"])
    except (OSError, TimeoutError, ValueError, LookupError, TypeError, asyncio.IncompleteReadError) as error:
        raise ToolError("the guest agent", f"does not answer {command}") from error


def _refused(error: dict[str, Any]) -> None:
    raise ToolError("the guest agent", str(error["desc"]))


def _line(command: str, arguments: dict[str, Any]) -> bytes:
    return json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"


async def _may(path: Path, command: str, seconds: float = SECONDS, **arguments: Any) -> bool:
    """Ask, and return whether it was done."""
    with suppress(ToolError):
        await ask(path, command, seconds=seconds, **arguments)
        return True
    return False


async def shutdown(path: Path) -> None:
    """Ask the guest to power off, to which an agent that does so has no answer; never fails."""
    await _may(path, "guest-shutdown", mode="powerdown")


@asynccontextmanager
async def at_rest(path: Path, sync: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Keep the guest's file systems at rest, where it has an agent that can; ``sync`` has it write what it holds."""
    await sync()
    there = await _may(path, "guest-ping")
    try:
        if there:
            await _may(path, "guest-fsfreeze-freeze", _FREEZE_SECONDS)
        yield
    finally:
        if there:
            await thaw(path)


async def thaw(path: Path) -> None:
    """Let the guest write again; never fails."""
    await _may(path, "guest-fsfreeze-thaw", _FREEZE_SECONDS)

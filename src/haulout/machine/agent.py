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
_REFUSAL_SECONDS: Final = 1.0
_FREEZE_SECONDS: Final = 30.0
_LONGEST: Final = 1 << 20
_DELIMITER: Final = b"\xff"


async def ask(path: Path, command: str, *, seconds: float = SECONDS, answers: bool = True, **arguments: Any) -> Any:
    """Have the agent execute a command, and return what it answers.

    Args:
        path: of the socket that leads to the agent.
        command: such as ``guest-info``.
        seconds: the longest wait.
        answers: whether the agent answers where it succeeds, and not only where it refuses.
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
                while _parsed(await _after_delimiter(reader)).get("return") != number:
                    pass
                writer.write(_line(command, arguments))
                try:
                    async with asyncio.timeout(seconds if answers else _REFUSAL_SECONDS):
                        answer = _parsed(await reader.readline())
                except TimeoutError:
                    if answers:
                        raise
                    return None
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
        raise ToolError("the guest agent", f"does not answer {command}") from error
    if "return" not in answer:
        raise ToolError("the guest agent", str(answer.get("error", {}).get("desc", "refused")))
    return answer["return"]


def _parsed(line: bytes) -> dict[str, Any]:
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 - as of text that is not JSON
    return found


async def _after_delimiter(reader: asyncio.StreamReader) -> bytes:
    await reader.readuntil(_DELIMITER)
    return await reader.readline()


def _line(command: str, arguments: dict[str, Any]) -> bytes:
    return json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"


async def ping(path: Path, seconds: float = SECONDS) -> bool:
    """Return whether there is an agent that answers."""
    with suppress(ToolError):
        await ask(path, "guest-ping", seconds=seconds)
        return True
    return False


async def shutdown(path: Path) -> None:
    """Ask the guest to power off.

    Raises:
        ToolError: there is no agent.
    """
    await ask(path, "guest-shutdown", answers=False, mode="powerdown")


@asynccontextmanager
async def at_rest(path: Path, sync: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Keep the guest's file systems at rest, where it has an agent that can; ``sync`` has it write what it holds."""
    await sync()
    if not await ping(path):
        yield
        return
    try:
        with suppress(ToolError):
            await ask(path, "guest-fsfreeze-freeze", seconds=_FREEZE_SECONDS)
        yield
    finally:
        await thaw(path)


async def thaw(path: Path) -> None:
    """Let the guest write again; never fails."""
    with suppress(ToolError):
        await ask(path, "guest-fsfreeze-thaw", seconds=_FREEZE_SECONDS)

"""The host's sockets of a machine: held by its supervisor for its whole life, connected when a client comes.

A client that comes while the guest boots, reboots or sleeps waits; it does not fail.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHUNK: Final = 1 << 18
BACKLOG: Final = 512
"""Clients that wait to be accepted. asyncio says 100 by itself, and those beyond are refused."""
_RETRY: Final = 0.2


def bind(path: Path) -> socket.socket:
    """Listen on a path, for this user alone; what a predecessor left there is replaced.

    Raises:
        OSError: it cannot be bound.
    """
    listener = socket.socket(socket.AF_UNIX)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class Forwarder:
    """Leads clients of one socket to another path, at which somebody listens while ``ready`` is set.

    Args:
        inner: where ssh listens for the guest.
        ready: whether it does.
        absent: whether the guest is known not to have it: then a client is refused at once.
    """

    def __init__(self, inner: Path, ready: asyncio.Event, absent: Callable[[], bool]) -> None:
        self._inner = inner
        self._ready = ready
        self._absent = absent

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client to its end; never fails."""
        with suppress(OSError, asyncio.CancelledError):
            found = await self._connect(reader)
            if found is not None:
                inner_reader, inner_writer = found
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(_pump(reader, inner_writer))
                        group.create_task(_pump(inner_reader, writer))
                finally:
                    inner_writer.close()
        writer.close()

    async def _connect(self, client: asyncio.StreamReader) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        while not client.at_eof():
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._ready.wait()
                if self._absent():
                    return None
                with suppress(OSError):
                    return await asyncio.open_unix_connection(self._inner, limit=CHUNK)
                # ssh has just lost the guest, which is noticed in a moment.
                await asyncio.sleep(_RETRY)
        return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end of one direction, which is passed on; the other direction goes on."""
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        return
    # The other side is gone altogether: wake its reader, too.
    writer.transport.abort()

"""The host's sockets of a machine: held by its supervisor for its whole life, connected when a client comes.

A client that comes while the guest boots, reboots or sleeps waits; it does not fail. Neither does one whose question is
lost with the guest, where asking again does no harm.
"""

from __future__ import annotations

import asyncio
import resource
import select
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHUNK: Final = 1 << 18
BACKLOG: Final = 512
"""Clients that wait to be accepted. asyncio says 100 by itself, and those beyond are refused."""
_MOST_DESCRIPTORS: Final = 1 << 14
_RETRY: Final = 0.2
_AGAIN: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds before a question is asked again, while the guest seems to be there: its end is noticed a little later."""
_LONGEST_QUESTION: Final = 1 << 16
_SAFE: Final = (b"GET ", b"HEAD ")
"""HTTP requests that change nothing (RFC 9110, section 9.2.1), and may be sent twice."""
_QUIET: Final = 0.2
_POLL: Final = 0.05


def allow_many_descriptors() -> None:
    """Let this process, and those it starts, have many open files: each client needs two here and one in ssh."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(hard, _MOST_DESCRIPTORS) if hard != resource.RLIM_INFINITY else _MOST_DESCRIPTORS
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


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


class _Client:
    """One connection of a client. It may need several into the guest, until there is a first answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._asked: bytes | None = b""
        """What it has sent; None after an answer, or where it is too much to keep."""
        self._waits = False
        self._last = 0.0

    @property
    def may_ask_again(self) -> bool:
        """Whether it got no answer yet, and asked nothing, or what may be asked twice."""
        return self._asked is not None and (not self._asked or self._asked.startswith(_SAFE))

    def is_gone(self) -> bool:
        """Return whether it hung up; a client that has only ended its own direction did not."""
        if self.writer.is_closing() or sys.platform != "linux":
            return self.writer.is_closing()
        poll = select.poll()
        poll.register(self.writer.get_extra_info("socket").fileno(), 0)
        return any(event & select.POLLHUP for _, event in poll.poll(0))

    def is_busy(self) -> bool:
        """Return whether it waits for an answer, or is getting one."""
        return self._waits or time.monotonic() - self._last < _QUIET

    async def up(self, guest: asyncio.StreamWriter) -> None:
        """Copy to the guest until the client's end, which is passed on."""
        with suppress(OSError):
            guest.write(self._asked or b"")
            while data := await self.reader.read(CHUNK):
                self._waits, self._last = True, time.monotonic()
                if self._asked is not None:
                    self._asked = self._asked + data if len(self._asked) + len(data) <= _LONGEST_QUESTION else None
                guest.write(data)
                await guest.drain()
            guest.write_eof()

    async def down(self, guest: asyncio.StreamReader) -> None:
        """Copy from the guest until its end.

        Raises:
            OSError: one of the two is gone altogether.
        """
        while data := await guest.read(CHUNK):
            self._asked, self._waits, self._last = None, False, time.monotonic()
            self.writer.write(data)
            await self.writer.drain()


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
        self._clients: set[_Client] = set()

    def __len__(self) -> int:
        """Return how many clients there are."""
        return len(self._clients)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client to its end; never fails."""
        client = _Client(reader, writer)
        self._clients.add(client)
        try:
            with suppress(OSError, asyncio.CancelledError):
                patience = iter(_AGAIN)
                while (found := await self._connect(client)) and await _lead(client, *found):
                    if not self._ready.is_set():
                        patience = iter(_AGAIN)
                    elif (pause := next(patience, None)) is None:
                        break
                    else:
                        await asyncio.sleep(pause)
        finally:
            self._clients.discard(client)
            writer.close()

    async def drain(self, seconds: float) -> None:
        """Let the questions that were asked be answered, where that is soon, and hang up on clients that ask nothing.

        They will come again, and wait: ``ready`` is not set any more.
        """
        for _ in range(int(seconds / _POLL)):
            if not any(client.is_busy() for client in self._clients):
                break
            await asyncio.sleep(_POLL)
        for client in self._clients:
            if not (client.is_busy() or client.may_ask_again):
                client.writer.close()

    async def _connect(self, client: _Client) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        while not client.is_gone():
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._ready.wait()
                if self._absent() or client.is_gone():
                    return None
                with suppress(OSError):
                    return await asyncio.open_unix_connection(self._inner, limit=CHUNK)
                # ssh has just lost the guest, which is noticed in a moment.
                await asyncio.sleep(_RETRY)
        return None


async def _lead(client: _Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Lead a client through one connection into the guest; return whether it may be led through another."""
    up = asyncio.create_task(client.up(writer))
    try:
        try:
            await client.down(reader)
        except OSError:
            # The other side is gone altogether: it is not an end of one direction.
            if not client.may_ask_again:
                client.writer.transport.abort()
        if client.may_ask_again:
            return True
        if client.writer.can_write_eof() and not client.writer.is_closing():
            client.writer.write_eof()
        await up
        return False
    finally:
        up.cancel()
        await asyncio.gather(up, return_exceptions=True)
        writer.close()

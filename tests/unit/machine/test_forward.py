"""The host's sockets: clients wait, ends are passed on, and one direction may end before the other."""

from __future__ import annotations

import asyncio
import contextlib
import stat

from tests.support.machines import short_folder

from haulout.machine.forward import BACKLOG, Forwarder, bind

MIB = 1 << 20


async def serving(folder, ready, handler, absent=False):
    """Serve ``inner`` by a handler, and lead ``outer`` to it."""
    inner = await asyncio.start_unix_server(handler, folder / "inner", backlog=BACKLOG)
    forwarder = Forwarder(folder / "inner", ready, lambda: absent)
    outer = await asyncio.start_unix_server(forwarder.serve, sock=bind(folder / "outer"), backlog=BACKLOG)
    return inner, outer


async def echo(reader, writer):
    writer.write(await reader.read())
    writer.write_eof()
    writer.close()


def test_a_client_waits_until_the_guest_answers_and_ends_are_passed_on():
    async def work(folder):
        ready = asyncio.Event()
        inner, outer = await serving(folder, ready, echo)
        assert stat.S_IMODE((folder / "outer").stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(folder / "outer")
        writer.write(b"x" * 4 * MIB)
        waiting = asyncio.ensure_future(reader.read())
        writer.write_eof()
        await asyncio.sleep(0.2)
        assert not waiting.done()
        ready.set()
        assert await asyncio.wait_for(waiting, 5) == b"x" * 4 * MIB
        writer.close()
        inner.close(), outer.close()

    with short_folder() as folder:
        asyncio.run(work(folder))


def test_hundreds_of_clients_at_once():
    async def one(folder, number):
        reader, writer = await asyncio.open_unix_connection(folder / "outer")
        writer.write(str(number).encode())
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return int(answer)

    async def work(folder):
        ready = asyncio.Event()
        ready.set()
        inner, outer = await serving(folder, ready, echo)
        found = await asyncio.wait_for(asyncio.gather(*(one(folder, number) for number in range(300))), 20)
        assert found == list(range(300))
        inner.close(), outer.close()

    with short_folder() as folder:
        asyncio.run(work(folder))


def test_a_socket_the_guest_does_not_have_refuses_at_once():
    async def work(folder):
        ready = asyncio.Event()
        ready.set()
        inner, outer = await serving(folder, ready, echo, absent=True)
        reader, writer = await asyncio.open_unix_connection(folder / "outer")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        inner.close(), outer.close()

    with short_folder() as folder:
        asyncio.run(work(folder))


def test_a_guest_that_goes_away_ends_the_connection():
    async def rude(reader, writer):
        await reader.read(1)
        writer.transport.abort()

    async def work(folder):
        ready = asyncio.Event()
        ready.set()
        inner, outer = await serving(folder, ready, rude)
        reader, writer = await asyncio.open_unix_connection(folder / "outer")
        writer.write(b"x")
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        inner.close(), outer.close()

    with short_folder() as folder:
        asyncio.run(work(folder))


def test_a_stale_socket_is_replaced():
    with short_folder() as folder:
        bind(folder / "s").close()
        listener = bind(folder / "s")
        assert listener.getsockname() == str(folder / "s")
        listener.close()

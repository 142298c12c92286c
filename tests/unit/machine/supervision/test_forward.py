"""The host's sockets: clients wait, ends are passed on, and one direction may end before the other."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import stat
import sys

import pytest
from tests.support.machines import short_folder

from haulout.machine.supervision.forward import BACKLOG, Forwarder, allow_many_descriptors, bind

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


PING = b"HEAD /_ping HTTP/1.1\r\nHost: d\r\n\r\n"


def heard_by_a_guest_that_goes_away_once(question):
    """Return what a guest heard that went away at the first question, and what the client got."""
    heard, got = [], b""

    async def guest(reader, writer):
        heard.append(await reader.read(1 << 16))
        if len(heard) > 1:
            writer.write(b"answer")
        writer.close()

    async def work(folder):
        nonlocal got
        ready = asyncio.Event()
        ready.set()
        inner, outer = await serving(folder, ready, guest)
        reader, writer = await asyncio.open_unix_connection(folder / "outer")
        writer.write(question)
        got = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        inner.close(), outer.close()

    with short_folder() as folder:
        asyncio.run(work(folder))
    return heard, got


def test_a_question_that_changes_nothing_is_asked_again_where_the_guest_went_away_without_an_answer():
    assert heard_by_a_guest_that_goes_away_once(PING) == ([PING, PING], b"answer")


@pytest.mark.parametrize("question", [b"POST /containers/create HTTP/1.1\r\n\r\n", b"GET / " + b"x" * 65536])
def test_other_questions_are_not(question):
    heard, got = heard_by_a_guest_that_goes_away_once(question)
    assert (len(heard), got) == (1, b"")


def test_what_was_answered_in_part_is_not_asked_again():
    heard = []

    async def guest(reader, writer):
        heard.append(await reader.read(1 << 16))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
        await writer.drain()
        writer.close()

    async def work(folder):
        ready = asyncio.Event()
        ready.set()
        inner, outer = await serving(folder, ready, guest)
        reader, writer = await asyncio.open_unix_connection(folder / "outer")
        writer.write(PING)
        assert await asyncio.wait_for(reader.read(), 5) == b"HTTP/1.1 200 OK\r\nContent-Le"
        writer.close()
        inner.close(), outer.close()

    with short_folder() as folder:
        asyncio.run(work(folder))
    assert len(heard) == 1


def test_before_an_end_questions_are_answered_and_idle_clients_are_hung_up_on_but_not_those_who_wait():
    async def guest(reader, writer):
        while asked := await reader.readline():
            await asyncio.sleep(0.3 if asked == b"slow\n" else 0)
            writer.write(asked)
        writer.close()

    async def work(folder):
        ready = asyncio.Event()
        ready.set()
        inner = await asyncio.start_unix_server(guest, folder / "inner")
        forwarder = Forwarder(folder / "inner", ready, lambda: False)
        outer = await asyncio.start_unix_server(forwarder.serve, sock=bind(folder / "outer"))
        idle, slow = [await asyncio.open_unix_connection(folder / "outer") for _ in range(2)]
        idle[1].write(b"quick\n")
        assert await asyncio.wait_for(idle[0].readline(), 5) == b"quick\n"
        slow[1].write(b"slow\n")
        await asyncio.sleep(0.1)
        ready.clear()
        late = await asyncio.open_unix_connection(folder / "outer")
        late[1].write(PING)
        await asyncio.wait_for(forwarder.drain(5), 5)
        assert await asyncio.wait_for(slow[0].read(), 5) == b"slow\n"
        assert await asyncio.wait_for(idle[0].read(), 5) == b""
        ready.set()
        assert await asyncio.wait_for(late[0].readline(), 5) == PING.splitlines(keepends=True)[0]
        for _, writer in (idle, slow, late):
            writer.close()
            await writer.wait_closed()
        await asyncio.sleep(0.1)
        inner.close()
        outer.close()

    with short_folder() as folder:
        asyncio.run(work(folder))


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a client that hung up from one that ended its direction"
)
def test_a_client_that_hung_up_while_it_waited_asks_nothing():
    heard = []

    async def guest(reader, writer):
        heard.append(await reader.read())
        writer.close()

    async def work(folder):
        ready = asyncio.Event()
        inner, outer = await serving(folder, ready, guest)
        gone, patient = [await asyncio.open_unix_connection(folder / "outer") for _ in range(2)]
        gone[1].write(b"POST /gone")
        await gone[1].drain()
        patient[1].write(b"POST /patient")
        patient[1].write_eof()
        gone[1].close()
        await gone[1].wait_closed()
        await asyncio.sleep(0.05)
        ready.set()
        await asyncio.wait_for(patient[0].read(), 5)
        patient[1].close()
        inner.close(), outer.close()

    with short_folder() as folder:
        asyncio.run(work(folder))
    assert heard == [b"POST /patient"]


def test_an_upgraded_connection_goes_both_ways_and_each_direction_ends_by_itself():
    """As ``docker exec -i`` uses it: standard input ends first, or the program's output does."""
    upgrade = b"POST /exec/1/start HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    late: asyncio.Queue[bytes] = asyncio.Queue()

    async def guest(reader, writer):
        assert await reader.readuntil(b"\r\n\r\n") == upgrade
        writer.write(b"HTTP/1.1 101 UPGRADED\r\n\r\n")
        for _ in range(3):
            writer.write((await reader.readline()).upper())
        if await reader.readline() == b"leave\n":
            writer.write_eof()
            late.put_nowait(await reader.read())
        else:
            writer.write(b"after the end\n")
        writer.close()

    async def work(folder):
        ready = asyncio.Event()
        ready.set()
        inner, outer = await serving(folder, ready, guest)
        for stays in (False, True):
            reader, writer = await asyncio.open_unix_connection(folder / "outer")
            writer.write(upgrade)
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 101 UPGRADED\r\n\r\n"
            for word in (b"one\n", b"two\n", b"GET / HTTP/1.1\n"):
                writer.write(word)
                assert await asyncio.wait_for(reader.readline(), 5) == word.upper()
            if stays:
                writer.write(b"leave\n")
                assert await asyncio.wait_for(reader.read(), 5) == b""
                writer.write(b"still here")
            writer.write_eof()
            if stays:
                assert await asyncio.wait_for(late.get(), 5) == b"still here"
            else:
                assert await asyncio.wait_for(reader.read(), 5) == b"after the end\n"
            writer.close()
            await writer.wait_closed()
        await asyncio.sleep(0.1)
        inner.close()
        outer.close()

    with short_folder() as folder:
        asyncio.run(work(folder))


def test_a_gigabyte_for_a_reader_that_is_slow_at_first_takes_no_memory():
    size, most = 1 << 30, 16 * MIB

    async def guest(reader, writer):
        block = bytes(MIB)
        for _ in range(size // MIB):
            writer.write(block)
            await writer.drain()
        writer.close()

    async def work(folder):
        ready = asyncio.Event()
        ready.set()
        inner, outer = await serving(folder, ready, guest)
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            await loop.sock_connect(client, str(folder / "outer"))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            await asyncio.sleep(0.3)
            got, place = 0, bytearray(MIB)
            while piece := await loop.sock_recv_into(client, place):
                got += piece
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert got == size
        assert (after - before) * 1024 < most
        inner.close(), outer.close()

    with short_folder() as folder:
        asyncio.run(work(folder))


def test_a_stale_socket_is_replaced():
    with short_folder() as folder:
        bind(folder / "s").close()
        listener = bind(folder / "s")
        assert listener.getsockname() == str(folder / "s")
        listener.close()


def test_a_supervisor_may_have_more_files_open_than_the_usual_thousand():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        allow_many_descriptors()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(hard, 1 << 14), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

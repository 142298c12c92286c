"""What a supervisor answers, and what becomes of clients that ask wrongly, wait, or hang up."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import pytest
from tests.support.machines import short_folder

from haulout.errors import ConflictError
from haulout.machine import Status
from haulout.machine.states import Phase
from haulout.machine.supervision.control_server import Story, answer


class Fake:
    """Does what a supervisor does, without a machine."""

    def __init__(self):
        self.story, self.held_by_one = Story(), asyncio.Event()
        self.boot_seconds, self.is_ready, self.asked = 300.0, False, []

    def status(self):
        return Status(Phase.READY, 1.0, lost=("the mount of /src hangs",))

    def stop(self, seconds, environment, *, again):
        self.asked.append((seconds, environment, again))
        self.stopping = asyncio.create_task(self.story.tell({"done": True}))

    async def forward(self):
        raise ConflictError("port 80 is taken")

    async def copy_data(self, target):
        self.asked.append(target)
        yield 7
        try:
            if target.name == "refused":
                raise ConflictError("it ended")
            while target.name == "slow":
                yield 8
                await asyncio.sleep(0.01)
        finally:
            self.held_by_one.set()

    @contextmanager
    def held(self):
        self.held_by_one.set()
        yield
        self.held_by_one.clear()


@asynccontextmanager
async def connected(fake):
    with short_folder() as folder:
        async with asyncio.timeout(60), await asyncio.start_unix_server(partial(answer, fake), folder / "s"):
            reader, writer = await asyncio.open_unix_connection(folder / "s")
            yield reader, writer
            writer.close()


async def ask(fake, request):
    async with connected(fake) as (reader, writer):
        writer.write(request + b"\n")
        return [json.loads(line) for line in (await reader.read()).splitlines()]


@pytest.mark.parametrize(
    "wrong", [b"", b"{", b"[]", b"{}", b"1", b'{"do": "dance"}', b'{"do": "stop", "seconds": "x"}']
)
def test_what_is_asked_wrongly_has_no_answer_and_no_effect(caplog, wrong):
    async def talk():
        fake = Fake()
        assert (await ask(fake, wrong), fake.asked) == ([], [])

    asyncio.run(talk())
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


def test_the_answers():
    async def talk():
        fake = Fake()
        assert (await ask(fake, b'{"do": "status"}'))[0]["lost"] == ["the mount of /src hangs"]
        assert await ask(fake, b'{"do": "forward"}') == [{"failed": "port 80 is taken"}]
        story: list[dict[str, object]] = [{"say": "booting"}, {"failed": "no ssh", "console": []}]
        for line in story:
            await fake.story.tell(line)
        assert await ask(fake, b'{"do": "follow", "seconds": 5}') == story
        assert fake.boot_seconds == 5.0
        # The next life's story is another one.
        fake.story.begin_chapter()
        assert await ask(fake, b'{"do": "restart", "environment": {"http_proxy": ""}}') == [{"done": True}]
        assert await ask(fake, b'{"do": "stop", "seconds": 0}') == [{"done": True}]
        assert fake.asked == [(None, {"http_proxy": ""}, True), (0.0, None, False)]
        assert await ask(fake, b'{"do": "follow"}') == [{"done": True}, {"done": True}]
        fake.is_ready = True
        assert await ask(fake, b'{"do": "follow"}') == [{"done": True}]

    asyncio.run(talk())


def test_a_holder_holds_until_it_hangs_up():
    async def talk():
        fake = Fake()
        async with connected(fake) as (reader, writer):
            writer.write(b'{"do": "hold"}\n')
            await fake.held_by_one.wait()
            writer.write_eof()
            assert await reader.read() == b""
        assert not fake.held_by_one.is_set()

    asyncio.run(talk())


def test_a_copy_tells_how_far_it_is_and_ends_with_its_client():
    async def talk():
        fake = Fake()
        assert await ask(fake, b'{"do": "copy", "target": "/a/whole"}') == [{"copied": 7}, {"done": True}]
        assert await ask(fake, b'{"do": "copy", "target": "/a/refused"}') == [{"copied": 7}, {"failed": "it ended"}]
        fake.held_by_one.clear()
        async with connected(fake) as (reader, writer):
            writer.write(b'{"do": "copy", "target": "/a/slow"}\n')
            assert json.loads(await reader.readline()) == {"copied": 7}
            assert not fake.held_by_one.is_set()
            writer.close()
            await fake.held_by_one.wait()

    asyncio.run(talk())

"""What a supervisor tells those who listen."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from haulout.machine.supervision import control_server
from haulout.machine.supervision.control_server import Story


class Listener:
    """What is written to a client."""

    def __init__(self):
        self.lines: list[dict[str, object]] = []
        self.twice = asyncio.Event()

    def write(self, line):
        self.lines.append(json.loads(line))
        if len(self.lines) > 1:
            self.twice.set()

    async def drain(self):
        pass


def test_what_takes_long_without_a_word_says_that_it_goes_on(monkeypatch):
    monkeypatch.setattr(control_server, "_SILENCE", 0.02)

    async def listen():
        story, listener = Story(), Listener()
        writer: Any = listener
        task = asyncio.create_task(story.stream(writer, 0))
        await asyncio.wait_for(listener.twice.wait(), 20)
        await story.tell({"say": "it is here"})
        await story.tell({"done": True})
        await asyncio.wait_for(task, 20)
        return listener.lines

    lines = asyncio.run(listen())
    assert lines[0] == lines[1] == {"goes_on": True}
    assert [line for line in lines if "goes_on" not in line] == [{"say": "it is here"}, {"done": True}]

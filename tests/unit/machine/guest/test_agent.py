"""The guest agent: the real one, told to do nothing but to answer; and those that are silent or talk nonsense."""

from __future__ import annotations

import asyncio
import subprocess

import pytest
from tests.support.machines import short_folder, until
from tests.support.peers import QEMU, peers

from haulout.errors import ToolError
from haulout.machine.guest import agent


async def rests(path):
    done = []

    async def sync():
        done.append("synced")

    async with agent.at_rest(path, sync):
        done.append("copied")
    return done


@pytest.mark.tools
def test_the_real_agent_answers_again_and_again():
    program = peers(QEMU).program("usr/sbin/qemu-ga")
    allowed = "--allow-rpcs=guest-ping,guest-sync-delimited,guest-info"
    with short_folder() as folder:
        path = folder / "agent.sock"
        line = [
            *program,
            "--method=unix-listen",
            f"--path={path}",
            allowed,
            f"--statedir={folder}",
            f"--pidfile={folder}/pid",
        ]
        with subprocess.Popen(line, stderr=subprocess.PIPE) as process:
            try:
                until(path.exists)
                for _ in range(2):
                    assert asyncio.run(agent.ask(path, "guest-ping")) == {}
                assert asyncio.run(agent.ask(path, "guest-info"))["supported_commands"]
                with pytest.raises(ToolError, match="guest-shutdown has been disabled"):
                    asyncio.run(agent.ask(path, "guest-shutdown", mode="powerdown"))
                asyncio.run(agent.shutdown(path))
                assert asyncio.run(rests(path)) == ["synced", "copied"], "also where the agent may not freeze"
            finally:
                process.kill()


@pytest.mark.parametrize("answer", [None, b"", b"hello\n", b"\xff[]\n", b'\xff{"return": 0}\n', b"\xff" + 99 * b"x"])
def test_a_guest_without_an_agent_costs_no_more_than_the_time_allowed(answer):
    async def asked(path):
        async def answers(reader, writer):
            await reader.readline()
            writer.write(answer)
            writer.close()

        server = await asyncio.start_unix_server(answers, path) if answer is not None else None
        try:
            with pytest.raises(ToolError, match="does not answer guest-ping"):
                await agent.ask(path, "guest-ping", seconds=0.2)
        finally:
            if server:
                server.close()

    with short_folder() as folder:
        asyncio.run(asyncio.wait_for(asked(folder / "agent.sock"), 5))

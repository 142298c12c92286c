"""What a guest may answer in podman's place: it is another's machine, maybe a hostile one."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import pytest
from tests.support.machines import short_folder

from haulout.machine.update import api
from haulout.machine.update.journal import Container

HEAD = b"HTTP/1.1 200 OK\r\n"
RUNNING = [{"Id": "0a", "Names": ["db"], "AutoRemove": False}]


@pytest.fixture
def path():
    with short_folder() as folder:
        yield folder / "s"


def plain(document):
    body = json.dumps(document).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*parts):
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(parts)


def told(path, answer, question):
    """Ask somebody who answers this, and goes on with zeros for as long as anybody reads."""
    sent = 0

    async def serve(reader, writer):
        nonlocal sent
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            if answer.endswith(b"\r\n"):
                while sent < 256 << 20:
                    writer.write(bytes(1 << 20))
                    await writer.drain()
                    sent += 1 << 20
            writer.close()

    async def run():
        async with await asyncio.start_unix_server(serve, path):
            return await question(path)

    try:
        return asyncio.run(run())
    finally:
        assert sent < 64 << 20


def test_the_containers_that_run_are_read_in_both_forms_of_an_answer(path):
    body = json.dumps(RUNNING).encode()
    for answer in (plain(RUNNING), chunked(b"%x\r\n" % len(body), body, b"\r\n0\r\n\r\n")):
        assert told(path, answer, api.containers) == (Container("0a", "db"),)


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"\r", b"HTTP/1.1 200 OK\r\n\r\n[", plain({}), plain(["x"]), plain([{}]), plain([{"Id": "0a", "Names": 7}]),
        plain([{"Id": "0a", "AutoRemove": True, "Labels": 7}]), chunked(b"-1\r\n[]"), chunked(b"x\r\n[]"), chunked(b"2\r\n[]"),
        chunked(b"ffffffffff\r\n"), HEAD + b"Content-Length: -5\r\n\r\n[]", HEAD + b"Content-Length: x\r\n\r\n[]",
    ],
)  # fmt: skip
def test_what_is_no_list_of_containers_is_no_answer(path, answer):
    with pytest.raises(OSError, match="no answer"):
        told(path, answer, api.containers)


@pytest.mark.parametrize("found", [[], {"version": []}, {"version": {"Version": "5.4"}, "host": 1}, {"version": None}])
def test_what_says_nothing_of_podman_is_not_known(path, found):
    assert told(path, plain(found), api.kind_of_data) == ""


def test_containers_that_went_down_with_their_guest_are_those_that_were_started_and_have_no_end(path):
    never = -62135596800
    found = [
        {"Id": "1", "State": "configured", "StartedAt": 200, "ExitedAt": never},
        {"Id": "2", "State": "exited", "StartedAt": 200, "ExitedAt": 100},
        {"Id": "3", "State": "exited", "StartedAt": 200, "ExitedAt": 300},
        {"Id": "4", "State": "created", "StartedAt": never, "ExitedAt": never},
        {"Id": "5", "State": "running", "StartedAt": 200, "ExitedAt": 100},
        {"Id": "6", "State": "exited", "StartedAt": 200, "ExitedAt": 100, "AutoRemove": True},
    ]
    assert [each.id for each in told(path, plain(found), api.interrupted)] == ["1", "2"]
    for hostile in ([{"Id": "1", "StartedAt": "x"}], [None], {"a": 1}):
        with pytest.raises(OSError, match="that can be read"):
            told(path, plain(hostile), api.interrupted)

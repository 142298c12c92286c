"""The server of a base that is not whole: one for each image, told what it has to know, and not waited for for ever."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace

import pytest
from tests.support.machines import short_folder
from tests.unit.machine.test_model import MACHINE

from haulout.errors import ToolError
from haulout.machine import partial
from haulout.machine.store import Machines

LISTENS = """
import os, signal, socket, sys
signal.signal(signal.SIGUSR1, lambda *_: (open(sys.argv[2], "w").close(), sys.exit()))
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
signal.pause()
"""
HANGS = "import os, sys, time; open(sys.argv[2], 'w').write(str(os.getpid())); time.sleep(300)"


@pytest.fixture
def served():
    with short_folder() as folder:
        place = Machines(folder, folder, folder).place("mine")
        for each in (place.folder, place.base(MACHINE).parent):
            each.mkdir(parents=True)
        yield partial.Served(place, MACHINE)


def run_by(served, program):
    """Have another program for a server; return the file that it writes."""
    told = served._log.with_name("told")
    served._argv = [sys.executable, "-c", program, str(served._socket), str(told)]
    return told


def test_images_whose_digests_end_alike_have_servers_of_their_own(served, tmp_path):
    place = Machines(tmp_path, tmp_path, tmp_path).place("mine")
    names = set()
    for first in "0123456789abcdef":
        image = replace(MACHINE.image, pinned=f"registry/app@sha256:{first * 20}{'a' * 44}")
        names.add(partial.Served(place, replace(MACHINE, image=image))._socket)
    assert len(names) == 16


def test_a_server_that_is_there_already_is_told_of_a_boot(served):
    told = run_by(served, LISTENS)

    async def run() -> None:
        await served.begin()
        served._settled = True
        assert served._peer is not None
        served._peer.close()
        await served.begin()
        assert served._peer is not None
        await asyncio.wait_for(served._peer.ended(), 60)

    asyncio.run(run())
    assert told.exists()


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_server_that_does_not_listen_is_ended(served, monkeypatch, cancelled):
    monkeypatch.setattr(partial, "_HANG_SECONDS", 60.0 if cancelled else 3.0)
    told = run_by(served, HANGS)

    async def run() -> None:
        with pytest.raises(TimeoutError if cancelled else ToolError):
            await asyncio.wait_for(served.begin(), 3.0 if cancelled else 60.0)

    asyncio.run(run())
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)

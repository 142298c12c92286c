"""A data disk in two parts is made one file under a QEMU that runs, and killed in between; no guest is needed."""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import asynccontextmanager

import pytest
from tests.support.machines import short_folder
from tests.support.servers import needs

from haulout.errors import StorageError, ToolError
from haulout.machine.qemu import uniting
from haulout.machine.qemu.copying import data_node
from haulout.machine.qemu.qmp import Qmp

pytestmark = [pytest.mark.tools, needs("qemu-system-x86_64", "qemu-img", "qemu-io")]
MIB = 1 << 20


@pytest.fixture
def folder():
    with short_folder() as made:
        with (made / "data.raw").open("wb") as disk:
            disk.write(b"a" * 2 * MIB)
            disk.truncate(64 * MIB)
        since = made / "since.qcow2"
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", made / "data.raw", since], check=True
        )
        assert os.system(f"qemu-io -f qcow2 -c 'write -q -P 98 1M 2M' {since}") == 0
        yield made


@asynccontextmanager
async def machine(folder):
    """Yield a connection to a virtual machine with this data disk, and the one to its monitor."""
    process = await asyncio.create_subprocess_exec(
        *("qemu-system-x86_64", "-accel", "tcg", "-S", "-nodefaults", "-display", "none", "-m", "64"),
        *("-blockdev", f"driver=file,node-name=before-file,read-only=on,filename={folder}/data.raw"),
        *("-blockdev", "driver=raw,node-name=before,read-only=on,file=before-file"),
        *("-blockdev", f"driver=file,node-name=data-file,discard=unmap,filename={folder}/since.qcow2"),
        *("-blockdev", "driver=qcow2,node-name=data,discard=unmap,detect-zeroes=unmap,file=data-file,backing=before"),
        *("-device", "virtio-blk-pci,drive=data", "-qmp", f"unix:{folder}/qmp,server=on,wait=off"),
    )
    try:
        for _ in range(2400):
            if (folder / "qmp").exists():
                break
            await asyncio.sleep(0.1)
        qmp = await Qmp.connect(folder / "qmp", lambda _: None)
        try:
            yield qmp
        finally:
            await qmp.close()
    finally:
        process.kill()
        await process.wait()


def content(folder):
    """Return what the guest would see: a letter for each MiB of the first four."""
    since = folder / "since.qcow2"
    path = folder / "data.raw"
    if since.exists():
        path = folder / "seen"
        subprocess.run(["qemu-img", "convert", "-U", "-O", "raw", since, path], check=True)
    with path.open("rb") as file:
        return [file.read(MIB)[:1] for _ in range(4)]


def test_a_disk_becomes_one_file_while_its_guest_runs(folder):
    async def run():
        async with machine(folder) as qmp:
            assert await data_node(qmp) == "data"
            await uniting.unite_data(qmp, asyncio.Lock())
            assert await data_node(qmp) == "before"
            assert (await qmp.execute("query-status"))["running"]
            # Nothing is left to do.
            await uniting.end_uniting(qmp)

    asyncio.run(run())
    assert not (folder / "since.qcow2").exists()
    assert content(folder) == [b"a", b"b", b"b", b"\0"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_killed_supervisor_had_begun_is_ended_before_the_guest_goes_on(when, folder, monkeypatch):
    """Killed as QEMU was asked to go over to the one file, or after that."""
    real = Qmp.execute
    dead: list[str] = []

    async def execute(self, name, **arguments):
        if dead or (name == "block-job-complete" and when == "before"):
            dead.append(name)
            raise ToolError("QEMU", "ended")
        return await real(self, name, **arguments)

    def remove(*_):
        dead.append("removing")
        raise StorageError("since.qcow2", "the supervisor was killed")

    async def run():
        async with machine(folder) as qmp:
            with monkeypatch.context() as killing:
                killing.setattr(Qmp, "execute", execute)
                killing.setattr(uniting, "_remove", remove)
                with pytest.raises((StorageError, ToolError)):
                    await uniting.unite_data(qmp, asyncio.Lock())
            assert content(folder) == [b"a", b"b", b"b", b"\0"]
            assert not (await qmp.execute("query-status"))["running"]
            await uniting.end_uniting(qmp)
            assert await data_node(qmp) == ("data" if when == "before" else "before")

    asyncio.run(run())
    assert (folder / "since.qcow2").exists() is (when == "before")
    assert content(folder) == [b"a", b"b", b"b", b"\0"]

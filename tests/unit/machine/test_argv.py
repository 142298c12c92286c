"""QEMU's command line, by golden files: ``HAULOUT_UPDATE_GOLDEN=1 pytest …/test_argv.py`` writes them anew."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.machines import short_folder
from tests.support.peers import QEMU, peers
from tests.support.servers import find
from tests.unit.machine.test_model import MACHINE

from haulout.disk import DiskFormat, create_overlay
from haulout.errors import ConflictError, ToolError
from haulout.machine import Accelerator, DiskKind, Forward, Image, Place, Resources
from haulout.machine.model import Protocol
from haulout.machine.qemu import Qemu
from haulout.machine.qemu.argv import Files, command
from haulout.machine.qemu.firmware import Uefi
from haulout.machine.qemu.qmp import Qmp

GOLDEN = Path(__file__).parent / "golden"
FILES = Files(
    base=Path("/data/images/sha256-aa"),
    system=Path("/data/machines/web/system.qcow2"),
    data=Path("/data/machines/web/data.raw"),
    data_since=None,
    seed=Path("/data/machines/web/seed"),
    ignition=Path("/data/machines/web/ignition.json"),
    console=Path("/data/machines/web/console.log"),
    qmp=Path("/run/web/qmp.sock"),
    agent=Path("/run/web/agent.sock"),
)
UEFI = Uefi(Path("/usr/share/firmware/code.fd"), Path("/data/machines/web/firmware.vars"), "raw")
RAW = replace(MACHINE, image=Image(MACHINE.image.reference, MACHINE.image.pinned, DiskKind.RAW), mounts=(), forwards=())
CASES = {
    "linux-x86_64-kvm": (replace(MACHINE, mounts=()), FILES, Accelerator.KVM, "x86_64"),
    "linux-x86_64-tcg": (RAW, FILES, Accelerator.TCG, "x86_64"),
    "linux-x86_64-mounts": (MACHINE, replace(FILES, mounts=(Path("/run/web/fs0.sock"),)), Accelerator.KVM, "x86_64"),
    "linux-aarch64-kvm": (RAW, replace(FILES, firmware=UEFI), Accelerator.KVM, "aarch64"),
    "linux-aarch64-tcg": (RAW, replace(FILES, firmware=UEFI), Accelerator.TCG, "aarch64"),
    "macos-aarch64-hvf": (RAW, replace(FILES, firmware=UEFI), Accelerator.HVF, "aarch64"),
    "macos-x86_64-hvf": (RAW, replace(FILES, firmware=UEFI), Accelerator.HVF, "x86_64"),
}


def shown(words):
    """One option on each line, with its value."""
    text = words[0]
    for word in words[1:]:
        text += f"\n{word}" if word.startswith("-") else f" {word}"
    return text + "\n"


@pytest.mark.parametrize("name", CASES)
def test_the_command_line(name):
    machine, files, accelerator, architecture = CASES[name]
    text = shown(command(machine, files, accelerator, architecture, ["io.systemd.credential.binary:x=eA=="]))
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("HAULOUT_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_a_comma_in_a_path_is_no_option():
    odd = replace(FILES, data=Path("/a,readonly=on/data.raw"))
    words = command(RAW, odd, Accelerator.TCG, "x86_64", ["x"])
    assert any("filename=/a,,readonly=on/data.raw" in word for word in words)


def ready(folder, machine, *, uefi, arm):
    """Files as they are before a start."""
    for name, size in (("base", 64), ("data", 64), ("code", 64 if arm else 3), ("vars", 64 if arm else 1)):
        (folder / name).write_bytes(b"")
        os.truncate(folder / name, size << 20)
    if machine.image.format is DiskKind.QCOW2:
        (folder / "base").rename(folder / "under")
        create_overlay(folder / "under", DiskFormat.RAW, folder / "base")
    create_overlay(folder / "base", DiskFormat(machine.image.format.value), folder / "system")
    (folder / "seed").mkdir()
    (folder / "ignition").write_text("{}")
    return Files(
        base=folder / "base",
        system=folder / "system",
        data=folder / "data",
        data_since=None,
        seed=folder / "seed",
        ignition=folder / "ignition",
        console=folder / "console",
        qmp=folder / "qmp.sock",
        agent=folder / "agent.sock",
        firmware=Uefi(folder / "code", folder / "vars", "raw") if uefi else None,
    )


@pytest.mark.tools
@pytest.mark.parametrize("source", ["here", "sid"])
@pytest.mark.parametrize("name", CASES)
def test_qemu_takes_all_of_it(name, source):
    """Each QEMU builds the whole board of each platform, with every device and property: only the accelerator is ours."""
    machine, files, _, architecture = CASES[name]
    program = f"qemu-system-{architecture}"
    if source == "sid":
        kit = peers(QEMU)
        run = [
            *kit.program(f"usr/bin/{program}"),
            "-L",
            str(kit.root / "usr/share/qemu"),
            "-L",
            str(kit.root / "usr/share/seabios"),
        ]
    elif find(program) is None:
        pytest.skip(f"not installed: {program}")
    else:
        run = [program]
    machine = replace(machine, forwards=(), resources=Resources(2, 256, 1))
    with short_folder() as folder:
        made = ready(folder, machine, uefi=files.firmware is not None, arm=architecture == "aarch64")
        line = command(machine, made, Accelerator.TCG, architecture, ["io.systemd.credential.binary:x=eA=="])
        with subprocess.Popen([*run, *line[1:], "-S"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            try:
                status = asyncio.run(_status(made.qmp, process))
            finally:
                process.kill()
                said = process.communicate()[1].decode()
        assert (said, status) == ("", "prelaunch")


async def _status(path, process):
    """What QEMU says once the board is built; None where it ended before."""
    while process.poll() is None:
        with suppress(ToolError):
            link = await Qmp.connect(path, lambda event: None)
            status = await link.execute("query-status")
            await link.close()
            return status["status"]
        await asyncio.sleep(0.02)
    return None


@pytest.mark.tools
@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_qemu_knows_the_device_for_mounts(architecture):
    program = f"qemu-system-{architecture}"
    for run in ([program] if find(program) else []), peers(QEMU).program(f"usr/bin/{program}"):
        if run:
            asked = [*run, "-device", "vhost-user-fs-pci,help"]
            out = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
            assert {"chardev", "tag"} <= {line.strip().partition("=")[0] for line in out.splitlines()}


@pytest.mark.tools
def test_ports_change_while_it_runs(tmp_path):
    if find("qemu-system-x86_64") is None:
        pytest.skip("not installed: qemu-system-x86_64")

    async def change(place):
        life = await Qemu(tmp_path / "notes").adopt("web", place)
        assert not await life.has_network()
        with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as freed:
            busy, port = taken.getsockname()[1], freed.getsockname()[1]
            freed.close()
            await life.forward([Forward(port, 80), Forward(port, 53, Protocol.UDP)])
            await life.forward([Forward(port, 80)])
            assert accepts(port)
            with pytest.raises(ConflictError, match=rf"port {busy} \(tcp\) of this host is taken"):
                await life.forward([Forward(port, 53, Protocol.UDP), Forward(busy, 80)])
            assert accepts(port)
            await life.forward([])
            assert (accepts(port), accepts(life.ssh_port)) == (False, True)
        await life.quit()
        assert (await life.ended()).reason == "it was switched off"

    def accepts(port):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
            return True
        return False

    with short_folder() as folder:
        made = ready(folder, RAW, uefi=False, arm=False)
        line = command(replace(RAW, resources=Resources(1, 64, 1)), made, Accelerator.TCG, "x86_64", [])
        with subprocess.Popen([*line, "-S"], stdin=subprocess.DEVNULL) as process:
            try:
                asyncio.run(_status(made.qmp, process))
                asyncio.run(change(Place("web", folder, folder, folder)))
                assert process.wait(20) == 0
            finally:
                process.kill()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            line = command(replace(RAW, forwards=(Forward(port, 80),)), made, Accelerator.TCG, "x86_64", [])
            said = subprocess.run(line, capture_output=True, text=True, timeout=20, check=False).stderr
        assert f"forwarding rule 'tcp:127.0.0.1:{port}-:80'" in said

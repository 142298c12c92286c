"""The key on a socket, asked for as systemd-cryptsetup asks: systemd, src/shared/cryptsetup-util and src/cryptsetup."""

import io
import os
import secrets
import socket
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.support import evidence
from tests.support.servers import issue_tls
from tests.support.small_broker import SmallBroker, small_broker
from tests.unit.guest.test_session import Emulated

from haulout.guest.key import answer, volume_of
from haulout.guest.launch import Launch
from haulout.guest.refusal import GuestRefusal, Rule
from haulout.workload import luks
from haulout.workload.binding import Binding


@pytest.mark.parametrize(
    ("peer", "volume"),
    [(b"\0adf9818f4b9d8b5d/cryptsetup/root", "root"), (b"\x000/cryptsetup/luks-1.x@y", "luks-1.x@y")],
)
def test_the_volume_is_in_the_address(peer, volume):
    assert volume_of(peer) == volume


@pytest.mark.parametrize(
    "peer",
    [
        "",
        b"",
        "/run/socket",
        b"\0x/cryptsetup/root",
        b"\0ab/cryptsetup/",
        b"\0ab/cryptsetup/../etc",
        b"\0ab/cryptsetup/.hidden",
    ],
)
def test_anyone_else_gets_nothing(peer):
    with pytest.raises(GuestRefusal):
        volume_of(peer)


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return issue_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def volume(tls, tmp_path):
    """A broker, and a folder with a disk that it has the key of."""
    with small_broker(tls) as broker:
        made = luks.create(broker.secret, iterations=2000)
        (tmp_path / "disk.img").write_bytes(made.header + made.encrypt(0, bytes(1 << 20)))
        header = luks.read_header(io.BytesIO((tmp_path / "disk.img").read_bytes()))
        binding = Binding("web", header.digest, bytes(32), b"salt", 4096, broker.key)
        (tmp_path / "root.launch").write_bytes(Launch(binding, broker.url).to_bytes())
        (tmp_path / "root.disk").symlink_to("disk.img")
        yield Volume(tmp_path, broker, binding)


class Volume(NamedTuple):
    folder: Path
    broker: SmallBroker
    binding: Binding


@contextmanager
def listening(volume, said):
    """Serve one connection, as systemd does for ``Accept=yes``."""
    path = volume.folder / "root.key"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        device = Emulated(evidence.snp(), volume.binding.host_data)

        def serve():
            with listener.accept()[0] as connection:
                said.append(connection.getpeername())
                try:
                    answer(connection, volume.folder, said.append, lambda: device)
                except GuestRefusal as exc:
                    said.append(exc.rule)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield path
        thread.join(60)


def read_key(path, name="root"):
    """Read a key as systemd-cryptsetup does."""
    with socket.socket(socket.AF_UNIX) as client:
        client.bind(b"\0" + secrets.token_hex(8).encode() + b"/cryptsetup/" + name.encode())
        client.connect(str(path))
        return b"".join(iter(lambda: client.recv(4096), b""))


def test_the_key_is_all_that_comes_out_of_the_socket(volume):
    said: list[Any] = []
    with listening(volume, said) as path:
        assert read_key(path) == volume.broker.secret
    assert volume.broker.workloads == ["web"]


def test_a_disk_with_another_header_gets_no_key(volume):
    with (volume.folder / "disk.img").open("r+b") as file:
        file.seek(5000)
        file.write(b"!")
    said: list[Any] = []
    with listening(volume, said) as path:
        assert read_key(path) == b""
    assert said[-1] is Rule.LUKS_HEADER
    assert volume.broker.requests == []


def test_a_volume_without_a_launch_document_gets_no_key(volume):
    said: list[Any] = []
    with listening(volume, said) as path:
        assert read_key(path, "other") == b""
    assert said[-1] is Rule.LAUNCH


CRYPTSETUP = next(
    (one for one in map(Path, ("/usr/lib/systemd/systemd-cryptsetup", "/usr/bin/systemd-cryptsetup")) if one.exists()),
    None,
)


@pytest.mark.tools
@pytest.mark.skipif(CRYPTSETUP is None, reason="not installed: systemd-cryptsetup")
def test_systemd_cryptsetup_reads_its_key(volume):
    """The real program. It fails, as it may not map a device here, but not before it has read the key."""
    if os.geteuid() == 0 and "device-mapper" in Path("/proc/misc").read_text():
        pytest.skip("it would map a device of this machine")
    said: list[Any] = []
    with listening(volume, said) as path:
        done = subprocess.run(
            [str(CRYPTSETUP), "attach", "root", str(volume.folder / "disk.img"), str(path), "luks,headless,tries=1"],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert volume_of(said[0]) == "root", done.stderr
    assert said[1:] == ["sending evidence of a TEE of the tests"], done.stderr
    assert "Failed to activate with key file" in done.stderr

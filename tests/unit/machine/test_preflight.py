"""What must fail at the next start."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from tests.unit.machine.test_model import MACHINE

from haulout.errors import StorageError, UsageError
from haulout.machine import Forward, Machines, Mount, Protocol, check_ports, check_settings

BARE = replace(MACHINE, mounts=(), forwards=())


def with_mounts(*mounts):
    return replace(BARE, mounts=tuple(Mount.parse(each) for each in mounts))


def with_ports(*ports, name="web"):
    return replace(BARE, name=name, forwards=tuple(Forward.parse(each) for each in ports))


def test_a_target_and_a_port_are_given_once(tmp_path):
    check_settings(with_mounts(f"{tmp_path}:/a", f"{tmp_path}:/a/b"))
    with pytest.raises(UsageError, match=r"two mounts have the target /a$"):
        check_settings(with_mounts(f"{tmp_path}:/a", f"{tmp_path}:/a/"))
    check_settings(with_ports("8080:80", "8080:80/udp", "8081:80"))
    with pytest.raises(UsageError, match=r"port 8080 \(tcp\) of this host is named twice"):
        check_settings(with_ports("8080:80", "8080:81"))


def test_a_directory_that_is_not_there_is_said(tmp_path):
    with pytest.raises(StorageError, match="a mount of the machine") as caught:
        check_settings(with_mounts(f"{tmp_path}/gone:/a"))
    assert "machine set web --mount" in str(caught.value.hint)


def test_ports_of_others_are_told_and_those_that_are_denied_refused(tmp_path, monkeypatch):
    machines = Machines(tmp_path, tmp_path / "run", tmp_path / "cache")
    other = machines.place("other")
    other.folder.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as busy, socket.create_server(("127.0.0.1", 0)) as freed:
        taken, free = busy.getsockname()[1], freed.getsockname()[1]
        freed.close()
        other.save(with_ports(f"{free}:80", name="other"))
        wanted = with_ports(f"{free}:22", f"{taken}:22", f"{free}:22/udp")
        told = list(check_ports(wanted, wanted.forwards, machines))
    assert len(told) == 2
    assert f"port {free} (tcp) is one of machine other, too" in told[0]
    assert f"port {taken} (tcp) of this host is taken" in told[1]

    class Denied(socket.socket):
        def bind(self, _):
            raise PermissionError

    monkeypatch.setattr(socket, "socket", Denied)
    with pytest.raises(UsageError, match=r"port 80 \(udp\) of this host needs root"):
        list(check_ports(BARE, [Forward(80, 80, Protocol.UDP)], machines))

"""Connections of podman and docker, made and removed by their own programs, beside what others made or broke."""

from __future__ import annotations

import socket
import subprocess
from dataclasses import replace

import pytest
from tests.support.machines import short_folder
from tests.support.servers import needs
from tests.unit.machine.test_model import MACHINE

from haulout.machine import Place, forget, register

pytestmark = pytest.mark.tools
WEB = replace(MACHINE, name="web")


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "containers.conf").write_text("[engine]\n")
    monkeypatch.setenv("CONTAINERS_CONF", str(tmp_path / "containers.conf"))
    monkeypatch.setenv("PODMAN_CONNECTIONS_CONF", str(tmp_path / "connections.json"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return Place("web", tmp_path / "machines/web", tmp_path / "run/haulout/web", tmp_path / "images")


def said(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def podman():
    lines = said("podman", "system", "connection", "list", "--format", "{{.Name}} {{.URI}}").splitlines()
    return {line.split()[0].rstrip("*"): line.split()[-1] for line in lines}


def docker():
    lines = said("docker", "context", "ls", "--format", "{{.Name}} {{.DockerEndpoint}}").splitlines()
    return {name: url for name, url in (line.split() for line in lines) if name != "default"}


CLIENTS = [
    pytest.param(podman, ("podman", "system", "connection", "add"), marks=needs("podman")),
    pytest.param(docker, ("docker", "context", "create"), marks=needs("docker")),
]


def made_by_others(add, name, url):
    said(*add, name, *((url,) if add[0] == "podman" else ("--docker", f"host={url}")))


@pytest.mark.parametrize(("known", "add"), CLIENTS)
def test_both_are_made_once_and_removed_without_a_machine_file(place, known, add):
    made_by_others(add, "other", "unix:///other.sock")
    for _ in range(2):
        assert register(WEB, place) == []
    ours = {"web": f"unix://{place.socket('podman')}", "web-root": f"unix://{place.socket('podman-root')}"}
    assert known() == {"other": "unix:///other.sock", **ours}
    if known is docker:
        said("docker", "context", "use", "web")
    forget(place)
    assert known() == {"other": "unix:///other.sock"}


@pytest.mark.parametrize(("known", "add"), CLIENTS)
def test_what_others_made_under_our_name_stays_and_is_told(place, known, add):
    made_by_others(add, "web-root", "unix:///other.sock")
    refused = register(WEB, place)
    assert refused == [f"{add[0]} has a connection web-root already, which was left as it is"]
    forget(place)
    assert known() == {"web-root": "unix:///other.sock"}


@pytest.mark.parametrize(("known", "add"), CLIENTS)
def test_one_of_an_earlier_runtime_folder_is_replaced_but_not_that_of_another_machine_that_runs(place, known, add):
    with short_folder() as folder, socket.socket(socket.AF_UNIX) as other:
        live = folder / "haulout/web"
        live.mkdir(parents=True)
        other.bind(str(live / "podman-root.sock"))
        made_by_others(add, "web", "unix:///run/user/4711/haulout/web/podman.sock")
        made_by_others(add, "web-root", f"unix://{live}/podman-root.sock")
        assert register(WEB, place) == [f"{add[0]} has a connection web-root already, which was left as it is"]
        assert known() == {"web": f"unix://{place.socket('podman')}", "web-root": f"unix://{live}/podman-root.sock"}


@needs("podman", "docker")
def test_broken_files_of_others_are_told_and_left_as_they_are(place, tmp_path):
    (tmp_path / "containers.conf").write_text("[engine\n")
    broken = tmp_path / "docker/contexts/meta/0" / "meta.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    refused = register(WEB, place)
    assert {line.split()[0] for line in refused} == {"podman", "docker"}
    assert all("\n" not in line for line in refused)
    forget(place)
    assert ((tmp_path / "containers.conf").read_text(), broken.read_text()) == ("[engine\n", "{")


@needs("docker")
def test_a_broken_configuration_of_docker_is_left_as_it_is(place, tmp_path):
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text("{")
    register(WEB, place)
    assert docker()["web"] == f"unix://{place.socket('podman')}"
    forget(place)
    assert docker() == {}
    assert (tmp_path / "docker/config.json").read_text() == "{"

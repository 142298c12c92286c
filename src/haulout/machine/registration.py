"""Let podman and docker know a machine's sockets, by their own programs: connections ``NAME``, ``NAME-root``."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.errors import ToolError
from haulout.local import Finished, run

if TYPE_CHECKING:
    from haulout.machine.model import Machine
    from haulout.machine.store import Place

_SECONDS: Final = 20.0


def connection(machine: Machine, socket: str) -> str:
    """Return the name under which clients know a socket: ``podman-root`` of ``web`` is ``web-root``. Pure."""
    return machine.name + socket.removeprefix("podman")


@dataclass(frozen=True, slots=True)
class _Client:
    program: str
    known: tuple[str, ...]
    """Prints ``NAME URL`` for each connection."""
    add: tuple[str, ...]
    remove: tuple[str, ...]


_CLIENTS: Final = (
    _Client(
        "podman",
        ("system", "connection", "list", "--format", "{{.Name}} {{.URI}}"),
        ("system", "connection", "add", "NAME", "URL"),
        ("system", "connection", "rm", "NAME"),
    ),
    _Client(
        "docker",
        ("context", "ls", "--format", "{{.Name}} {{.DockerEndpoint}}"),
        ("context", "create", "NAME", "--description", "haulout machine", "--docker", "host=URL"),
        ("context", "rm", "NAME"),
    ),
)


def register(machine: Machine, place: Place) -> list[str]:
    """Make the connections, and return a line for each that was refused."""
    refused = []
    for client in _present():
        known = _known(client)
        for name, url in _wanted(machine, place):
            if name in known and known[name] != url:
                refused.append(f"{client.program} has a connection {name} already, which was left as it is")
            elif name not in known and ((done := _call(client, client.add, name, url)) is None or done.code):
                refused.append(f"{client.program} refused the connection {name}: {done.said if done else 'no answer'}")
    return refused


def forget(machine: Machine, place: Place) -> None:
    """Remove the connections, where they are ours."""
    for client in _present():
        known = _known(client)
        for name, url in _wanted(machine, place):
            if known.get(name) == url:
                _call(client, client.remove, name, url)


def _wanted(machine: Machine, place: Place) -> list[tuple[str, str]]:
    return [(connection(machine, each.name), f"unix://{place.socket(each.name)}") for each in machine.sockets]


def _present() -> list[_Client]:
    return [client for client in _CLIENTS if shutil.which(client.program)]


def _known(client: _Client) -> dict[str, str]:
    done = _call(client, client.known)
    # podman 4 marks its default by an asterisk.
    lines = done.out.decode("utf-8", "replace").replace("*", "").splitlines() if done is not None else []
    return dict(line.split(" ", 1) for line in lines if " " in line)


def _call(client: _Client, arguments: tuple[str, ...], name: str = "", url: str = "") -> Finished | None:
    filled = {"NAME": name, "URL": url, "host=URL": f"host={url}"}
    words = [filled.get(word, word) for word in arguments]
    with suppress(ToolError):
        return run([client.program, *words], seconds=_SECONDS)
    return None

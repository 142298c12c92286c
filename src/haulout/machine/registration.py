"""Let podman and docker know a machine's sockets, by their own programs: connections ``NAME``, ``NAME-root``."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
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
        # Also where it is the current one.
        ("context", "rm", "--force", "NAME"),
    ),
)


def register(machine: Machine, place: Place) -> list[str]:
    """Make the connections, and return a line for each that was refused: what others made is left alone."""
    refused = []
    for client in _present():
        try:
            known = _known(client)
        except ToolError as error:
            refused.append(f"{client.program} was not told of {machine.name}: {error.reason}")
            continue
        for each in machine.sockets:
            name, url = connection(machine, each.name), f"unix://{place.socket(each.name)}"
            if known.get(name) == url:
                continue
            if name in known and not _is_ours(known[name], place):
                refused.append(f"{client.program} has a connection {name} already, which was left as it is")
                continue
            try:
                if name in known:
                    _call(client, client.remove, name)
                _call(client, client.add, name, url)
            except ToolError as error:
                refused.append(f"{client.program} refused the connection {name}: {error.reason}")
    return refused


def forget(place: Place) -> None:
    """Remove the connections, where they are ours; the machine file is not needed."""
    for client in _present():
        with suppress(ToolError):
            for name, url in _known(client).items():
                if _is_ours(url, place):
                    _call(client, client.remove, name)


def _is_ours(url: str, place: Place) -> bool:
    """Return whether a connection leads to this machine, or once led there: runtime folders come and go.

    Another user of the same file may have a machine of this name, too: then there is a socket.
    """
    path = Path(url.removeprefix("unix://"))
    return path.parent == place.runtime or (path.parts[-3:-1] == ("haulout", place.name) and not path.exists())


def _present() -> list[_Client]:
    return [client for client in _CLIENTS if shutil.which(client.program)]


def _known(client: _Client) -> dict[str, str]:
    """Return the URL of each connection there is."""
    # podman 4 marks its default by an asterisk.
    lines = _call(client, client.known).out.decode("utf-8", "replace").replace("*", "").splitlines()
    return dict(line.split(" ", 1) for line in lines if " " in line)


def _call(client: _Client, arguments: tuple[str, ...], name: str = "", url: str = "") -> Finished:
    filled = {"NAME": name, "URL": url, "host=URL": f"host={url}"}
    done = run([client.program, *(filled.get(word, word) for word in arguments)], seconds=_SECONDS)
    if done.code:
        raise ToolError(client.program, done.said or f"failed with exit code {done.code}")
    return done

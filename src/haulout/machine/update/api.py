"""What is asked of podman's API in a guest, over a socket of the host: HTTP/1.1, one request a connection."""

from __future__ import annotations

import asyncio
import json
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from haulout.local import printable
from haulout.machine.update.journal import Container

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_Result = TypeVar("_Result")
_SECONDS: Final = 60.0
"""For one answer: podman begins with the first request, and a guest without acceleration is slow."""
_LONGEST: Final = 16 << 20
_LINE: Final = 1 << 16
_LIST: Final = "/v4.0.0/libpod/containers/json"
_UNIT: Final = "PODMAN_SYSTEMD_UNIT"
"""The label of a container that a unit of systemd runs (podman-auto-update(1))."""
_NAME: Final = 200
_OK: Final = 200
_NOT_FOUND: Final = 404


async def ask(path: Path, target: str, method: str = "GET") -> tuple[int, bytes]:
    """Return status and body of the answer.

    Raises:
        OSError: there is no answer, or none in time.
    """
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_unix_connection(os.fspath(path), limit=_LINE)
            try:
                head = f"{method} {target} HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                writer.write(head.encode())
                return await _answer(reader)
            finally:
                writer.close()
    except (TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
        raise OSError(f"no answer to {method} {target}") from error


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    status = int((await reader.readline()).split()[1:2][0]) if not reader.at_eof() else 0
    headers: dict[bytes, bytes] = {}
    while (line := (await reader.readline()).strip()) and len(headers) < _NAME:
        key, _, value = line.partition(b":")
        headers[key.strip().lower()] = value.strip().lower()
    if headers.get(b"transfer-encoding") != b"chunked":
        length = headers.get(b"content-length")
        return status, await (reader.read(_LONGEST) if length is None else reader.readexactly(_bounded(int(length))))
    body = b""
    while size := _bounded(int((await reader.readline()).split(b";")[0], 16) + len(body)) - len(body):
        body += (await reader.readexactly(size + 2))[:-2]
    return status, body


def _bounded(size: int) -> int:
    if not 0 <= size <= _LONGEST:
        raise ValueError(size)
    return size


async def answers(path: Path) -> bool:
    """Return whether something answers there as podman does."""
    with suppress(OSError, IndexError):
        return (await ask(path, "/_ping"))[0] == _OK
    return False


async def containers(path: Path) -> tuple[Container, ...]:
    """Return the containers that run; none where whoever answers knows of no containers.

    Raises:
        OSError: there is no answer that can be read.
    """
    return await _read(path, _LIST, _containers)


async def interrupted(path: Path) -> tuple[Container, ...]:
    """Return the containers that did not end before the guest did: they were started last, and have no end since.

    Raises:
        OSError: there is no answer that can be read.
    """
    return await _read(path, f"{_LIST}?all=true", _interrupted)


def _interrupted(found: Any) -> tuple[Container, ...]:
    listed = [each for each in found or () if each.get("State") != "running" and not each.get("AutoRemove")]
    # Seconds since 1970; before that: never.
    return _containers([each for each in listed if each.get("StartedAt", 0) > max(each.get("ExitedAt", 0), 0)])


def _containers(found: Any) -> tuple[Container, ...]:
    if not isinstance(found, list | None):
        raise TypeError(found)
    return tuple(map(_container, found or ()))


def _container(found: dict[str, Any]) -> Container:
    name = printable(str((found.get("Names") or [""])[0])).lstrip("/")
    # Units of systemd, such as Quadlet's, have podman remove theirs, too, and make them anew.
    passing = bool(found.get("AutoRemove")) and _UNIT not in (found.get("Labels") or {})
    return Container(str(found["Id"])[:_NAME], name[:_NAME], passing)


async def start(path: Path, container: Container) -> None:
    """Start a container; what comes of it shows in what runs then.

    Raises:
        OSError: there is no answer.
    """
    if re.fullmatch(r"[0-9A-Za-z_.-]+", container.id):
        await ask(path, f"/v4.0.0/libpod/containers/{container.id}/start", "POST")


async def kind_of_data(path: Path) -> str:
    """Return what tells podman's data from that of another one that would read it otherwise; "" where it is not told.

    Releases of one minor version read the same; the database and the storage driver are told apart.
    """
    with suppress(OSError):
        return await _read(path, "/v4.0.0/libpod/info", _kind)
    return ""


def _kind(found: Any) -> str:
    version = re.match(r"\d+\.\d+", found["version"]["Version"])
    database = found.get("host", {}).get("databaseBackend", "")
    driver = found.get("store", {}).get("graphDriverName", "")
    return printable(" ".join(f"podman {version[0]} {database} {driver}".split()))[:_NAME] if version else ""


async def _read(path: Path, target: str, parse: Callable[[Any], _Result]) -> _Result:
    """Ask for a document, and parse it; None where there is none. Whoever answers may be hostile."""
    try:
        status, body = await ask(path, target)
        return parse(None if status == _NOT_FOUND else json.loads(body))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise OSError(f"no answer to {target} that can be read") from error

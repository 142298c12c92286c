"""What an image starts, from its configuration and the user database of its root. Pure.

Source: OCI Image Format Specification, "Image Configuration"; ``User`` as container engines resolve it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from haulout.guest.refusal import GuestRefusal, Rule

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT: Final = "/sbin/init"
"""What a root without configuration is expected to start."""
_LARGEST: Final = 0xFFFF_FFFE


@dataclass(frozen=True, slots=True)
class Command:
    """A program of the workload, and how it is started.

    Attributes:
        argv: the program first; a name without a slash is looked up in PATH.
        environment: all of it.
        folder: where it begins.
        uid, gid: whose it is.
        groups: further groups.
        home: of the user.
        ports: that the image says it serves, ``80/tcp``.
    """

    argv: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)
    folder: str = "/"
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    ports: tuple[str, ...] = ()


def command_of(config: bytes, passwd: str, group: str) -> Command:
    """Return what an image starts.

    Args:
        config: the whole image configuration.
        passwd: content of ``/etc/passwd`` of its root, or "".
        group: content of ``/etc/group`` of its root, or "".

    Raises:
        GuestRefusal: the configuration cannot be read, or names a user that is not there.
    """
    try:
        document = json.loads(config)
        inside = document.get("config") or {}
        argv = _words(inside, "Entrypoint") + _words(inside, "Cmd")
        pairs = [one.partition("=") for one in _words(inside, "Env")]
        environment = {"PATH": PATH} | {name: value for name, _, value in pairs}
        folder, user = _text(inside, "WorkingDir") or "/", _text(inside, "User")
        ports = tuple(sorted(inside.get("ExposedPorts") or {}))
    except (ValueError, AttributeError, TypeError, RecursionError) as exc:
        raise GuestRefusal(Rule.COMMAND, "the image's configuration cannot be read") from exc
    uid, gid, groups, home = _user(user, passwd, group)
    environment.setdefault("HOME", home)
    return Command(argv or (INIT,), environment, folder, uid, gid, groups, ports)


def _words(inside: dict[str, Any], name: str) -> tuple[str, ...]:
    found = inside.get(name) or []
    if not isinstance(found, list) or not all(isinstance(one, str) and "\0" not in one for one in found):
        raise TypeError(name)
    return tuple(found)


def _text(inside: dict[str, Any], name: str) -> str:
    found = inside.get(name) or ""
    if not isinstance(found, str):
        raise TypeError(name)
    return found


def _user(wanted: str, passwd: str, group: str) -> tuple[int, int, tuple[int, ...], str]:
    """Return uid, gid, further groups and home of ``user[:group]``, each a name or a number."""
    user, _, named = wanted.partition(":")
    user = user or "0"
    entries = [line.split(":") for line in passwd.splitlines()]
    entry = next((one for one in entries if len(one) >= 6 and user in {one[0], one[2]}), None)
    uid = _number(entry[2] if entry else user, f"user {user[:40]!r}")
    home = (entry[5] if entry else "") or "/"
    groups = [line.split(":") for line in group.splitlines()]
    if named:
        found = next((one[2] for one in groups if len(one) >= 3 and named in {one[0], one[2]}), named)
        return uid, _number(found, f"group {named[:40]!r}"), (), home
    gid = _number(entry[3], "group") if entry else 0
    name = entry[0] if entry else ""
    also = [one[2] for one in groups if len(one) >= 4 and name and name in one[3].split(",")]
    return uid, gid, tuple(_number(one, "group") for one in also), home


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > _LARGEST:
        raise GuestRefusal(Rule.COMMAND, f"the image wants the {what}, which its root does not have")
    return int(text)

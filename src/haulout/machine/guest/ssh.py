"""OpenSSH's client, by a configuration file for each running machine: ``ssh -F …/ssh_config NAME`` works anywhere."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Final

from haulout.errors import ToolError
from haulout.local import BESIDE, install_hint, replace_file, run, scratch_folder, storage_errors
from haulout.machine.guest.seed import USER

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.machine.store import Place

KNOWN: Final = "known_hosts"
LEARNED: Final = "known_hosts.new"
HINT: Final = install_hint("openssh-client", "openssh")
_KEYGEN_SECONDS: Final = 30.0


def make_key(place: Place) -> None:
    """Make the machine's own key, which opens no other.

    Raises:
        ToolError: ssh-keygen is missing or failed.
        StorageError: the key cannot be written.
    """
    with storage_errors(place.folder, doing="cannot be written"), scratch_folder(place.folder, BESIDE) as scratch:
        made = scratch / "key"
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"haulout-{place.name}", "-f", str(made)]
        done = run(argv, seconds=_KEYGEN_SECONDS, hint=HINT)
        if done.code:
            raise ToolError("ssh-keygen", done.said or f"failed with exit code {done.code}")
        for name in ("key.pub", "key"):
            replace_file(place.file(name), (scratch / name).read_bytes(), mode=0o600)


def config(place: Place, port: int) -> str:
    """Return the configuration. Pure.

    The host key is learned at the first connection and demanded ever after: it is on the data disk, so that it stays
    when the system is replaced. It is learned into the first file, and kept in the second once the guest has kept it.
    """
    lines = {
        "HostName": "127.0.0.1",
        "Port": str(port),
        "User": USER,
        "IdentityFile": _quoted(place.file("key")),
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": f"{_quoted(place.file(LEARNED))} {_quoted(place.file(KNOWN))}",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": place.name,
        "StrictHostKeyChecking": "accept-new",
        "UpdateHostKeys": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "ForwardAgent": "no",
        # Nothing leaves this host that could be read later; guests without acceleration are slow at the usual one.
        "KexAlgorithms": "^curve25519-sha256",
        "LogLevel": "ERROR",
        # A guest that the host's sleep stopped for a while is not lost.
        "ServerAliveInterval": "30",
        "ServerAliveCountMax": "10",
        "ConnectTimeout": "30",
        "StreamLocalBindUnlink": "yes",
        "StreamLocalBindMask": "0177",
        "ControlPath": _quoted(place.runtime / "ssh-%r", keep_percent=True),
    }
    return f"Host {place.name}\n" + "".join(f"  {key} {value}\n" for key, value in lines.items())


def _quoted(path: Path, *, keep_percent: bool = False) -> str:
    text = os.fspath(path)
    return f'"{text}"' if keep_percent else f'"{text.replace("%", "%%")}"'


def client(place: Place, user: str = USER, *options: str) -> list[str]:
    """Return the beginning of a command line that runs something in the guest, whatever the next word begins with."""
    return ["ssh", "-F", str(place.ssh_config), "-l", user, *options, "--", place.name]


def command_line(words: tuple[str, ...]) -> list[str]:
    """Return a command as ssh takes it: one text that the guest's shell splits into the same words again."""
    return [shlex.join(words)] if words else []

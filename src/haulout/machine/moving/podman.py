"""Machines of podman 5 and 6: what their files say (podman's pkg/machine/vmconfigs), and how ssh reaches them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.local import parse_json
from haulout.machine.guest.seed import USER
from haulout.machine.model import LEAST_MEMORY, MOST_CPUS, MOST_DATA, MOST_MEMORY, Mount, Resources

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.local import Wrong

PODMAN_PROVIDERS: Final = ("qemu", "applehv", "libkrun")
"""Folders of ``~/.config/containers/podman/machine`` that hold their files."""
_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
VOLUME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")


@dataclass(frozen=True, slots=True)
class PodmanMachine:
    """What is taken over of a machine of podman's."""

    name: str
    resources: Resources
    mounts: tuple[Mount, ...]
    port: int
    """Of ssh, on the loopback address, while it runs."""
    identity: str
    """Path of its private key."""
    user: str
    """Whose containers are rootless; root's are rootful."""
    image: str
    """Path of its disk."""

    def ssh(self, user: str, words: Sequence[str]) -> list[str]:
        """Return the command line that runs a command in it."""
        options = {
            # Another machine may have had the port before; podman does not check the key either.
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": "10",
            "ServerAliveInterval": "30",
            "LogLevel": "ERROR",
        }
        flags = [flag for key, value in options.items() for flag in ("-o", f"{key}={value}")]
        return ["ssh", "-F", "none", *flags, "-i", self.identity, "-p", str(self.port), f"{user}@127.0.0.1", *words]

    @property
    def users(self) -> tuple[tuple[str, str], ...]:
        """Users of it, each with the one of our machines that stands for it."""
        return (self.user, USER), ("root", "root")


def parse_podman(text: bytes, wrong: Wrong) -> PodmanMachine:
    """Read the file of a machine of podman 5 or 6; what is not needed is passed over.

    Raises:
        InvalidFile: made by ``wrong``: it is damaged, or of podman 4.
    """
    table = parse_json(text, wrong)
    if not table.number("Version", 0, 1 << 30):
        raise table.wrong(
            "Version", "is missing: podman 4 made it", hint="podman 5 does not start it either: make a new one"
        )
    resources, ssh = table.table("Resources"), table.table("SSH")
    user = ssh.text("RemoteUsername", "core")
    if not _USER.fullmatch(user):
        raise ssh.wrong("RemoteUsername", "expected the name of a user")
    return PodmanMachine(
        table.text("Name"),
        Resources(
            resources.number("CPUs", None, MOST_CPUS, 1),
            resources.number("Memory", None, MOST_MEMORY, LEAST_MEMORY),
            resources.number("DiskSize", None, MOST_DATA, 1),
        ),
        tuple(
            Mount(each.line("Source"), each.line("Target"), each.flag("ReadOnly", default=False))
            for each in table.tables("Mounts")
        ),
        ssh.number("Port", None, 65535, 1),
        ssh.line("IdentityPath"),
        user,
        table.table("ImagePath").line("Path", ""),
    )

"""What is done in a guest over ssh, as shell scripts for its root. Pure.

They run after each boot, and do nothing where it was done before: a guest that reboots by itself gets its mounts again.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from haulout.machine.guest.seed import BINDS, DATA_DEVICE, DATA_FOLDER, FORMAT, USER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.machine.model import Machine

CLOCK: Final = 'while read -r order; do [ -z "$order" ] || date -u -s "$order" >/dev/null; date +%s; done'
"""Prints the time for each line it gets, in seconds; a line that is not empty sets the clock first."""
TRIM: Final = "fstrim -a 2>/dev/null || fstrim /var/lib/data 2>/dev/null || true"


_DATA: Final = "\n".join(
    [
        # A guest that was told nothing of its data disk, as by credentials alone; and a disk that has grown.
        f"{FORMAT}; if [ -b {DATA_DEVICE} ]; then",
        f'mounted() {{ grep -q " $1 " /proc/mounts; }}; mounted {DATA_FOLDER} || {{ mkdir -p {DATA_FOLDER};',
        f"  mount -o discard {DATA_DEVICE} {DATA_FOLDER}; }}; resize2fs {DATA_DEVICE}",
        *(
            f"mounted {place} || {{ mkdir -p {DATA_FOLDER}/{name} {place}; chown {name}: {DATA_FOLDER}/{name};"
            f" mount -o bind {DATA_FOLDER}/{name} {place}; }}"
            for name, place in BINDS
        ),
        f"chown {USER}: /home/{USER}/.local /home/{USER}/.local/share; fi >/dev/null 2>&1",
    ]
)


def tag(number: int) -> str:
    """Return the name of a mount between host and guest."""
    return f"mount{number}"


def setup(machine: Machine, additions: str = "") -> str:
    """Return the script that makes a guest what the machine file says; it prints the names of the sockets there are.

    Args:
        machine: its file.
        additions: scripts that set ``changed`` where they changed what podman's services have read.
    """
    lines = ["set -u; changed=", _DATA]
    for number, mount in enumerate(machine.mounts):
        target = shlex.quote(mount.target)
        options = "-o ro " if mount.read_only else ""
        mounting = f"{{ mkdir -p {target}; mount -t virtiofs {options}{tag(number)} {target}; }}"
        lines.append(f"grep -q '^{tag(number)} ' /proc/mounts || {mounting}")
    lines.append(additions)
    there = " && ".join(['[ -z "$changed" ]', *(f"[ -S {shlex.quote(each.guest)} ]" for each in machine.sockets)])
    lines += [
        # An image that was not made for this has podman, but nobody listens, or not after the user's last session.
        f"{{ {there} && [ -e /var/lib/systemd/linger/{USER} ]; }} ||",
        "if command -v podman >/dev/null && command -v systemctl >/dev/null; then",
        f"  loginctl enable-linger {USER}; systemctl start podman.socket;",
        '  [ -z "$changed" ] || { systemctl daemon-reload; systemctl try-restart podman.service; }',
        f'  [ -z "$changed" ] || {{ systemctl --user -M {USER}@ daemon-reload;',
        f"    systemctl --user -M {USER}@ try-restart podman.service; }}",
        f"  systemctl --user -M {USER}@ start podman.socket;",
        "fi >/dev/null 2>&1",
        "command -v podman >/dev/null && echo has-podman",
    ]
    return "\n".join([*lines, "sync && echo synced", sockets(machine), "exit 0", ""])


def state(machine: Machine) -> str:
    """Return a script that prints ``mounted`` for each mount there is, and ``booted`` once the guest has booted."""
    lines = [f"grep -q '^{tag(number)} ' /proc/mounts && echo mounted" for number in range(len(machine.mounts))]
    # Units that failed are no worse than before: what has to work is looked at.
    return "\n".join([*lines, "[ ! -d /run/systemd/system ] || systemctl is-system-running --wait >/dev/null 2>&1",
                      "echo booted", ""])  # fmt: skip


def sockets(machine: Machine, names: Sequence[str] | None = None) -> str:
    """Return a script that prints the names of the sockets there are."""
    wanted = (socket for socket in machine.sockets if names is None or socket.name in names)
    return "\n".join(f"[ -S {shlex.quote(socket.guest)} ] && echo {socket.name}" for socket in wanted)

"""What must fail at the next start is refused where it is asked for, and before a machine that runs is stopped."""

from __future__ import annotations

import os
import socket
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from haulout.errors import HauloutError, StorageError, UsageError
from haulout.machine.model import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from haulout.machine.model import Forward, Machine
    from haulout.machine.store import Machines


def check_settings(machine: Machine) -> None:
    """Check that a machine's mounts and ports can be had at all.

    Raises:
        UsageError: two mounts have one target, or a port of the host leads to two of the guest.
        StorageError: there is nothing to mount.
    """
    if target := _twice(os.path.normpath(each.target) for each in machine.mounts):
        raise UsageError(f"two mounts have the target {target}", hint="give each its own: SOURCE:TARGET")
    if port := _twice(_port(each) for each in machine.forwards):
        raise UsageError(f"port {port} of this host is named twice", hint="forward it once, or as tcp and as udp")
    for mount in machine.mounts:
        if not os.path.isdir(mount.source):  # noqa: PTH112 - as it stands in the machine file
            raise StorageError(
                mount.source, "is a mount of the machine, but not a directory on this host",
                hint="make it, or name the mounts the machine is to have, or none: "
                f"haulout machine set {machine.name} --mount …",
            )  # fmt: skip


def _twice(names: Iterable[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _port(forward: Forward) -> str:
    return f"{forward.host} ({forward.protocol})"


def check_ports(machine: Machine, wanted: Iterable[Forward], machines: Machines) -> Iterator[str]:
    """Look whether ports of the host are free; yield what may hinder a start, unless it ends before.

    Raises:
        UsageError: this user may not listen at one.
    """
    owners: dict[str, str] = {}
    for place in machines.all():
        with suppress(HauloutError):
            owners |= {_port(each): place.name for each in place.load().forwards if place.name != machine.name}
    for each in wanted:
        if owner := owners.get(_port(each)):
            yield f"port {_port(each)} is one of machine {owner}, too: only one of the two can run at a time"
            continue
        kind = socket.SOCK_STREAM if each.protocol is Protocol.TCP else socket.SOCK_DGRAM
        with socket.socket(socket.AF_INET, kind) as probe:
            # As QEMU does: what was closed a moment ago is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
            try:
                probe.bind(("127.0.0.1", each.host))
            except PermissionError:
                raise UsageError(f"port {_port(each)} of this host needs root", hint="choose one above 1023") from None
            except OSError:
                yield f"port {_port(each)} of this host is taken: {machine.name} does not start until it is free"

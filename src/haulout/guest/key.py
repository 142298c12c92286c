"""The key on a socket, for systemd-cryptsetup in any distribution's initrd: ``python3 -m haulout.guest.key DIR``.

Source: crypttab(5), "AF_UNIX key files": systemd-cryptsetup connects to a socket that crypttab names as the key file,
and reads the key from it until its end. It binds its own side to an abstract name that ends in ``/cryptsetup/VOLUME``.
With ``Accept=yes``, systemd starts one of these for each connection, which is its standard input.

For each volume, DIR holds ``VOLUME.launch``, a launch document (docs/formats/launch.md), and ``VOLUME.disk``, a link to
the encrypted device.
"""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.errors import HauloutError
from haulout.guest.devices import find_device
from haulout.guest.disk import checked_header
from haulout.guest.init import read_launch
from haulout.guest.refusal import GuestRefusal, Rule
from haulout.guest.session import fetch_passphrase, require_own_binding

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.guest.devices import Device

_PEER: Final = re.compile(rb"\0[0-9a-f]+/cryptsetup/([A-Za-z0-9_][A-Za-z0-9_.@:-]{0,127})")


def volume_of(peer: bytes | str) -> str:
    """Return the volume that an address of systemd-cryptsetup names.

    Raises:
        GuestRefusal: it is none.
    """
    found = _PEER.fullmatch(peer) if isinstance(peer, bytes) else None
    if found is None:
        raise GuestRefusal(Rule.LAUNCH, "whoever asks is not systemd-cryptsetup: its address names no volume")
    return found[1].decode()


def answer(
    connection: socket.socket, folder: Path, say: Callable[[str], None], find: Callable[[], Device] = find_device
) -> None:
    """Attest for the volume that is asked for, and write its key.

    Raises:
        GuestRefusal: the key is not released; nothing is written.
    """
    volume = volume_of(connection.getpeername())
    launch = read_launch(folder / f"{volume}.launch")
    device = find()
    require_own_binding(device, launch.binding)
    checked_header(folder / f"{volume}.disk", launch.binding)
    connection.sendall(fetch_passphrase(launch, device, say))


def main(folder: Path) -> int:
    """Serve the connection that is standard input; the journal gets standard error."""

    def say(text: str) -> None:
        sys.stderr.write(f"haulout: {text}\n")

    with socket.socket(fileno=sys.stdin.fileno()) as connection:
        try:
            answer(connection, folder, say)
        except HauloutError as exc:
            say(str(exc))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""Base images that are not whole yet: what is known of one, and the process that serves it meanwhile.

Who fetches them is no business of this room: it knows the files beside a base, and a program that serves the base on a
UNIX socket as a network block device (:mod:`haulout.lazy`). Beside ``sha256-…`` are ``sha256-….lazy``, the note that is
read here, ``.toc``, ``.trace`` if there is one, and the hidden file with what is here; all but the base go with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from base64 import urlsafe_b64encode
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from haulout.documents import Document
from haulout.errors import ToolError
from haulout.local import Peer, begin, hold, printable, replace_file, storage_errors
from haulout.machine.store import tail

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.machine.model import Machine
    from haulout.machine.store import Place

USES: Final = "disk-uses"
"""File of a machine that writes down there which blocks of its base are read; while it is there."""
_LONGEST: Final = 1 << 16
_LONGEST_REASON: Final = 1000
_START_SECONDS: Final = 30.0
_HANG_SECONDS: Final = 120.0
"""That a server has which lives, but does not listen."""
_KILL_SECONDS: Final = 5.0
_POLL: Final = 0.02
_AGAIN_SECONDS: Final = 0.5
KEPT_SECONDS: Final = 7 * 86400.0
"""That what was fetched is kept after its last use by a machine that is gone."""


@dataclass(frozen=True, slots=True)
class PartialBase(Document):
    """What is known of a disk whose bytes are still coming."""

    reference: str
    """The disk, by digest; a layout by its absolute path."""
    blob: str
    blob_size: int
    media_type: str
    toc: str
    """Digest of the table of contents beside it."""
    format: str
    """Of the disk: ``qcow2`` or ``raw``."""
    data_bytes: int
    """Plain bytes that are fetched in all."""
    virtual_size: int
    """Bytes that the guest sees."""
    efi: bool
    """Whether it has an EFI system partition."""
    plain_http: bool = False
    insecure: bool = False
    ca_file: str | None = None
    allowed_hosts: tuple[str, ...] = ()


def note_of_partial(base: Path) -> Path:
    """Return the path of the note about a base that is fetched while machines run from it."""
    return base.with_name(f"{base.name}.lazy")


def write_partial(base: Path, known: PartialBase) -> None:
    """Write the note.

    Raises:
        StorageError: it cannot be written.
    """
    path = note_of_partial(base)
    with storage_errors(path, doing="cannot be written"):
        replace_file(path, json.dumps(known.to_dict()).encode(), mode=0o600)


def partial_base(base: Path) -> PartialBase | None:
    """Return what is known of a base that is not whole yet; None where it is, or where nothing of it is here."""
    if base.exists():
        return None
    with suppress(OSError, ValueError, TypeError, KeyError):
        return _parsed(base)
    return None


def _parsed(base: Path) -> PartialBase:
    found: dict[str, Any] = json.loads(note_of_partial(base).read_bytes()[:_LONGEST])
    return PartialBase(**{**found, "allowed_hosts": tuple(found["allowed_hosts"])})


def bytes_here(base: Path, known: PartialBase) -> int:
    """Return how many of its :attr:`~PartialBase.data_bytes` are here, about."""
    found = 0
    for each in base.parent.glob(f".{base.name}.*.partial"):
        with suppress(OSError):
            found += each.stat().st_blocks * 512
    return min(found, known.data_bytes)


def is_written(base: Path) -> bool:
    """Return whether a process is fetching a base image at this moment."""
    for each in base.parent.glob(f".{base.name}.*.partial"):
        with suppress(OSError), each.open("rb") as file:
            if not hold(file.fileno(), shared=True):
                return True
    return False


def base_name(path: Path) -> str:
    """Return the name of the base image that a file in the folder of bases belongs to."""
    return path.name.lstrip(".").partition(".")[0]


def is_kept(path: Path, now: float) -> bool:
    """Return whether a file belongs to a base that a machine ran from, not long ago, while it was fetched."""
    try:
        return now - note_of_partial(path.with_name(base_name(path))).stat().st_mtime < KEPT_SECONDS
    except OSError:
        return False


def disk_waits_for(place: Place, machine: Machine) -> str:
    """Return what reads of a machine that runs wait for, as its base is not whole yet; "": none waits for long."""
    if (socket := served_at(place, machine)) is None:
        return ""
    with suppress(OSError):
        return printable(socket.with_suffix(".waits").read_bytes()[:_LONGEST_REASON].decode("utf-8", "replace"))
    return ""


def served_at(place: Place, machine: Machine) -> Path | None:
    """Return the socket at which a start of a machine finds its base served; None where that is a file to open.

    One server serves a base to all machines of this user. Only a machine that records what it reads has its own.
    """
    if place.file(USES).exists():
        return place.socket("base")
    return None if partial_base(place.base(machine)) is None else _shared_socket(place, machine)


def _shared_socket(place: Place, machine: Machine) -> Path:
    # Whoever listens is believed, so no other image may have this name; a socket's path has no room for all digits.
    digest = urlsafe_b64encode(bytes.fromhex(machine.image.digest.rpartition(":")[2]))[:22].decode()
    return place.runtime.parent / ".images" / f"{digest}.sock"


class Served:
    """A base that is served to one machine, for as long as that runs; a server that was killed is started again.

    Args:
        place: of the machine.
        machine: whose base it is.
    """

    def __init__(self, place: Place, machine: Machine) -> None:
        self._socket = served_at(place, machine) or _shared_socket(place, machine)
        uses, base = place.file(USES), place.base(machine)
        recording = ["--record", os.fspath(uses)] if uses.exists() else []
        # The server may outlive the machine, and others use it, too.
        self._log = place.file("disk-server.log") if recording else base.with_name(f"{base.name}.log")
        what = [*recording, os.fspath(base), os.fspath(self._socket)]
        self._argv = [sys.executable, "-P", "-m", "haulout.lazy", *what]
        self._settled = False
        self._peer: Peer | None = None

    async def begin(self) -> None:
        """Have it served.

        Raises:
            ToolError: its server cannot be started.
            StorageError: files cannot be written.
        """
        with storage_errors(self._socket.parent, doing="cannot be made"):
            self._socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        began = time.monotonic()
        peer: Peer | None = None
        process: asyncio.subprocess.Process | None = None
        try:
            while (peer := await asyncio.to_thread(Peer.of, self._socket)) is None:
                if process is None or process.returncode is not None:
                    if process is not None and time.monotonic() > began + _START_SECONDS:
                        said = [line for line in tail(self._log, 4096).splitlines() if line.strip()]
                        raise ToolError("the server of the disk", printable(said[-1]) if said else "ended at once")
                    with storage_errors(self._log, doing="cannot be written"), self._log.open("ab") as output:
                        process = await begin([*self._argv, *["--settled"] * self._settled], output=output)
                elif time.monotonic() > began + _HANG_SECONDS:
                    raise ToolError("the server of the disk", f"does not listen after {_HANG_SECONDS:.0f} seconds")
                await asyncio.sleep(_POLL if process.returncode is None else _AGAIN_SECONDS)
        finally:
            if peer is None and process is not None and process.returncode is None:
                process.kill()
                with suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), _KILL_SECONDS)
        self._peer = peer
        if self._settled:
            # It may be one that another machine started.
            peer.signal(signal.SIGUSR1)

    async def keep(self) -> None:
        """Start it again whenever it ends, until this is cancelled."""
        while True:
            try:
                if self._peer is None:
                    await self.begin()
                if self._peer is not None:
                    await self._peer.ended()
            except Exception:  # noqa: BLE001 - whatever it was, the guest waits, and the log says it
                await asyncio.sleep(_AGAIN_SECONDS)
            finally:
                if self._peer is not None:
                    self._peer.close()
                self._peer = None

    def settle(self) -> None:
        """Tell it that the machine has booted: the rest may be fetched now. Never fails."""
        self._settled = True
        if self._peer is not None:
            self._peer.signal(signal.SIGUSR1)

"""Container disks: a disk that is a file under ``/disk/`` in a layer of an ordinary image (KubeVirt, crun-vm).

The tar stream is only read, member by member; nothing is ever extracted by name.
"""

from __future__ import annotations

import tarfile
from typing import IO, TYPE_CHECKING, Final, cast

from haulout.errors import InvalidFrame

if TYPE_CHECKING:
    from collections.abc import Iterator

_STEP: Final = 1 << 20
_MAX_MEMBERS: Final = 200_000


class NoDiskInLayer(Exception):  # noqa: N818 - it names a finding, and never leaves this room
    """A layer without a file under ``/disk/``; the next one may have it."""


def disk_in_tar(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the bytes of the first regular file under ``disk/`` of a tar stream.

    Raises:
        NoDiskInLayer: there is none.
        InvalidFrame: it is no tar archive, or a damaged one.
    """
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", _Pieces(pieces)), mode="r|") as archive:
            for number, member in enumerate(archive):
                if number > _MAX_MEMBERS:
                    break
                name = member.name.lstrip("./")
                if not member.isreg() or not name.startswith("disk/") or name.count("/") != 1 or not member.size:
                    continue
                content = archive.extractfile(member)
                if content is None:
                    continue
                while piece := content.read(_STEP):
                    yield piece
                return
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as exc:
        raise InvalidFrame(f"the layer is not a readable tar archive: {exc}") from exc
    raise NoDiskInLayer


class _Pieces:
    """An iterator of pieces as the file that ``tarfile`` reads."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._ahead = b""

    def read(self, amount: int) -> bytes:
        out = []
        while amount:
            if not self._ahead:
                self._ahead = next(self._pieces, b"")
                if not self._ahead:
                    break
            out.append(self._ahead[:amount])
            self._ahead = self._ahead[amount:]
            amount -= len(out[-1])
        return b"".join(out)

"""The encrypted disk: its header against the binding, then dm-crypt, dm-verity and ext4 over it, all read-only.

Nothing that the disk says of itself is used: the header is a copy that was compared with the binding, and all that
dm-verity needs is in the binding. Source: cryptsetup-open(8), veritysetup(8).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from haulout.errors import HauloutError
from haulout.guest.refusal import GuestRefusal, Rule
from haulout.local import run
from haulout.workload.luks import read_header
from haulout.workload.verity import BLOCK

if TYPE_CHECKING:
    from haulout.local import Finished
    from haulout.workload.binding import Binding

SECONDS: Final = 240.0
"""For one program; trying a passphrase takes many times longer where the processor is emulated."""
_MAPPED: Final = Path("/dev/mapper")
_CRYPT: Final = "haulout-plain"
_VERITY: Final = "haulout-root"
_WRONG_PASSPHRASE: Final = 2
"""Exit code of cryptsetup."""
_ENVIRONMENT: Final = {"DM_DISABLE_UDEV": "1", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def checked_header(disk: Path, binding: Binding) -> bytes:
    """Read the header of a disk once, and return it if it is the one of the binding.

    Raises:
        GuestRefusal: it is another, breaks a rule of docs/formats/luks.md, or cannot be read.
    """
    try:
        with disk.open("rb") as file:
            header = read_header(cast("BinaryIO", file))
    except HauloutError as exc:
        raise GuestRefusal(Rule.LUKS_HEADER, str(exc)) from exc
    except OSError as exc:
        raise GuestRefusal(Rule.LUKS_HEADER, f"the disk {disk} cannot be read: {exc.strerror}") from exc
    if header.digest != binding.luks_header:
        raise GuestRefusal(
            Rule.LUKS_HEADER,
            f"the header of the disk is {header.digest.short}, but the binding names {binding.luks_header.short}",
            hint="the disk was modified, replaced or rolled back",
        )
    return header.raw


def unlock(disk: Path, header: bytes, passphrase: bytes, binding: Binding, scratch: Path) -> Path:
    """Map the disk, and return the device of its verified file system.

    Args:
        disk: the encrypted device.
        header: what :func:`checked_header` returned. The host may change the disk's own at any time.
        passphrase: goes through a pipe.
        binding: says what dm-verity has to find.
        scratch: a folder in memory.

    Raises:
        GuestRefusal: the passphrase is wrong, or the disk does not match the binding.
    """
    copy = scratch / "header"
    copy.write_bytes(header)
    crypt = ("cryptsetup", "open", "--type", "luks1", "--readonly", "--key-file", "-", "--header", os.fspath(copy))
    done = run([*crypt, os.fspath(disk), _CRYPT], seconds=SECONDS, stdin=passphrase, environment=_ENVIRONMENT)
    if done.code == _WRONG_PASSPHRASE:
        raise GuestRefusal(Rule.PASSPHRASE, "what the broker released does not open the disk")
    _require(done, Rule.PASSPHRASE)
    plain = os.fspath(_MAPPED / _CRYPT)
    verity = [
        *(
            "veritysetup",
            "open",
            "--no-superblock",
            "--format=1",
            "--hash=sha256",
            f"--salt={binding.salt.hex() or '-'}",
        ),
        *(f"--data-block-size={BLOCK}", f"--hash-block-size={BLOCK}"),
        # The block at the hash offset is the superblock, which nobody vouches for.
        *(f"--data-blocks={binding.hash_offset // BLOCK}", f"--hash-offset={binding.hash_offset + BLOCK}"),
        # A damaged block must stop the machine rather than become an error that the workload may misread.
        "--panic-on-corruption",
        *(plain, _VERITY, plain, binding.root.hex()),
    ]
    _require(run(verity, seconds=SECONDS, environment=_ENVIRONMENT), Rule.VERITY)
    return _MAPPED / _VERITY


def _require(done: Finished, rule: Rule) -> None:
    if done.code:
        raise GuestRefusal(rule, f"{done.argv[0]} failed with exit code {done.code}: {done.said or 'no message'}")

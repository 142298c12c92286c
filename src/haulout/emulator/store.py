"""An emulated platform on disk: the same keys next time.

The one file with private keys is readable by its owner only. They protect nothing, but they are enough to make evidence
that the test policies beside them accept.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from haulout.emulator.authorities import Authority, private_pem
from haulout.emulator.cca import CcaEmulator
from haulout.emulator.snp import SnpEmulator
from haulout.emulator.tdx import TdxEmulator
from haulout.errors import ContentError, NotFoundError
from haulout.local import read_small, replace_file, storage_errors
from haulout.tee.snp import Tcb

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from haulout.emulator.bundle import Platform

PLATFORMS: Final[dict[str, type[Platform]]] = {one.kind: one for one in (SnpEmulator, TdxEmulator, CcaEmulator)}
"""The table of platforms that can be emulated, under the names that :mod:`haulout.tee` gives to their kinds."""

SCHEMA: Final = 1
STATE: Final = "emulator.json"
_LARGEST: Final = 1 << 20


def open_or_make(folder: Path, kind: str, at: datetime) -> Platform:
    """Read the platform kept in a folder, or make one and keep it there.

    Args:
        folder: created if it does not exist.
        kind: name of the kind of TEE, a key of :data:`PLATFORMS`.
        at: the time; certificates of a new platform are valid from then on, for ten years.

    Raises:
        ContentError: the folder keeps another platform, or a damaged one.
        StorageError: the file system refuses.
    """
    path = folder / STATE
    try:
        found = load(read_small(path, _LARGEST))
    except NotFoundError:
        made = PLATFORMS[kind].make(at)
        keep(folder, STATE, dump(made), private=True)
        return made
    if found.kind != kind:
        raise ContentError(f"{path} keeps an emulator of {found.kind}", hint="use another folder for another platform")
    return found


def keep(folder: Path, name: str, data: bytes, *, private: bool = False) -> None:
    """Write a file into a folder, whole or not at all.

    Raises:
        StorageError: the file system refuses.
    """
    with storage_errors(folder / name):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / name, data, mode=0o600 if private else 0o644)


def dump(platform: Platform) -> bytes:
    """Write a platform with its private keys."""
    found: dict[str, Any] = {"schema": SCHEMA, "kind": platform.kind}
    for name in platform.__dataclass_fields__:
        value = getattr(platform, name)
        match value:
            case Authority():
                found[name] = {"key": private_pem(value.key).decode(), "certificate": value.pem().decode()}
            case ec.EllipticCurvePrivateKey():
                found[name] = {"key": private_pem(value).decode()}
            case bytes():
                found[name] = value.hex()
            case Tcb():
                found[name] = value.parts
            case _:
                found[name] = str(value)
    return json.dumps(found, indent=1).encode() + b"\n"


def load(data: bytes) -> Platform:
    """Read what :func:`dump` wrote.

    Raises:
        ContentError: it is anything else.
    """
    try:
        values = json.loads(data)
        if values["schema"] != SCHEMA:
            raise ContentError(f"{STATE} has the schema {str(values['schema'])[:20]!r}; this haulout knows {SCHEMA}")
        return PLATFORMS[values["kind"]].load(values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ContentError(f"{STATE} does not hold an emulator", hint="remove it to have a new one made") from exc

"""An emulated platform on disk: the same keys tomorrow, and the files that a verifier needs.

The one file with private keys is readable by its owner alone. They protect nothing, but whoever has them can make
evidence that the test policies beside them accept.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from haulout.emulator.authorities import Authority, private_pem
from haulout.emulator.cca import CcaEmulator
from haulout.emulator.snp import SnpEmulator
from haulout.emulator.tdx import TdxEmulator
from haulout.errors import ContentError, StorageError
from haulout.tee import Kind, Product, Tcb

if TYPE_CHECKING:
    from datetime import datetime

Emulator: TypeAlias = SnpEmulator | TdxEmulator | CcaEmulator

SCHEMA: Final = 1
STATE: Final = "emulator.json"
_LARGEST: Final = 1 << 20


def open_or_make(folder: Path, kind: Kind, at: datetime, *, product: Product = Product.GENOA) -> Emulator:
    """Read the platform kept in a folder, or make one and keep it there.

    Args:
        folder: it is created where it is not there.
        kind: which TEE.
        at: the time; certificates of a new platform are valid from then on, for ten years.
        product: for SEV-SNP, the line of processors.

    Raises:
        ContentError: the folder keeps another platform, or something that is none.
        StorageError: the file system refuses.
    """
    path = folder / STATE
    try:
        with path.open("rb") as stream:
            return _checked(load(stream.read(_LARGEST)), kind, product, path)
    except FileNotFoundError:
        pass
    except OSError as exc:
        raise StorageError(str(path), exc.strerror or "it cannot be read") from exc
    made = make(kind, at, product=product)
    keep(folder, STATE, dump(made), private=True)
    return made


def _checked(found: Emulator, kind: Kind, product: Product, path: Path) -> Emulator:
    own = kind_of(found)
    if own is not kind or (isinstance(found, SnpEmulator) and found.product is not product):
        raise ContentError(
            f"{path} keeps an emulator of {own}{f' ({found.product})' if isinstance(found, SnpEmulator) else ''}",
            hint="take another folder for another platform",
        )
    return found


def make(kind: Kind, at: datetime, *, product: Product = Product.GENOA) -> Emulator:
    """Make a platform."""
    match kind:
        case Kind.SNP:
            return SnpEmulator.make(product, at)
        case Kind.TDX:
            return TdxEmulator.make(at)
        case Kind.CCA:
            return CcaEmulator.make(at)


def kind_of(emulator: Emulator) -> Kind:
    """Tell which TEE a platform emulates."""
    match emulator:
        case SnpEmulator():
            return Kind.SNP
        case TdxEmulator():
            return Kind.TDX
        case CcaEmulator():
            return Kind.CCA


def root_of(emulator: Emulator) -> Authority:
    """Return the root of a platform's chain."""
    return emulator.ark if isinstance(emulator, SnpEmulator) else emulator.root


def keep(folder: Path, name: str, data: bytes, *, private: bool = False) -> None:
    """Write a file into a folder, whole or not at all.

    Raises:
        StorageError: the file system refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, fresh = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                os.fchmod(stream.fileno(), 0o600 if private else 0o644)
                stream.write(data)
            Path(fresh).replace(folder / name)
        except BaseException:
            Path(fresh).unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise StorageError(str(folder / name), exc.strerror or "it cannot be written") from exc


def dump(emulator: Emulator) -> bytes:
    """Write a platform with its private keys."""
    found: dict[str, Any] = {"schema": SCHEMA, "kind": str(kind_of(emulator))}
    for name in emulator.__dataclass_fields__:
        value = getattr(emulator, name)
        match value:
            case Authority():
                found[name] = {"key": private_pem(value.key).decode(), "certificate": value.pem().decode()}
            case ec.EllipticCurvePrivateKey():
                found[name] = {"key": private_pem(value).decode()}
            case bytes():
                found[name] = value.hex()
            case Tcb():
                found[name] = value.parts()
            case _:
                found[name] = str(value)
    return json.dumps(found, indent=1).encode() + b"\n"


def load(data: bytes) -> Emulator:
    """Read what :func:`dump` wrote.

    Raises:
        ContentError: it is anything else.
    """
    try:
        values = json.loads(data)
        if values["schema"] != SCHEMA:
            raise ContentError(f"{STATE} is of schema {str(values['schema'])[:20]!r}; this haulout knows {SCHEMA}")
        kind = Kind(values["kind"])
        if kind is Kind.SNP:
            parts = (_authority(values[name]) for name in ("ark", "ask", "asvk", "vcek", "vlek"))
            return SnpEmulator(
                Product(values["product"]), bytes.fromhex(values["chip_id"]), Tcb(**values["tcb"]), *parts
            )
        if kind is Kind.TDX:
            root, below, pck, signer = (_authority(values[name]) for name in ("root", "authority", "pck", "signer"))
            return TdxEmulator(root, below, pck, signer, _elliptic(values["attestation_key"]["key"]))
        return CcaEmulator(_authority(values["root"]), _authority(values["cpak"]), bytes.fromhex(values["instance"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ContentError(f"{STATE} does not keep an emulator", hint="remove it, and a new one is made") from exc


def _authority(values: dict[str, str]) -> Authority:
    key = serialization.load_pem_private_key(values["key"].encode(), None)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise TypeError("a key of another sort")
    return Authority(key, x509.load_pem_x509_certificate(values["certificate"].encode()))


def _elliptic(text: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(text.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("a key of another sort")
    return key

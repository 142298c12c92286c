"""The folder of a broker: its configuration, keys and, where no other database is named, its database.

======================  ===============================================================================
``broker.toml``         the URL at which it is reached, and the database
``keys``                key-encryption keys; a systemd credential ``haulout-broker-keys`` goes before it
``tls.pem, tls.key``    a certificate that it signed itself, unless another one is given
``broker.db``           the database, by default
======================  ===============================================================================
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

import tomlkit
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from haulout.broker.protocol import SigningKey
from haulout.broker.stores import FileKeyring, Store, add_key
from haulout.errors import NotFoundError, UsageError
from haulout.local import PRIVATE, read_toml, replace_file, storage_errors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

CREDENTIAL: Final = "haulout-broker-keys"
"""Name of the systemd credential (systemd.exec(5), LoadCredential=)."""
_YEARS: Final = 10
_LONGEST: Final = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """A broker's folder, as its configuration says.

    Attributes:
        url: at which guests and owners reach it; tokens name it as their issuer.
        database: URL of its database.
        keys: the file of key-encryption keys.
    """

    folder: Path
    url: str
    database: str
    keys: Path

    @property
    def certificate(self) -> Path:
        """The file of its own certificate."""
        return self.folder / "tls.pem"

    @property
    def key(self) -> Path:
        """The file of its certificate's private key."""
        return self.folder / "tls.key"

    @classmethod
    def open(cls, folder: Path, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the configuration.

        Raises:
            NotFoundError: the folder is not a broker's.
            InvalidFile: the configuration cannot be read.
        """
        config = folder / "broker.toml"
        if not config.is_file():
            raise NotFoundError(f"{folder} is not the folder of a broker", hint="make it with: haulout broker init")
        table = read_toml(config)
        url, database = table.text("url", longest=_LONGEST), table.text("database", longest=_LONGEST)
        table.end()
        credential = Path(environment.get("CREDENTIALS_DIRECTORY", "/nonexistent")) / CREDENTIAL
        return cls(folder, url, database, credential if credential.is_file() else folder / "keys")

    def store(self) -> Store:
        """Open the database.

        Raises:
            InvalidKeyring: the keys cannot be read.
            UsageError: the database is not given by a URL that is known.
        """
        return Store(self.database, FileKeyring(self.keys))


def make(folder: Path, url: str, database: str | None, at: datetime) -> Place:
    """Make a broker's folder and its tables. What is there stays; so it also brings the tables up to date.

    Args:
        folder: of the broker.
        url: at which it will be reached.
        database: URL of its database; None: a file in the folder.
        at: the time.

    Raises:
        UsageError: the URL is not one, or the folder is of a broker with another one.
        StorageError: the file system refuses.
        StoreError: the database refuses.
    """
    host = _host(url)
    with storage_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = folder.absolute()
    config = folder / "broker.toml"
    chosen = database or f"sqlite:///{folder / 'broker.db'}"
    if config.exists():
        there = Place.open(folder)
        if there.url != url or (database is not None and there.database != database):
            raise UsageError(
                f"{config} says otherwise about url or database", hint="change it there, or leave them out"
            )
    else:
        replace_file(config, tomlkit.dumps({"url": url, "database": chosen}).encode(), mode=PRIVATE)
    place = Place.open(folder)
    if not place.keys.exists():
        add_key(place.keys, f"kek-{at:%Y%m%d-%H%M%S}")
    if not place.certificate.exists():
        _certify(place, host, at)
    store = place.store()
    try:
        store.migrate()
        with store.write() as unit:
            if not unit.signing_keys.all():
                unit.signing_keys.add(SigningKey.generate(), at)
    finally:
        store.close()
    return place


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"} or parts.query or parts.fragment or url.endswith("/"):
        hint = "for example: https://broker.example.com:8443"
        raise UsageError(f"{url[:80]!r} is not the URL of a broker", hint=hint)
    return host


def _certify(place: Place, host: str, at: datetime) -> None:
    """Make a key, and a certificate that it signs itself. Guests pin the key, so the certificate may be renewed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(hours=1))
        .not_valid_after(at + timedelta(days=365 * _YEARS))
        .add_extension(x509.SubjectAlternativeName([_named(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    replace_file(place.key, private, mode=PRIVATE)
    replace_file(place.certificate, made.public_bytes(serialization.Encoding.PEM))


def _named(host: str) -> x509.GeneralName:

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)

"""Make a broker, or bring its tables up to date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from haulout.broker import make
from haulout.documents import Document

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class MadeBroker(Document):
    """A broker that is ready to serve.

    Attributes:
        folder: of the broker.
        url: at which it is reached.
        keys: the file of its key-encryption keys: back it up apart from the database.
        certificate: what guests and owners verify it by, unless it serves with another one.
        signing_key: RFC 7638 thumbprint of the key that signs its tokens.
    """

    folder: Path
    url: str
    keys: Path
    certificate: Path
    signing_key: str

    json_members: ClassVar = ("folder", "url", "keys", "certificate", "signing_key")


def broker_init(folder: Path, url: str, *, database: str | None = None) -> MadeBroker:
    """Make a broker's folder, keys and tables. What is there stays.

    Args:
        folder: of the broker.
        url: at which guests and owners will reach it.
        database: a URL of SQLite or PostgreSQL; None: SQLite in the folder.

    Raises:
        UsageError: a URL is not one, or another broker is there.
        StorageError: the file system refuses.
        HauloutError: the database refuses.
    """
    place = make(folder, url, database, datetime.now(UTC))
    store = place.store()
    try:
        with store.read() as unit:
            newest = unit.signing_keys.all()[0].kid
    finally:
        store.close()
    return MadeBroker(place.folder, place.url, place.keys, place.certificate, newest)

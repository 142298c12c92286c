"""What a broker remembers: tables in SQLite or PostgreSQL, keys sealed at rest.

A :class:`Store` is shared by all instances of a broker; none keeps anything of it in its process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.broker.stores.attestations import Proof
    from haulout.broker.stores.errors import InvalidBackup, InvalidKeyring, SealError, StoreError, Taken, Unknown
    from haulout.broker.stores.keyring import FileKeyring, Keyring, Wrapper, add_key, keep_keys
    from haulout.broker.stores.resources import Resource
    from haulout.broker.stores.store import Store, Unit
    from haulout.broker.stores.workloads import StoredPolicy, Workload

from haulout.extras import require

require("sqlalchemy", "alembic", "cryptography", extra="broker")

__all__ = [
    "FileKeyring",
    "InvalidBackup",
    "InvalidKeyring",
    "Keyring",
    "Proof",
    "Resource",
    "SealError",
    "Store",
    "StoreError",
    "StoredPolicy",
    "Taken",
    "Unit",
    "Unknown",
    "Workload",
    "Wrapper",
    "add_key",
    "keep_keys",
]

open_face(
    __name__,
    {
        "attestations": ("Proof",),
        "errors": ("InvalidBackup", "InvalidKeyring", "SealError", "StoreError", "Taken", "Unknown"),
        "keyring": ("FileKeyring", "Keyring", "Wrapper", "add_key", "keep_keys"),
        "resources": ("Resource",),
        "store": ("Store", "Unit"),
        "workloads": ("StoredPolicy", "Workload"),
    },
)

"""Keys that sign tokens: shared by all instances, so that any of them accepts the token of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from haulout.broker.protocol import SigningKey
from haulout.broker.stores.keyring import Sealed, rewrap, seal, unseal
from haulout.broker.stores.tables import signing_keys
from haulout.broker.stores.times import to_stored

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from haulout.broker.stores.keyring import Wrapper


class SigningKeys:
    """The table of signing keys, in one transaction."""

    def __init__(self, connection: Connection, wrapper: Wrapper) -> None:
        self._connection = connection
        self._wrapper = wrapper

    def add(self, key: SigningKey, at: datetime) -> None:
        """Keep a key, which signs from now on; those before it still verify."""
        sealed = seal(self._wrapper, key.to_pem(), _context(key.kid))
        values = {"kid": key.kid, "kek": sealed.kek, "wrapped": sealed.wrapped, "sealed": sealed.data}
        self._connection.execute(insert(signing_keys).values(**values, created=to_stored(at)))

    def all(self) -> list[SigningKey]:
        """Return all keys, the newest first.

        Raises:
            SealError: the key-encryption key is not at hand, or one was changed.
        """
        wanted = select(signing_keys).order_by(signing_keys.c.created.desc(), signing_keys.c.kid)
        return [
            SigningKey.from_pem(unseal(self._wrapper, Sealed(row.kek, row.wrapped, row.sealed), _context(row.kid)))
            for row in self._connection.execute(wanted)
        ]

    def remove_all_but(self, *kids: str) -> int:
        """Remove all other keys; return how many there were."""
        return self._connection.execute(delete(signing_keys).where(signing_keys.c.kid.not_in(kids))).rowcount

    def keks(self) -> set[str]:
        """Return the ids of the keys that anything is wrapped by."""
        return set(self._connection.execute(select(signing_keys.c.kek).distinct()).scalars())

    def rewrap(self) -> int:
        """Wrap everything anew that another than the current key wraps; as :meth:`Resources.rewrap`."""
        stale = select(signing_keys).where(signing_keys.c.kek != self._wrapper.current)
        found = self._connection.execute(stale).all()
        for row in found:
            sealed = rewrap(self._wrapper, Sealed(row.kek, row.wrapped, row.sealed), _context(row.kid))
            values = {"kek": sealed.kek, "wrapped": sealed.wrapped}
            self._connection.execute(update(signing_keys).where(signing_keys.c.kid == row.kid).values(**values))
        return len(found)


def _context(kid: str) -> str:
    return f"signing key {kid}"

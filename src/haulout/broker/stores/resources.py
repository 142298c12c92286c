"""Resources: what guests ask for by ``repository/type/tag``. Sealed at rest; opened only for a release."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from haulout.broker.protocol import ResourcePath
from haulout.broker.stores.errors import Taken
from haulout.broker.stores.keyring import Sealed, rewrap, seal, unseal
from haulout.broker.stores.tables import resources
from haulout.broker.stores.times import from_stored, to_stored

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from haulout.broker.stores.keyring import Wrapper


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource, not its content.

    Attributes:
        workload: whose policy it is released by.
        kek: the key-encryption key that it is sealed by.
    """

    path: ResourcePath
    workload: str
    kek: str
    created: datetime
    _sealed: Sealed = field(repr=False)


class Resources:
    """The table of resources, in one transaction."""

    def __init__(self, connection: Connection, wrapper: Wrapper) -> None:
        self._connection = connection
        self._wrapper = wrapper

    def put(self, path: ResourcePath, workload: str, content: bytes, at: datetime) -> bool:
        """Keep a resource, in the place of one of the same workload; return whether it is new.

        Raises:
            Taken: another workload has a resource of this name.
        """
        before = self.find(path)
        if before is not None and before.workload != workload:
            raise Taken("resource")
        sealed = seal(self._wrapper, content, _context(path, workload))
        values = {"kek": sealed.kek, "wrapped": sealed.wrapped, "sealed": sealed.data, "created": to_stored(at)}
        if before is None:
            self._connection.execute(insert(resources).values(path=str(path), workload=workload, **values))
        else:
            self._connection.execute(update(resources).where(resources.c.path == str(path)).values(**values))
        return before is None

    def find(self, path: ResourcePath) -> Resource | None:
        """Return a resource; None: there is none."""
        row = self._connection.execute(select(resources).where(resources.c.path == str(path))).one_or_none()
        return None if row is None else _resource(row)

    def of(self, workload: str) -> list[Resource]:
        """Return a workload's resources, by name."""
        wanted = select(resources).where(resources.c.workload == workload).order_by(resources.c.path)
        return [_resource(row) for row in self._connection.execute(wanted)]

    def open(self, resource: Resource) -> bytes:
        """Return the content.

        Raises:
            SealError: its key is not at hand, or it was changed.
        """
        return unseal(self._wrapper, resource._sealed, _context(resource.path, resource.workload))  # noqa: SLF001

    def remove(self, path: ResourcePath) -> None:
        """Remove a resource."""
        self._connection.execute(delete(resources).where(resources.c.path == str(path)))

    def keks(self) -> set[str]:
        """Return the ids of the keys that anything is wrapped by."""
        return set(self._connection.execute(select(resources.c.kek).distinct()).scalars())

    def rewrap(self) -> int:
        """Wrap everything anew that another than the current key wraps; return how many there were.

        Raises:
            SealError: an old key is not at hand.
        """
        stale = select(resources).where(resources.c.kek != self._wrapper.current)
        count = 0
        for found in map(_resource, self._connection.execute(stale).all()):
            sealed = rewrap(self._wrapper, found._sealed, _context(found.path, found.workload))  # noqa: SLF001
            values = {"kek": sealed.kek, "wrapped": sealed.wrapped}
            self._connection.execute(update(resources).where(resources.c.path == str(found.path)).values(**values))
            count += 1
        return count


def _context(path: ResourcePath, workload: str) -> str:
    return f"resource {path} of {workload}"


def _resource(row: Any) -> Resource:
    sealed = Sealed(row.kek, row.wrapped, row.sealed)
    return Resource(ResourcePath.parse(row.path), row.workload, row.kek, from_stored(row.created), sealed)

"""Deletes manifests and tags (distribution-spec, "Content Management"), which registries need not allow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.errors import DeletionRefused, HauloutError
from haulout.http import Request
from haulout.oci import Digest
from haulout.registry import manifests
from haulout.registry.errcode import codes

if TYPE_CHECKING:
    from haulout.registry.access import Access, ReferrersMemory

_DELETED: Final = frozenset({202, 204})
_REFUSED: Final = frozenset({400, 405, 501})
"""400 is docker-registry 2.8 for a tag, where it deletes by digest only."""
_NOTHING: Final = Digest("0" * 64)


def can_delete(access: Access, memory: ReferrersMemory) -> bool:
    """Ask, by deleting what cannot be there: 404 says that it would have been deleted.

    A registry that answers anything else, or without an error of the protocol, is taken for one that does not delete.
    """
    if memory.can_delete is None:
        memory.can_delete = _would_delete(_deleting(access))
    return memory.can_delete


def _would_delete(access: Access) -> bool:
    what = f"whether {access.name} can be deleted from"
    request = Request("DELETE", f"manifests/{_NOTHING}")
    try:
        answer = access.read(
            request, what=what, accept=frozenset(range(200, 600)) - {401}, attempts=access.attempts(what, 1)
        )
    except HauloutError:
        return False
    # A bare 404 is that of a server without the route.
    return answer.status == 404 and bool(codes(answer.body) & {"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND"})


def delete(access: Access, selector: str | Digest, *, by_digest: bool) -> None:
    """Delete a tag, or a manifest with all its tags.

    Args:
        access: where.
        selector: the tag or digest.
        by_digest: whether the registry is known to delete by digest, so that a refusal is one of tags alone.

    Raises:
        NotFoundError: it is not there.
        DeletionRefused: the registry does not delete it.
        DeniedError: these credentials may not.
    """
    what = manifests.describe(access, selector)
    request = Request("DELETE", f"manifests/{selector}")
    with _deleting(access).send(request, what=what, accept=_DELETED | _REFUSED | {200}) as reply:
        # 200 is not of the specification: it comes from servers that take a DELETE for a GET.
        if reply.status not in _DELETED:
            raise DeletionRefused(what, access.host.name, status=reply.status, only_by_digest=by_digest)


def _deleting(access: Access) -> Access:
    # docker-registry's tokens know deletion as an action of its own.
    return access.widened(f"repository:{access.repository}:delete")

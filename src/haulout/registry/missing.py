"""Tells a tag that does not exist from one that may not be read.

Some registries answer 401 or 403 for what is not there, so that strangers learn nothing (Artifactory: sigstore/cosign
issue 2973). A first push must not end there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout.errors import DeniedError, NotFoundError, RegistryError, UnreachableError
from haulout.registry.tags import list_tags

if TYPE_CHECKING:
    from haulout.http import Answer, Request
    from haulout.oci import Digest
    from haulout.registry.access import Access


def read(access: Access, selector: str | Digest, request: Request, *, what: str, most: int) -> Answer:
    """Read a manifest as ``access.read`` does; where it is refused to one who may write, find out whether it is there.

    Raises:
        NotFoundError: it is not, or nobody can tell and the push itself is to decide.
        HauloutError: as ``access.read``.
    """
    try:
        return access.read(request, what=what, most=most, redirects=True)
    except DeniedError as error:
        if not access.writes or not isinstance(selector, str):
            raise
        is_listed = _is_listed(access, selector)
        if is_listed:
            raise
        if is_listed is None:
            access.host.note(f"{error}; taken for a tag that does not exist, since the tags cannot be listed either")
        raise NotFoundError(f"{what}: not found in {access.host.name}") from error


def _is_listed(access: Access, tag: str) -> bool | None:
    try:
        return tag in list_tags(access, tag)
    except NotFoundError:
        return False
    except (DeniedError, RegistryError, UnreachableError):
        return None

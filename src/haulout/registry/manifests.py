"""Reads and writes manifests and indexes (distribution-spec, "Pulling manifests", "Pushing Manifests")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout import content, oci
from haulout.errors import DigestMismatch, RegistryError
from haulout.http import ACCEPTED, Request
from haulout.oci import MAX_MANIFEST_BYTES, Digest, mediatype
from haulout.registry import missing

if TYPE_CHECKING:
    from haulout.content import StoredManifest
    from haulout.http import Answer
    from haulout.oci import Descriptor
    from haulout.registry.access import Access

_ACCEPT: Final = (
    f"{mediatype.OCI_INDEX}, {mediatype.OCI_MANIFEST}, {mediatype.DOCKER_INDEX}, {mediatype.DOCKER_MANIFEST}"
)
_KNOWN: Final = mediatype.INDEXES | mediatype.MANIFESTS


def read(access: Access, selector: str | Digest) -> StoredManifest:
    """Read what a tag or digest names.

    The digest is always computed from the bytes; ``Docker-Content-Digest`` is only compared.

    Raises:
        NotFoundError: no such tag or digest.
        DigestMismatch: the bytes are not those of the digest asked for, or of the one the server states.
        InvalidManifest: the announced type is not a manifest's.
        RegistryError: a web page, or more than 4 MiB.
    """
    what = describe(access, selector)
    request = Request("GET", f"manifests/{selector}", {"Accept": _ACCEPT})
    answer = missing.read(access, selector, request, what=what, most=MAX_MANIFEST_BYTES)
    refuse_web_page(answer, what)
    data = answer.body
    actual = Digest.of(data)
    if isinstance(selector, Digest) and actual != selector:
        raise DigestMismatch(what, str(selector), str(actual))
    stated = answer.headers.get("docker-content-digest", "")
    if stated.startswith("sha256:") and stated != str(actual):
        raise DigestMismatch(what, stated[:80], str(actual))
    announced = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    kind = announced if announced in _KNOWN else oci.parse_any(data, what, announced or None).media_type
    return content.StoredManifest(oci.Descriptor(kind, actual, len(data)), data)


def write(access: Access, data: bytes, media_type: str, tag: str | None) -> tuple[Descriptor, bool]:
    """Store exact bytes.

    Returns:
        Their descriptor, and whether the registry says that it keeps the referrers of the subject itself.

    Raises:
        DigestMismatch: the registry stored something else.
        RegistryError, DeniedError, UnreachableError: it did not store it.
    """
    descriptor = oci.Descriptor.of(media_type, data)
    what = describe(access, tag or descriptor.digest)
    request = Request("PUT", f"manifests/{tag or descriptor.digest}", {"Content-Type": media_type}, lambda: data)
    with access.send(request, what=what, accept=ACCEPTED) as reply:
        stated = reply.headers.get("docker-content-digest", "")
        if stated.startswith("sha256:") and stated != str(descriptor.digest):
            raise DigestMismatch(what, str(descriptor.digest), stated[:80])
        return descriptor, "oci-subject" in reply.headers


def describe(access: Access, selector: str | Digest) -> str:
    """Name a manifest as a reference does."""
    return f"{access.name}{'@' if isinstance(selector, Digest) else ':'}{selector}"


def refuse_web_page(answer: Answer, what: str) -> None:
    """Refuse a page for people where a document of the protocol is due.

    Raises:
        RegistryError: it is HTML.
    """
    if answer.is_web_page:
        raise RegistryError(
            f"{what}: {answer.host} answers with a web page, not a manifest",
            status=answer.status,
            hint="a proxy or login page probably answered in its place; check the host name and proxy settings",
        )

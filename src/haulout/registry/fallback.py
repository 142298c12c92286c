"""Keeps the list of referrers where a registry does not (distribution-spec, "Referrers Tag Schema").

The list is an index under one tag. Each publisher that attaches something reads, changes and writes it; the
specification has no conditional write. Publishers therefore announce what they attach before they read the list: its
manifest gets a tag of its own, :func:`announcement_prefix`. After a publisher has written the list, it looks at the
announcements and writes again while one is missing in the list. So a writer that was stalled between its read and its
write, for however long, puts back what its late write took out (docs/adr/0010).

What remains: a writer that dies after such a late write and before it has looked leaves the others' entries out, until
the next referrer of this subject is attached, or one of theirs again. Tools that announce nothing (oras, regctl) may
take out our entry by a write that was under way longer than our checks wait; the next one of ours brings it back, but
not theirs. And where the registry does not let us list tags, or lists them late, only the wait is left.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from haulout.errors import ConflictError, ContentError, DeniedError, InvalidManifest, NotFoundError, RegistryError
from haulout.oci import Descriptor, Digest, Index, Manifest, fallback_tag
from haulout.registry import manifests, tags

if TYPE_CHECKING:
    from threading import RLock

    from haulout.registry.access import Access

_TRIES: Final = 12
_CHECKS: Final = 2
"""Times the entries must be seen after writing before they count as there."""
_FIRST_CHECK: Final = 0.05
_MAX_ANNOUNCED: Final = 256


def announcement_prefix(subject: Digest) -> str:
    """Return how the tags begin that announce referrers of ``subject``; 32 digits of the referrer's digest follow."""
    return f"haulout.ref.{subject.hex[:32]}."


def _announcement(subject: Digest, referrer: Descriptor) -> str:
    return announcement_prefix(subject) + referrer.digest.hex[:32]


def read(access: Access, subject: Digest, *, is_strict: bool) -> Index | None:
    """Return the list; None where there is none.

    Args:
        access: where.
        subject: whose referrers.
        is_strict: whether something else under the tag is an error, as it is before the list is written.

    Raises:
        InvalidManifest: the tag holds something else than an index, and ``is_strict``; or a broken one.
    """
    try:
        stored = manifests.read(access, fallback_tag(subject))
    except NotFoundError:
        return None
    what = manifests.describe(access, fallback_tag(subject))
    if not stored.descriptor.is_index:
        if is_strict:
            raise InvalidManifest(what, "it is kept for the list of referrers, but holds something else")
        # GitLab resolves this tag to the subject itself (oras-go issue 1396).
        return None
    return Index.parse(stored.data, what, stored.descriptor.media_type)


def add(access: Access, writing: RLock, subject: Digest, entry: Descriptor, data: bytes) -> None:
    """Enter a referrer into the list; does nothing where it is there.

    Args:
        access: where.
        writing: held meanwhile, so that our own threads do not race each other.
        subject: what it refers to.
        entry: the referrer as the list gives it.
        data: its manifest.

    Raises:
        InvalidManifest: the tag is something else than an index, and is left alone.
        ConflictError: others kept undoing it.
    """
    tag = fallback_tag(subject)
    with writing:
        index = read(access, subject, is_strict=True)
        if index is not None and not _lacks(index, [entry]):
            return
        manifests.write(access, data, entry.media_type, _announcement(subject, entry))
        announced = _Announced(access, subject, entry)
        for _ in range(_TRIES):
            began = time.monotonic()
            wanted = announced.look()
            index = read(access, subject, is_strict=True) or Index(())
            if missing := _lacks(index, wanted):
                updated = replace(index, manifests=(*index.manifests, *missing))
                manifests.write(access, updated.to_bytes(), updated.media_type, tag)
            if _stays(access, subject, announced, max(_FIRST_CHECK, 2 * (time.monotonic() - began))):
                return
    raise ConflictError(
        f"{access.name}:{tag}: other publishers kept replacing this list of referrers", hint="try again in a moment"
    )


def describe(descriptor: Descriptor, document: Manifest | Index) -> Descriptor:
    """Make the entry of a referrer: its artifact type (or its config's type), and all its annotations."""
    kind = document.effective_artifact_type if isinstance(document, Manifest) else document.artifact_type
    return replace(descriptor, artifact_type=kind, annotations=document.annotations)


def _lacks(index: Index, entries: list[Descriptor]) -> list[Descriptor]:
    there = {entry.digest for entry in index.manifests}
    return [entry for entry in entries if entry.digest not in there]


def _stays(access: Access, subject: Digest, announced: _Announced, wait: float) -> bool:
    # Later than the write of a tool that announces nothing can be, if it began before ours and is not slower.
    for _ in range(_CHECKS):
        time.sleep(wait * (0.5 + random.random()))  # noqa: S311 - keeps publishers apart, keeps no secret
        entries = announced.look()
        index = read(access, subject, is_strict=True)
        if index is None or _lacks(index, entries):
            return False
    return True


class _Announced:
    """The referrers that publishers have announced; each manifest is read once."""

    def __init__(self, access: Access, subject: Digest, ours: Descriptor) -> None:
        self._access = access
        self._subject = subject
        self._ours = ours
        self._known: dict[str, Descriptor | None] = {_announcement(subject, ours): ours}

    def look(self) -> list[Descriptor]:
        """Return what is announced now, ours first."""
        try:
            listed = tags.list_tags(self._access, announcement_prefix(self._subject))
            names = [name for name, _ in zip(listed, range(_MAX_ANNOUNCED), strict=False)]
        except (RegistryError, DeniedError, NotFoundError):
            names = []
        for name in names:
            if name not in self._known:
                self._known[name] = self._read(name)
        found = {entry.digest: entry for name in names if (entry := self._known[name]) is not None}
        return [self._ours, *(entry for digest, entry in found.items() if digest != self._ours.digest)]

    def _read(self, name: str) -> Descriptor | None:
        """Read one announcement; None for anything else under such a tag."""
        try:
            stored = manifests.read(self._access, name)
            document = stored.parse(manifests.describe(self._access, name))
        except (ContentError, NotFoundError, RegistryError):
            return None
        is_referrer = document.subject is not None and document.subject.digest == self._subject
        return describe(stored.descriptor, document) if is_referrer else None

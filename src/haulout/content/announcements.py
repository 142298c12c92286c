"""Announcements: what publishers who are under way want to add to a tag's index, for the others to see.

One is an image index of artifact type :data:`~haulout.oci.mediatype.INTENT_ARTIFACT` that holds the entries. Its tag is
``haulout.<16 digits for the tag>.<milliseconds>.<8 random digits>``, which ends in ``.done`` once its publisher has
finished but others are still under way. Docs/formats/registry.md has the form, docs/adr/0038 the reasons.
"""

from __future__ import annotations

import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from haulout.content.ports import Deleter, ManifestReader, ManifestWriter, TagLister
from haulout.errors import ContentError, DeniedError, NotFoundError, RegistryError
from haulout.oci import Descriptor, Digest, Index, Manifest, json, mediatype
from haulout.oci import annotations as keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


ANNOUNCEMENT_LIFE_MS: Final = 600_000
"""Milliseconds that an announcement counts. A publisher needs seconds; what is older was left by a killed one."""
_MOST: Final = 256
_MOST_SWEPT: Final = 32
_UNTAG_TRIES: Final = 3
"""Leftovers removed by one publisher: it has its own work to do."""
_ANY: Final = re.compile(r"haulout\.[0-9a-f]{16}\..+")
_NAME: Final = re.compile(r"haulout\.[0-9a-f]{16}\.([0-9a-f]{12})\.[0-9a-f]{8}(\.done)?")


class Place(ManifestReader, ManifestWriter, Deleter, TagLister, Protocol):
    """What announcing needs of a store."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What one publisher adds."""

    name: str
    """Its tag."""
    digest: Digest
    created: int
    """Milliseconds since 1970."""
    done: bool
    entries: tuple[Descriptor, ...]

    @property
    def order(self) -> tuple[int, str]:
        """Later ones count where two publishers add the same."""
        return self.created, self.name

    @property
    def age(self) -> int:
        """Milliseconds since it was made."""
        return _now() - self.created


class Announcements:
    """The announcements for one tag of a place.

    Args:
        place: where.
        tag: whose index is to change.
    """

    def __init__(self, place: Place, tag: str) -> None:
        self._place = place
        self._tag = tag
        # Hashed, because a tag may take all of the 128 characters there are.
        self._prefix = f"haulout.{Digest.of(tag.encode()).hex[:16]}."
        self._known: dict[str, Announcement | None] = {}
        self._stale: list[str] = []
        self._doubtful: set[str] = set()
        """Tags of announcements that somebody else was removing, too."""

    def announce(self, entries: Sequence[Descriptor], *, done: bool = False) -> Announcement:
        """Announce entries, whose manifests are there already.

        Raises:
            HauloutError: as writing a manifest does.
        """
        created = _now()
        name = f"{self._prefix}{created:012x}.{secrets.token_hex(4)}{'.done' if done else ''}"
        stated = {keys.INTENT_TAG: self._tag, keys.INTENT_ID: secrets.token_hex(8)}
        index = Index(tuple(entries), artifact_type=mediatype.INTENT_ARTIFACT, annotations=stated)
        stored = self._place.push_manifest(index.to_bytes(), index.media_type, name)
        made = self._known[name] = Announcement(name, stored.digest, created, done, tuple(entries))
        return made

    def look(self) -> list[Announcement]:
        """Return all that count now, oldest first.

        Raises:
            RegistryError, DeniedError: tags cannot be listed here.
        """
        found: list[Announcement] = []
        self._stale.clear()
        for name in self._names():
            if not name.startswith(self._prefix):
                # Of another tag: only whether it is a leftover matters.
                if _age_of(name) > ANNOUNCEMENT_LIFE_MS:
                    self._stale.append(name)
                continue
            made = self._known[name] if name in self._known else self._read(name)
            if _NAME.fullmatch(name):
                # Written once. One of the old form is written again by the next push of the same.
                self._known[name] = made
            if made is not None and made.age <= ANNOUNCEMENT_LIFE_MS:
                found.append(made)
            elif made is not None or _age_of(name) > ANNOUNCEMENT_LIFE_MS:
                self._stale.append(name)
        return sorted(found, key=lambda made: made.order)

    def _names(self) -> Iterator[str]:
        try:
            listed = (name for name in self._place.tags("haulout.") if _ANY.fullmatch(name))
            yield from (name for name, _ in zip(listed, range(_MOST), strict=False))
        except NotFoundError:
            return

    def delete(self, announcements: Sequence[Announcement]) -> None:
        """Remove announcements; those that another publisher has removed are gone.

        Raises:
            RegistryError, DeniedError: the registry does not delete, after all.
        """
        for made in announcements:
            self._delete(made)
        if self._doubtful:
            for name in self._doubtful & set(self._names()):
                self._untag(name)
            self._doubtful.clear()

    def sweep(self) -> None:
        """Remove what killed publishers left, as far as the last look showed it; raises as :meth:`delete`."""
        for name in self._stale[:_MOST_SWEPT]:
            made = self._known.get(name) or self._read(name, any_tag=True)
            if made is not None and made.age > ANNOUNCEMENT_LIFE_MS:
                self._delete(made)
            elif made is None and _NAME.fullmatch(name) and self._is_bare(name):
                self._untag(name)
        self._stale.clear()

    def _delete(self, made: Announcement) -> None:
        try:
            self._place.delete_manifest(made.digest, refers=False)
        except NotFoundError:
            self._doubtful.add(made.name)

    def _untag(self, name: str) -> None:
        """Remove a tag whose manifest is gone.

        docker-registry 2.8 deletes a manifest first and looks for its tags then; where another tag disappears in that
        moment, it gives up and leaves them. Such a tag goes with a manifest that is deleted after it.
        """
        bare = Index((), annotations={keys.INTENT_ID: secrets.token_hex(8)})
        for _ in range(_UNTAG_TRIES):
            stored = self._place.push_manifest(bare.to_bytes(), bare.media_type, name)
            with suppress(NotFoundError):
                self._place.delete_manifest(stored.digest, refers=False)
                return

    def _is_bare(self, name: str) -> bool:
        try:
            self._place.manifest(name)
        except NotFoundError:
            return True
        except ContentError:
            pass
        return False

    def _read(self, name: str, *, any_tag: bool = False) -> Announcement | None:
        """Read one; None for anything else under such a tag."""
        try:
            stored = self._place.manifest(name)
            document = stored.parse(f"tag {name}")
        except (ContentError, NotFoundError):
            return None
        made = announcement_in(name, stored.descriptor.digest, document)
        return made if any_tag or document.annotations.get(keys.INTENT_TAG) == self._tag else None


def announcement_in(name: str, digest: Digest, document: Manifest | Index) -> Announcement | None:
    """Return the announcement that a tag holds; None for anything else. Pure."""
    if document.artifact_type != mediatype.INTENT_ARTIFACT:
        return None
    form = _NAME.fullmatch(name)
    if not isinstance(document, Index) or form is None:
        return _of_old_form(name, digest, document)
    return Announcement(name, digest, int(form[1], 16), bool(form[2]), document.manifests)


def _of_old_form(name: str, digest: Digest, document: Manifest | Index) -> Announcement | None:
    """Read an announcement of a release before 0.3: a manifest that has one entry as JSON in an annotation."""
    try:
        text = document.annotations.get(keys.INTENT_ENTRY, "")
        entry = Descriptor.from_json(json.loads(text.encode(), "intent"), "entry")
        created = datetime.fromisoformat(document.annotations.get(keys.CREATED, ""))
    except (ContentError, ValueError):
        return None
    if created.tzinfo is None:
        return None
    made = int(created.astimezone(UTC).timestamp() * 1000)
    return Announcement(name, digest, made, done=False, entries=(entry,))


def _age_of(name: str) -> int:
    form = _NAME.fullmatch(name)
    # One of the old form does not say: it is read before it is removed.
    return ANNOUNCEMENT_LIFE_MS + 1 if form is None else _now() - int(form[1], 16)


def _now() -> int:
    return time.time_ns() // 1_000_000


UNSEEN: Final = (RegistryError, DeniedError)
"""What says that announcements cannot be listed, written or removed here."""

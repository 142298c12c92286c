"""What goes when versions go, and what must stay. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.content import ANNOUNCEMENT_LIFE_MS, announcement_in
from haulout.errors import ContentError
from haulout.oci import Digest, is_helper_tag, mediatype, subject_of_tag
from haulout.oci import annotations as keys
from haulout.resolve import is_version, newest_first, series
from haulout.upkeep.listing import created_at, disks_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime, timedelta

    from haulout.content import Announcement, Graph, Node


@dataclass(frozen=True, slots=True)
class Going:
    """One tag, or one manifest without a tag, that goes."""

    name: str
    """The tag, else the digest."""
    digest: Digest | None
    """None where the tag cannot be read."""
    created: datetime | None
    frees: int
    """Bytes that nothing needs any more once it and those before it are gone."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What goes, and what is left."""

    versions: tuple[Going, ...]
    """In the order in which they go."""
    kept: tuple[str, ...]
    """Tags that stay, helper tags left out."""
    helper_tags: tuple[str, ...]
    """Tags of tools that go, too."""
    untag: tuple[str, ...]
    """Tags that go while their manifest stays."""
    manifests: tuple[Digest, ...]
    """In the order in which they go: parts before the whole, what is attached before what it is attached to."""
    going: frozenset[Digest]
    """All that nothing needs any more, manifests and blobs."""
    before: int
    """Bytes, manifests included."""
    after: int

    @property
    def frees(self) -> int:
        """Bytes that nothing needs any more."""
        return self.before - self.after

    @property
    def is_empty(self) -> bool:
        """Whether nothing goes."""
        return not (self.versions or self.helper_tags or self.manifests)


def choose_versions(
    graph: Graph, *, keep: int | None, older_than: timedelta | None, now: datetime
) -> tuple[list[str], list[str]]:
    """Return the tags that are to go, the oldest first, and those whose age is not known.

    Versions are counted within their series (``5.1`` is of one, ``next-5.1`` of another), and tags that name the same
    manifest as one version. What holds no disk, such as a container image of somebody else, is counted apart: its
    number says nothing about that of the disks. Tags without a number always stay, and so does the newest version of
    each series.

    Args:
        graph: of all tags.
        keep: versions that stay, at least 1; None: the newest.
        older_than: only versions that were made before that go.
        now: with a time zone.
    """
    kept: dict[tuple[str, bool], set[Digest]] = {}
    doomed: list[str] = []
    unknown: list[str] = []
    for tag in newest_first(tag for tag in graph.tags if is_version(tag) and not is_helper_tag(tag)):
        digest = graph.tags[tag]
        those = kept.setdefault((series(tag), _holds_disk(graph, digest)), set())
        if digest in those or len(those) < (keep or 1):
            those.add(digest)
            continue
        if older_than is not None:
            made = _made(graph, graph.nodes[digest])
            if made is None:
                unknown.append(tag)
            if made is None or now - made <= older_than:
                those.add(digest)
                continue
        doomed.append(tag)
    return doomed[::-1], unknown


def _holds_disk(graph: Graph, root: Digest) -> bool:
    """Whether there is a disk in a manifest, in its entries, or attached to them."""
    return any(any(disks_of(graph, each)) for each in graph.reach([root]) if each in graph.nodes)


def _made(graph: Graph, root: Node) -> datetime | None:
    """Return when a version was made: as its manifest says, else the latest of its entries."""
    below = (graph.nodes[entry.digest] for entry in root.children if entry.digest in graph.nodes)
    return created_at(root) or max(filter(None, map(created_at, below)), default=None)


def plan_removal(
    graph: Graph,
    tags: Collection[str],
    *,
    digests: Collection[Digest] = (),
    roots: Collection[Digest] = (),
    untagged: bool = False,
    now: datetime,
) -> Removal:
    """Plan what goes with ``tags`` and ``digests``: all that nothing else needs.

    Args:
        graph: of all tags, ``roots`` and what is attached to them.
        tags: tags that go, in order.
        digests: manifests that go even if others list them, with every tag that names them.
        roots: manifests without a tag that stay by themselves.
        untagged: whether those go as well, and what is attached to manifests that no tag reaches.
        now: with a time zone.

    Raises:
        ContentError: it cannot be said what a tag that stays needs.
    """
    gone = frozenset(digests)
    leaving = [*tags, *(tag for tag, named in graph.tags.items() if named in gone and tag not in tags)]
    named = [tag for tag in (*graph.tags, *graph.unreadable) if isinstance(tag, str) and not is_helper_tag(tag)]
    kept = tuple(tag for tag in newest_first(named) if tag not in leaving)
    stay = [graph.tags[tag] for tag in kept if tag in graph.tags]
    loose = [] if untagged else [*roots, *_detached(graph)]
    keep = graph.reach([*stay, *loose, *_announced(graph, leaving, now)], without=gone)
    _require_readable(graph, kept, keep)
    groups = [(tag, graph.tags.get(tag)) for tag in leaving]
    groups += [(str(digest), digest) for digest in digests if digest not in {named for _, named in groups}]
    if untagged:
        groups += [(str(digest), digest) for digest in _loose(graph, roots, keep, groups)]
    owner: dict[Digest, int] = {}
    sizes: dict[Digest, int] = {}
    for number, (_, digest) in enumerate(groups):
        for each, size in graph.reach([digest] if digest else []).items():
            if each not in keep:
                owner[each], sizes[each] = number, size
    frees = [0] * len(groups)
    for each, number in owner.items():
        frees[number] += sizes[each]
    helpers = tuple(tag for tag in graph.tags if is_helper_tag(tag) and _goes(graph, tag, owner, leaving, now))
    swept = {graph.tags[tag] for tag in helpers} - keep.keys() - owner.keys()
    for each, size in graph.reach(swept, attached=False).items():
        if each not in keep:
            sizes.setdefault(each, size)
    # The walk finds a whole before its parts: backwards within one version, the versions in their order.
    order = sorted(reversed([each for each in owner if each in graph.nodes]), key=owner.__getitem__)  # noqa: C414 - stable
    return Removal(
        tuple(
            Going(name, digest, _made(graph, graph.nodes[digest]) if digest in graph.nodes else None, freed)
            for (name, digest), freed in zip(groups, frees, strict=True)
        ),
        kept,
        helpers,
        tuple(tag for tag in (*leaving, *helpers) if graph.tags.get(tag) not in {*owner, *swept}),
        (*order, *swept),
        frozenset(sizes),
        sum(keep.values()) + sum(sizes.values()),
        sum(keep.values()),
    )


def _detached(graph: Graph) -> Iterator[Digest]:
    """Yield what helper tags attach to manifests that are not of these tags: their images may be pinned by digest."""
    of_versions = graph.reach(named for tag, named in graph.tags.items() if not is_helper_tag(tag))
    for tag, digest in graph.tags.items():
        subject = subject_of_tag(tag)
        if subject is not None and subject not in of_versions:
            yield digest
            yield subject


def _loose(
    graph: Graph, roots: Collection[Digest], keep: dict[Digest, int], groups: list[tuple[str, Digest | None]]
) -> Iterator[Digest]:
    known = graph.reach(digest for _, digest in groups if digest is not None)
    for digest in dict.fromkeys((*roots, *_detached(graph))):
        if digest in graph.nodes and digest not in keep and digest not in known:
            known |= graph.reach([digest])
            yield digest


def _announced(graph: Graph, leaving: Collection[str], now: datetime) -> Iterator[Digest]:
    """Yield the entries of publishers at work: they are in no index yet."""
    for tag, digest in graph.tags.items():
        made = announcement_in(tag, digest, graph.nodes[digest].parsed)
        if made is not None and not _is_over(graph, made, leaving, now):
            yield digest
            yield from (entry.digest for entry in made.entries)


def _is_over(graph: Graph, made: Announcement, leaving: Collection[str], now: datetime) -> bool:
    """Whether an announcement asks for nothing any more; where its tag goes, it was heard."""
    is_old = now.timestamp() * 1000 - made.created > ANNOUNCEMENT_LIFE_MS
    return is_old or made.done or graph.nodes[made.digest].descriptor.annotations.get(keys.INTENT_TAG) in leaving


def _goes(graph: Graph, tag: str, owner: Collection[Digest], leaving: Collection[str], now: datetime) -> bool:
    """Whether a helper tag goes: with what it is about, or because it has done its work."""
    node, subject = graph.nodes[graph.tags[tag]], subject_of_tag(tag)
    if node.descriptor.digest in owner or (subject is not None and subject in owner):
        return True
    if node.descriptor.artifact_type == mediatype.INTENT_ARTIFACT:
        made = announcement_in(tag, node.descriptor.digest, node.parsed)
        return made is None or _is_over(graph, made, leaving, now)
    # The announcement of a referrer that the list holds.
    return (
        subject is None and node.subject is not None and node.descriptor.digest in graph.referrers.get(node.subject, ())
    )


def _require_readable(graph: Graph, kept: Collection[str], keep: Collection[Digest]) -> None:
    for name, error in graph.unreadable.items():
        if name in kept or name in keep:
            raise ContentError(
                f"it cannot be said what {name} needs, so nothing is deleted: {error}",
                hint="push it again, or delete it first",
            )

"""Keep repositories alike: copy many tags, and only what changed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar, Literal

from haulout.content import CopyOptions
from haulout.content import copy as copy_content
from haulout.documents import Document
from haulout.errors import HauloutError, UsageError
from haulout.local import read_toml
from haulout.oci import is_helper_tag
from haulout.places import Places
from haulout.progress import BlobTotal, NullProgress, Traffic
from haulout.usecases.arguments import path_of, repository_of
from haulout.usecases.copy import DEFAULT_JOBS, mounts_from

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from haulout.content import CopyTarget, Store
    from haulout.oci import Digest, Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions


@dataclass(frozen=True, slots=True)
class SyncRule:
    """Which tags of one repository go to another."""

    source: str | Reference
    """A repository, layout or archive, without a tag."""
    destination: str | Reference
    include: tuple[str, ...] = ()
    """Shell patterns of tags (``5.*``); none: all."""
    exclude: tuple[str, ...] = ()
    """Shell patterns of tags that are left out."""

    def takes(self, tag: str) -> bool:
        """Whether a tag goes along; tags that tools write for their own use never do."""
        if is_helper_tag(tag) or any(fnmatchcase(tag, pattern) for pattern in self.exclude):
            return False
        return not self.include or any(fnmatchcase(tag, pattern) for pattern in self.include)


@dataclass(frozen=True, slots=True)
class SyncedTag:
    """One tag of a rule; or a whole rule that failed."""

    json_members: ClassVar = ("source", "destination", "manifest", "status", "missing", "error")

    source: str
    destination: str
    status: Literal["copied", "unchanged", "failed"]
    """Of a dry run, ``copied`` is what would be."""
    manifest: Digest | None = None
    missing: BlobTotal = field(default_factory=lambda: BlobTotal(0, 0))
    """Blobs that were sent; of a dry run, those that are not there."""
    failure: HauloutError | None = None

    @property
    def error(self) -> str | None:
        """What went wrong, in one line."""
        return None if self.failure is None else str(self.failure)


@dataclass(frozen=True, slots=True)
class SyncResult(Document):
    """What a synchronisation did; of a dry run, what it would do."""

    json_members: ClassVar = ("dry_run", "tags", "*traffic", "seconds")

    dry_run: bool
    tags: tuple[SyncedTag, ...]
    traffic: Traffic
    seconds: float

    @property
    def failures(self) -> tuple[HauloutError, ...]:
        """What went wrong, where that did not end it."""
        return tuple(each.failure for each in self.tags if each.failure is not None)


def sync(
    rules: SyncRule | Iterable[SyncRule],
    *,
    referrers: bool = True,
    keep_going: bool = False,
    dry_run: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
) -> SyncResult:
    """Copy tags from repository to repository, with what is attached, as :func:`haulout.copy` does.

    A tag that names the same in both, with the same attached, is taken for whole: copy it to have every blob looked
    for. Nothing is deleted at the destination.

    Args:
        rules: which tags go where.
        referrers: whether what is attached comes along.
        keep_going: whether an error of one tag lets the others go on; it is in the result then.
        dry_run: only look what there is to do.
        connections: how registries are reached.
        progress: receives the work.
        jobs: blobs under way at a time; None: 4.

    Raises:
        UsageError: a rule names a tag or digest, or there is no rule.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    begun = time.monotonic()
    progress = progress or NullProgress()
    pairs = [
        (rule, repository_of(rule.source), repository_of(rule.destination))
        for rule in ((rules,) if isinstance(rules, SyncRule) else tuple(rules))
    ]
    if not pairs:
        raise UsageError("nothing to synchronise", hint="name a source and a destination")
    found: list[SyncedTag] = []
    with Places(connections, progress) as places:
        for rule, source, destination in pairs:
            options = CopyOptions(referrers, None, mounts_from(source, destination), jobs or DEFAULT_JOBS)
            try:
                # Before the destination: a source that is not there must not leave an empty layout.
                store = places.open(source)
                tags = [tag for tag in store.tags() if rule.takes(tag)]
                if not tags:
                    progress.note(f"no tag of {source.name} is to be copied: none matches, or there is none")
                    continue
                with places.copy_target(destination, dry_run=dry_run) as target:
                    run = _Run(store, target, options, dry_run=dry_run, keep_going=keep_going, progress=progress)
                    found += run.tags(tags, source.name, destination.name)
            except HauloutError as error:
                if not keep_going:
                    raise
                found.append(SyncedTag(source.name, destination.name, "failed", failure=error))
        return SyncResult(dry_run, tuple(found), places.traffic, time.monotonic() - begun)


@dataclass(frozen=True)
class _Run:
    store: Store
    target: CopyTarget
    options: CopyOptions
    dry_run: bool
    keep_going: bool
    progress: Progress
    counted: set[Digest] = field(default_factory=set)
    """Blobs of tags before: a dry run does not find them."""

    def tags(self, tags: Iterable[str], source: str, destination: str) -> Iterator[SyncedTag]:
        for tag in tags:
            here, there = f"{source}:{tag}", f"{destination}:{tag}"
            try:
                done = copy_content(
                    self.store,
                    tag,
                    self.target,
                    tag,
                    self.options,
                    dry_run=self.dry_run,
                    trust=True,
                    progress=self.progress,
                )
            except HauloutError as error:
                if not self.keep_going:
                    raise
                yield SyncedTag(here, there, "failed", failure=error)
                continue
            status: Literal["copied", "unchanged"] = "unchanged" if done.is_unchanged else "copied"
            sent = [blob for blob in done.sent if blob.digest not in self.counted]
            self.counted.update(blob.digest for blob in sent)
            yield SyncedTag(
                here, there, status, done.root.digest, BlobTotal(len(sent), sum(blob.size for blob in sent))
            )


def read_sync_file(path: str | os.PathLike[str]) -> tuple[SyncRule, ...]:
    """Read rules from a TOML file: a table ``[[sync]]`` for each, with the members of :class:`SyncRule`.

    Raises:
        NotFoundError: there is no such file.
        InvalidFile: it breaks the schema; names the key.
    """
    document = read_toml(path_of(path))
    rules = []
    for table in document.tables("sync"):
        source, destination = table.text("source"), table.text("destination")
        for name, text in (("source", source), ("destination", destination)):
            try:
                repository_of(text)
            except UsageError as error:
                raise table.wrong(name, str(error), hint=error.hint) from error
        rules.append(SyncRule(source, destination, table.texts("include"), table.texts("exclude")))
        table.end()
    document.end()
    if not rules:
        raise document.wrong("sync", "is missing", hint="write a [[sync]] table with source and destination")
    return tuple(rules)

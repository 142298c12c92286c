"""Find: which disk, blob, entry, index, tag and container image a digest belongs to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.content import read_graph
from haulout.documents import Document
from haulout.errors import InvalidDigest
from haulout.fetch import PulledFile, pulled_files
from haulout.frames import hash_file
from haulout.local import open_regular, storage_errors
from haulout.oci import Digest, Reference
from haulout.places import Places
from haulout.progress import NullProgress
from haulout.upkeep import Match, find_digest
from haulout.usecases.arguments import path_of, repository_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions


@dataclass(frozen=True, slots=True)
class FindResult(Document):
    """Where a digest is."""

    digest: Digest
    matches: tuple[Match, ...]
    files: tuple[PulledFile, ...]
    """Files on this machine that earlier pulls made of it."""


def find(
    subject: str | Digest | os.PathLike[str],
    repositories: str | Reference | Iterable[str | Reference] = (),
    *,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> FindResult:
    """Find a digest in repositories and layouts, and among the files that were pulled to this machine.

    Args:
        subject: digest of a disk, plain or compressed, or of a manifest, index, table of contents or layer; or a file,
            which is hashed.
        repositories: without tags; none: only files on this machine are looked for.
        connections: how registries are reached.
        progress: receives the work.

    Raises:
        NotFoundError: there is no such file or repository.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    progress = progress or NullProgress()
    several = [repositories] if isinstance(repositories, str | Reference) else repositories
    named = [repository_of(each) for each in several]
    digest = _digest(subject, progress)
    with Places(connections, progress) as places:
        matches = [match for place in named for match in _found(places, place, digest, progress)]
    wanted = {digest} | {each.manifest for each in matches} | {each.disk.digest for each in matches if each.disk}
    files = {each.path: each for each in reversed([*pulled_files()]) if each.digests & wanted}
    return FindResult(digest, tuple(matches), tuple(files.values()))


def _digest(subject: str | Digest | os.PathLike[str], progress: Progress) -> Digest:
    if isinstance(subject, Digest):
        return subject
    if isinstance(subject, str) and not os.path.lexists(subject):
        try:
            return Digest.parse(subject if ":" in subject else f"sha256:{subject}")
        except InvalidDigest:
            if ":" in subject and "/" not in subject:
                raise
    path = path_of(subject)
    with (
        open_regular(path) as fd,
        storage_errors(path),
        progress.task(f"hashing {path.name}", os.fstat(fd).st_size) as task,
    ):
        return hash_file(fd, task).digest


def _found(places: Places, place: Reference, digest: Digest, progress: Progress) -> Iterator[Match]:
    store = places.open(place)
    tags = [*store.tags()]
    # What manifests state is found without asking for what is attached to each.
    for referrers in (False, True):
        graph = read_graph(store, tags, referrers=referrers, progress=progress)
        found = [*find_digest(graph, place.name, digest)]
        if found:
            yield from found
            return

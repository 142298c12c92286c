"""From references to the places they name: one session for a command."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Final, Self

from haulout import content
from haulout.content import Remembered, RememberingStore
from haulout.errors import HauloutError, NotFoundError, UsageError
from haulout.oci import ArchiveReference, LayoutReference, RegistryReference, is_helper_tag
from haulout.progress import NullProgress, Traffic
from haulout.registry import Registries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from haulout.content import CopyTarget, Store, StoredManifest
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions
    from haulout.resolve import DiskQuery, ResolvedDisk

_MAX_TAGS: Final = 5000
"""Tags that are looked at for those near a wrong one."""


class Places:
    """The repositories and layouts that one command uses, each opened once. Leave the ``with`` block when done.

    They share connections, tokens and configuration, and fetch nothing twice that cannot change
    (:class:`~haulout.content.RememberingStore`).

    Args:
        connections: how registries are reached; layouts ignore it.
        progress: receives warnings of registries, and mirrors that fail.
        on_sent: called each time a registry is asked and its answer is awaited, from any thread.
    """

    def __init__(
        self,
        connections: ConnectionOptions | None = None,
        progress: Progress | None = None,
        *,
        on_sent: Callable[[], None] | None = None,
    ) -> None:
        self._connections = connections
        self._on_sent = on_sent
        self._progress = progress or NullProgress()
        self._stack = ExitStack()
        self._registries: Registries | None = None
        self._stores: dict[tuple[str, bool], Store] = {}
        self._known: dict[str, Remembered] = {}
        self._roots: dict[Reference, StoredManifest] = {}

    @property
    def traffic(self) -> Traffic:
        """What has crossed the wire for all of them."""
        return sum((store.traffic for store in self._stores.values()), Traffic())

    def open(self, reference: Reference, *, push: bool = False, create: bool = True) -> Store:
        """Open the repository or layout that ``reference`` names; it stays open as long as the session.

        Args:
            reference: only its place counts, not its tag or digest.
            push: whether it is written to.
            create: whether a layout that is written to is created if it does not exist.

        Raises:
            HauloutError: as opening a layout or a repository does.
        """
        store = self._stores.get((reference.name, True)) or self._stores.get((reference.name, push))
        if store is None:
            store = self._stores[reference.name, push] = self._opened(reference, push=push, create=push and create)
        return store

    @contextmanager
    def copy_target(self, reference: Reference, *, dry_run: bool = False) -> Iterator[CopyTarget]:
        """Open what is copied to; an archive is written as a whole, and in its place when the block ends well.

        Args:
            reference: only its place counts.
            dry_run: nothing will be written; a place that is not there yet is as good as an empty one.

        Raises:
            HauloutError: as opening and writing the place does.
        """
        if isinstance(reference, ArchiveReference) and not dry_run:
            with content.replacing_archive(reference.file) as writer:
                yield writer
            return
        yield self._or_empty(reference) if dry_run else self.open(reference, push=True)

    def rehearsed(self, reference: Reference) -> content.DryRunStore:
        """Open what a push would write to, for a dry run; a place that is not there yet is as good as an empty one.

        Raises:
            HauloutError: as opening the place does.
        """
        if isinstance(reference, ArchiveReference):
            raise _is_archive(reference)
        is_registry = isinstance(reference, RegistryReference)
        return content.DryRunStore(self.open(reference, push=True) if is_registry else self._or_empty(reference))

    def _or_empty(self, reference: Reference) -> Store:
        try:
            return self.open(reference)
        except NotFoundError:
            return content.MemoryStore()

    def _opened(self, reference: Reference, *, push: bool, create: bool) -> Store:
        if isinstance(reference, ArchiveReference):
            if push:
                raise _is_archive(reference)
            return self._stack.enter_context(content.ArchiveStore(reference.file))
        if isinstance(reference, LayoutReference):
            return self._stack.enter_context(content.LayoutStore(reference.directory, create=create))
        if self._registries is None:
            self._registries = self._stack.enter_context(
                Registries(self._connections, note=self._progress.note, on_sent=self._on_sent)
            )
        known = self._known.get(reference.name)
        if known is None:
            known = self._known[reference.name] = Remembered()
            self._stack.callback(known.close)
        return RememberingStore(self._registries.repository(reference, push=push), known, mirrored=not push)

    def resolve(self, reference: Reference, query: DiskQuery) -> ResolvedDisk:
        """Find the disk that is meant.

        Raises:
            HauloutError: as :func:`haulout.resolve.resolve`.
        """
        from haulout.resolve import resolve  # noqa: PLC0415 - most of what it takes is not needed to ask

        return resolve(self.open(reference), reference, query, root=self.root(reference))

    def root(self, reference: Reference) -> StoredManifest:
        """Read what ``reference`` names, once.

        Raises:
            NotFoundError: there is nothing.
        """
        root = self._roots.get(reference)
        if root is None:
            store = self.open(reference)
            try:
                root = store.manifest(reference.selector)
            except NotFoundError as error:
                if (reference.name, True) in self._stores:
                    raise
                raise self.explained(reference, error) from error
            self._roots[reference] = root
        return root

    def explained(self, reference: Reference, error: NotFoundError) -> NotFoundError:
        """Return an error that says whether it is the tag or the repository that is missing, and which tags there are.

        Args:
            reference: what was asked for.
            error: what the place answered.
        """
        return _missing(self.open(reference), reference, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()


def _is_archive(reference: ArchiveReference) -> UsageError:
    return UsageError(
        f"{reference.name} cannot be changed: an archive is written as a whole",
        hint="change a layout (oci:DIR:TAG), then: haulout copy oci:DIR:TAG oci-archive:FILE:TAG",
    )


def _missing(store: Store, reference: Reference, error: NotFoundError) -> NotFoundError:
    tag = reference.tag
    if not isinstance(reference, RegistryReference) or tag is None or reference.digest is not None:
        return error
    try:
        names = [name for name in islice(store.tags(optional=True), _MAX_TAGS) if not is_helper_tag(name)]
    except NotFoundError:
        return NotFoundError(
            f"there is no repository {reference.name}, or it is not for everybody",
            hint="check its spelling; if it is private: haulout login " + reference.host,
        )
    except HauloutError:
        return error
    from difflib import get_close_matches  # noqa: PLC0415 - a misspelling is rare

    near = get_close_matches(tag, names, n=3) or names[-3:]
    hint = f"there are {', '.join(near)}{', …' if len(names) > len(near) else ''}" if near else "it has no tags"
    assumed = "latest is assumed where no tag is named; " if tag == "latest" else ""
    return NotFoundError(f"no tag {tag} in {reference.name}", hint=assumed + hint)


@contextmanager
def open_store(
    reference: Reference, connections: ConnectionOptions, progress: Progress, *, push: bool = False
) -> Iterator[Store]:
    """Open one place for as long as the block lasts; arguments as for :class:`Places`."""
    with Places(connections, progress) as places:
        yield places.open(reference, push=push)

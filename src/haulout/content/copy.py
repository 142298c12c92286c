"""Copy a manifest or index with everything it needs from one store to another.

Blobs first, then manifests, then what is attached to them, then the index that lists them, and the tag last: a reader
of the destination never finds a manifest whose parts are missing, and an interrupted copy goes on where it was.
"""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from haulout.content.copy_plan import Catalog, CopyPlan, plan_copy
from haulout.content.ports import BlobReader, BlobWriter, Distrusting, ManifestReader, ManifestWriter, ReferrerLister
from haulout.content.verify import open_verified
from haulout.errors import DigestMismatch, NotFoundError
from haulout.progress import NullProgress, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from haulout.content.copy_plan import Select
    from haulout.oci import Descriptor, Digest
    from haulout.progress import Task

_T = TypeVar("_T")
_R = TypeVar("_R")


class Source(Catalog, BlobReader, Protocol):
    """What is copied from."""


class CopyTarget(ManifestReader, ReferrerLister, BlobWriter, ManifestWriter, Protocol):
    """What is copied to."""


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """What comes along, and how."""

    referrers: bool = True
    """As for :func:`~haulout.content.copy_plan.plan_copy`."""
    select: Select | None = None
    """As for :func:`~haulout.content.copy_plan.plan_copy`."""
    mount_from: str | None = None
    """The source's repository, where it is of the target's registry."""
    jobs: int = 1
    """Blobs and manifests under way at a time."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did, or would do."""

    plan: CopyPlan
    sent: tuple[Descriptor, ...]
    """Blobs that were not there, and could not be mounted."""
    is_unchanged: bool = False
    """Whether nothing was looked at, since the tag was there with all that is attached."""

    @property
    def root(self) -> Descriptor:
        """What was copied, as the target has it."""
        return self.plan.root.descriptor

    @property
    def sent_bytes(self) -> int:
        """Bytes of what was sent."""
        return sum(blob.size for blob in self.sent)


def copy(
    source: Source,
    selector: str | Digest,
    target: CopyTarget,
    tag: str | None = None,
    options: CopyOptions | None = None,
    *,
    dry_run: bool = False,
    trust: bool = False,
    progress: Progress | None = None,
) -> Copied:
    """Copy what ``selector`` names, byte for byte.

    Args:
        source: where it is.
        selector: tag or digest there.
        target: where it goes; what it has already is not sent again.
        tag: its name there; None: by digest alone.
        options: what comes along, and how; None: everything, one at a time.
        dry_run: only look what there is to do.
        trust: whether a tag that names the same already, with the same attached to it, is taken for whole.
        progress: receives one task for each blob, and notes of what stays behind.

    Raises:
        NotFoundError: the source lacks the selector, or a part of it.
        ContentError: something is not what it claims to be, or the graph is deeper or larger than the bounds.
    """
    progress, options = progress or NullProgress(), options or CopyOptions()
    with _Workers(options.jobs) as workers:
        plan = plan_copy(source, selector, workers.pool, referrers=options.referrers, select=options.select)
        for note in plan.notes:
            progress.note(note)
        if trust and tag is not None and _is_there(plan, target, tag):
            return Copied(plan, (), is_unchanged=True)
        if dry_run:
            there = workers.each(target.has_blob, plan.blobs)
            return Copied(plan, tuple(blob for blob, is_there in zip(plan.blobs, there, strict=True) if not is_there))
        blobs = _Blobs(source, target, options.mount_from, progress, workers.stopped)
        sent = workers.each(blobs.copy, plan.blobs)
        for stage in plan.stages:
            workers.each(lambda stored: target.push_manifest(stored.data, stored.descriptor.media_type), stage)
        for name, stored in plan.tags.items():
            target.push_manifest(stored.data, stored.descriptor.media_type, name)
        target.push_manifest(plan.root.data, plan.root.descriptor.media_type, tag)
        return Copied(plan, tuple(blob for blob, was_sent in zip(plan.blobs, sent, strict=True) if was_sent))


def _is_there(plan: CopyPlan, target: CopyTarget, tag: str) -> bool:
    try:
        named = {tag: plan.root, **plan.tags}
        if any(target.manifest(name).descriptor.digest != each.descriptor.digest for name, each in named.items()):
            return False
    except NotFoundError:
        return False
    listed = {subject: {each.digest for each in target.referrers(subject)} for subject, _ in plan.links}
    return all(referrer in listed[subject] for subject, referrer in plan.links)


class _Workers:
    """Threads that end soon after the first of them fails, or the caller is interrupted."""

    def __init__(self, jobs: int) -> None:
        self.pool = ThreadPoolExecutor(jobs, "copy")
        self.stopped = Event()

    def each(self, work: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
        """Do something with each, and return the results in order.

        Raises:
            the first error.
        """
        futures = [self.pool.submit(work, item) for item in items]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        return [future.result() for future in futures]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is not None:
            self.stopped.set()
        self.pool.shutdown(cancel_futures=True)


class _Blobs:
    def __init__(
        self, source: Source, target: CopyTarget, mount_from: str | None, progress: Progress, stopped: Event
    ) -> None:
        self._source = source
        self._target = target
        self._mount_from = mount_from
        self._progress = progress
        self._stopped = stopped

    def copy(self, blob: Descriptor) -> bool:
        """Copy one blob; return whether it had to be sent."""
        with self._progress.task(blob.title or f"blob {blob.digest.short}", blob.size) as task:
            try:
                return self._push(blob, task)
            except DigestMismatch:
                # A mirror may have sent it; only the source can choose another.
                if not isinstance(self._source, Distrusting) or not self._source.distrust(blob):
                    raise
                return self._push(blob, None)

    def _push(self, blob: Descriptor, task: Task | None) -> bool:
        guarded = None if task is None else _Guarded(task, self._stopped)
        return self._target.push_blob(
            blob, lambda: open_verified(self._source, blob), guarded, mount_from=self._mount_from
        )


class _Guarded:
    """A task that interrupts its work once the whole has failed."""

    def __init__(self, task: Task, stopped: Event) -> None:
        self._task = task
        self._stopped = stopped

    def advance(self, amount: int) -> None:
        if self._stopped.is_set():
            raise CancelledError
        self._task.advance(amount)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

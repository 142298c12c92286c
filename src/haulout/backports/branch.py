"""Begin a consumer branch: a branch of the library that starts at a tag and is kept for one consumer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.backports import ledger, library, toml
from haulout.backports.naming import RHEL, line, serving
from haulout.backports.repository import near, open_repository
from haulout.errors import ConflictError, NotFoundError, StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.backports.ledger import Kept
    from haulout.backports.naming import Consumer
    from haulout.backports.repository import Branch, Repository


@dataclass(frozen=True, slots=True)
class BranchResult:
    """What became of it."""

    status: str
    """``created``; ``present``: it is there, at the same base; ``refused``."""
    kept: Kept
    reason: str | None = None
    instead: str | None = None
    """The branch to use, where this one is refused."""
    ledger: Path | None = None
    recorded: bool = False
    """Whether the ledger was changed."""
    push: str | None = None
    """The command that publishes the branch; nothing here does."""


def branch(
    path: Path,
    tag: str,
    consumer: Consumer,
    *,
    book: Path,
    consumer_branch: str | None = None,
    main: str | None = None,
) -> BranchResult:
    """Begin a branch at ``tag`` for ``consumer``, and enter it into the ledger.

    It is refused where a release branch serves the tag's line already, and where the name is taken at another base.
    Doing it again changes nothing.

    Args:
        path: the library's clone.
        tag: where the branch begins.
        consumer: who it is for; its name is the branch's.
        book: the ledger, made where there is none.
        consumer_branch: the consumer's own branch; by default ``release-X.Y``.
        main: the branch that fixes come from.

    Raises:
        NotFoundError: there is no such clone or tag.
        InvalidFile: the ledger is broken; nothing was done.
    """
    repository = open_repository(path)
    tags = repository.tags()
    if tag not in tags:
        hint = near(tag, tags) or ("fetch them: git fetch --tags" if not tags else None)
        raise NotFoundError(f"no tag {tag!r} in {path}", hint=hint)
    base = tags[tag]
    with repository.bench() as bench:
        name = library.name(repository, bench, base)
    wanted = consumer_branch or ledger.usual_consumer_branch(consumer.version, rhel=consumer.rhel)
    kept = ledger.Kept(name, consumer.branch, tag, base, consumer.name, consumer.version, wanted)
    known = ledger.load(book)
    every = repository.all_branches()
    refusal = _refusal(repository, kept, known.of(name), every, main)
    if refusal is not None:
        return BranchResult("refused", kept, *refusal)
    there = next((one for one in every if one.name == kept.name), None)
    entry = known.entry(name, kept.name)
    if entry is None:
        toml.check_folder(book.parent)
    if there is None:
        # The old value, all zeros, makes it fail where somebody else was quicker.
        _create(repository, kept.name, base)
    if entry is None:
        try:
            with toml.alone(book.parent):
                ledger.add(book, kept)
        except (StorageError, ConflictError) as error:
            raise _unentered(error, book, kept.name) from error
    remote = repository.remote()
    push = f"git push {remote or 'REMOTE'} {kept.name}" if there is None or there.remote is None else None
    return BranchResult("created" if there is None else "present", kept, ledger=book, recorded=entry is None, push=push)


def _unentered(error: StorageError | ConflictError, book: Path, name: str) -> StorageError | ConflictError:
    """Return the error for a branch that is made and could not be entered."""
    hint = "mend that and run it again: the branch is then entered, and nothing else is done"
    if isinstance(error, StorageError):
        return StorageError(str(book), f"{error.reason}; the branch {name} is there", hint=hint)
    return ConflictError(
        f"{error.message}; the branch {name} is there, but not in {book}", hint=f"{error.hint}; {hint}"
    )


def _refusal(
    repository: Repository, kept: Kept, entries: tuple[Kept, ...], every: list[Branch], main: str | None
) -> tuple[str, str | None] | None:
    """Return why a branch must not be begun and which to use instead, or None."""
    names = sorted({one.name for one in every})
    release = serving(kept.base, names)
    if kept.name.endswith(RHEL) and release is not None and not release.endswith(RHEL):
        # A branch for RHEL beside the line's own is the custom of the projects.
        release = next((one for one in names if one.endswith(RHEL) and serving(kept.base, [one])), None)
    if release is not None:
        return f"{release} serves the line of {kept.base} already: pick onto it", release
    entry = next((one for one in entries if one.name == kept.name), None)
    if entry is not None and entry.base != kept.base:
        return f"the ledger has {kept.name} at {entry.base} already", kept.name
    for there in (one for one in every if one.name == kept.name):
        at = base_of(repository, there, main)
        if at != kept.base_commit:
            known = next((tag for tag, oid in repository.tags().items() if oid == at), (at or "nowhere")[:12])
            return f"{there.shown} exists already, based on {known}, not on {kept.base}", there.shown
    return None


def base_of(repository: Repository, there: Branch, main: str | None = None) -> str | None:
    """Return where a branch begins: the last commit it shares with the main branch, or its last tag before that."""
    described = repository.git.run("describe", "--tags", "--abbrev=0", "--match=*[0-9].[0-9]*", there.tip, ok=(0, 128))
    tagged = repository.tags().get(described.text) if described.code == 0 else None
    try:
        fork = repository.merge_base(repository.mainline(main).tip, there.tip)
    except NotFoundError:
        fork = None
    if tagged is not None and (fork is None or not repository.is_ancestor(tagged, fork) or tagged == fork):
        return tagged
    return fork


def _create(repository: Repository, name: str, base: str) -> None:
    none = "0" * len(base)
    done = repository.git.run(
        "update-ref", "-m", f"haulout backport branch {name}", f"refs/heads/{name}", base, none, ok=(0, 1, 128)
    )
    if done.code:
        raise ConflictError(f"{name} cannot be made: {done.err.strip().removeprefix('fatal: ')[:200]}")


def line_of(tag: str) -> str | None:
    """Return ``X.Y`` of a tag, for people."""
    found = line(tag)
    return found[1] if found else None

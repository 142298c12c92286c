"""Create a consumer branch: a branch of the library that starts at a tag and is kept for one consumer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from haulout.backports import toml
from haulout.backports.ledger import LedgerEntry, add_entry, load_ledger, usual_consumer_branch
from haulout.backports.naming import RHEL, Consumer, library_name, serves
from haulout.backports.repository import Branch, Repository, near, open_repository
from haulout.documents import Document
from haulout.errors import ConflictError, NotFoundError, StorageError

if TYPE_CHECKING:
    from haulout.backports.model import StrPath


@dataclass(frozen=True, slots=True)
class BranchResult(Document):
    """What ``branch`` did."""

    json_members = ("status", "*entry", "reason", "instead", "ledger", "recorded", "push")

    status: str
    """``created``; ``present``: it exists, at the same base; ``refused``."""
    entry: LedgerEntry
    reason: str | None = None
    instead: str | None = None
    """The branch to use, where this one is refused."""
    ledger: Path | None = None
    recorded: bool = False
    """Whether the ledger was changed."""
    push: str | None = None
    """The command that publishes the branch; nothing here does."""


def branch(
    lib: StrPath,
    tag: str,
    consumer: str | Consumer,
    *,
    ledger: StrPath,
    rhel: bool = False,
    consumer_branch: str | None = None,
    main: str | None = None,
) -> BranchResult:
    """Create a branch at ``tag`` for ``consumer``, and add it to the ledger.

    It is refused where a release branch already serves the tag's line, and where the name is taken at another base.
    Doing it again changes nothing.

    Args:
        lib: the library's clone.
        tag: where the branch begins.
        consumer: the consumer it is for, such as ``crio-1.31``; its name is the branch's.
        ledger: the ledger, created where there is none.
        rhel: the consumer is of RHEL: the name ends in ``-rhel``.
        consumer_branch: the consumer's own branch; by default ``release-X.Y``.
        main: the branch that fixes come from.

    Raises:
        NotFoundError: there is no such clone or tag.
        InvalidFile: the ledger is broken; nothing was done.
    """
    repository = open_repository(lib)
    book = Path(ledger)
    whom = Consumer.parse(consumer, rhel=rhel) if isinstance(consumer, str) else consumer
    tags = repository.tags()
    if tag not in tags:
        hint = near(tag, tags) or ("fetch them: git fetch --tags" if not tags else None)
        raise NotFoundError(f"no tag {tag!r} in {lib}", hint=hint)
    base = tags[tag]
    with repository.scratch_objects() as objects:
        name = library_name(repository, objects, base)
    wanted = consumer_branch or usual_consumer_branch(whom.version, rhel=whom.rhel)
    entry = LedgerEntry(name, whom.branch, tag, base, whom.name, whom.version, wanted)
    known = load_ledger(book)
    every = repository.all_branches()
    refusal = _refusal(repository, entry, known.of(name), every, main)
    if refusal is not None:
        return BranchResult("refused", entry, *refusal)
    there = next((one for one in every if one.name == entry.name), None)
    listed = known.entry(name, entry.name)
    if listed is None:
        toml.check_folder(book.parent)
    if there is None:
        # The old value, all zeros, makes it fail where another process was quicker.
        _create(repository, entry.name, base)
    if listed is None:
        try:
            with toml.exclusive(book.parent):
                add_entry(book, entry)
        except (StorageError, ConflictError) as error:
            raise _not_recorded(error, book, entry.name) from error
    remote = repository.remote()
    push = f"git push {remote or 'REMOTE'} {entry.name}" if there is None or there.remote is None else None
    return BranchResult(
        "created" if there is None else "present", entry, ledger=book, recorded=listed is None, push=push
    )


def _not_recorded(error: StorageError | ConflictError, ledger: Path, name: str) -> StorageError | ConflictError:
    """Return the error for a branch that was created and could not be added to the ledger."""
    hint = "fix that and run the command again: it adds the branch to the ledger"
    if isinstance(error, StorageError):
        return StorageError(str(ledger), f"{error.reason}; the branch {name} exists", hint=hint)
    return ConflictError(
        f"{error.message}; the branch {name} exists, but is not in {ledger}", hint=f"{error.hint}; {hint}"
    )


def _refusal(
    repository: Repository, entry: LedgerEntry, entries: tuple[LedgerEntry, ...], every: list[Branch], main: str | None
) -> tuple[str, str | None] | None:
    """Return why a branch must not be created and which to use instead, or None."""
    names = sorted({one.name for one in every if serves(one.name, entry.base)})
    release = next(iter(names), None)
    if entry.name.endswith(RHEL) and release is not None and not release.endswith(RHEL):
        # A branch for RHEL beside the line's own is the custom of the projects.
        release = next((one for one in names if one.endswith(RHEL)), None)
    if release is not None:
        return f"{release} already serves the line of {entry.base}: pick onto it", release
    listed = next((one for one in entries if one.name == entry.name), None)
    if listed is not None and listed.base != entry.base:
        return f"the ledger already has {entry.name} at {listed.base}", entry.name
    for there in (one for one in every if one.name == entry.name):
        at = base_of(repository, there, main)
        if at != entry.base_commit:
            known = next((tag for tag, oid in repository.tags().items() if oid == at), (at or "nowhere")[:12])
            return f"{there.shown} already exists, based on {known}, not on {entry.base}", there.shown
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
        raise ConflictError(f"cannot create {name}: {done.err.strip().removeprefix('fatal: ')[:200]}")

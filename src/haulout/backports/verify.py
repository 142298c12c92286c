"""Check a consumer: what it pins of the library, and whether what it vendors is that. Offline, without Go."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from haulout.backports import history, ledger, library
from haulout.backports.git import decode
from haulout.backports.gomod import GoMod
from haulout.backports.pin import Pin, find_pin
from haulout.backports.repository import open_repository
from haulout.backports.vendored import Vendored, compare, modules_text
from haulout.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.backports.model import Commit
    from haulout.backports.objects import Bench
    from haulout.backports.repository import Branch, Repository


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One check."""

    name: str
    """``pin``, ``replace``, ``commit``, ``version``, ``branch``, ``modules``, ``vendor`` or ``make``."""
    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What a consumer has of the library."""

    consumer: str
    consumer_commit: str
    module: str
    pin: Pin
    branch: str | None
    checks: tuple[Check, ...]
    behind: tuple[Commit, ...] = ()
    """What the library's branch has and the consumer does not, newest first."""
    vendored: Vendored | None = None
    output: str = field(default="", repr=False)
    """Of the consumer's own check."""

    @property
    def good(self) -> bool:
        """Whether nothing failed, and nothing that matters is unknown."""
        return not any(check.verdict in {Verdict.FAILED, Verdict.UNKNOWN} for check in self.checks)


def split_consumer(text: str) -> tuple[str, str]:
    """Read ``REPO@BRANCH``; a path may have an @ of its own, a branch after it not.

    Raises:
        UsageError: there is no branch.
    """
    path, at, branch = text.rpartition("@")
    if not at or not path or not branch:
        raise UsageError(f"not a consumer: {text[:200]!r}", hint="write REPO@BRANCH, for example ../cri-o@release-1.27")
    return path, branch


def verify(
    path: Path,
    consumer: Path,
    consumer_branch: str,
    *,
    name: str | None = None,
    book: Path | None = None,
    module: str | None = None,
    make: str | None = None,
) -> VerifyResult:
    """Check what a consumer pins and vendors of the library.

    Args:
        path: the library's clone.
        consumer: the consumer's clone.
        consumer_branch: its branch, or any commit.
        name: the library's branch for it; by default the one that the ledger says.
        book: the ledger.
        module: the library's Go module; by default the one its go.mod declares.
        make: the target of the consumer's own check, run in a throw-away clone; None: it is not run.

    Raises:
        NotFoundError: there is no such clone, branch or go.mod, or it does not require the library.
    """
    repository, using = open_repository(path), open_repository(consumer)
    commit = _consumer_commit(using, consumer_branch)
    raw = using.show(commit, "go.mod")
    if raw is None:
        raise NotFoundError(f"no go.mod in {consumer} at {consumer_branch}")
    gomod = GoMod.parse(decode(raw))
    with repository.bench(using) as bench:
        modules = [module] if module else _modules(repository, bench)
        wanted = next((one for one in modules if gomod.required(one) is not None), None)
        if wanted is None:
            raise NotFoundError(
                f"{consumer} at {consumer_branch} does not require {', '.join(modules) or 'a module of this library'}",
                hint="name the module: --module PATH",
            )
        pin = find_pin(repository, gomod, wanted)
        wanted_branch = name or _entry(book, wanted, consumer_branch)
        branch = repository.branch(wanted_branch) if wanted_branch else None
        checks = [*_pin_checks(repository, pin)]
        behind: tuple[Commit, ...] = ()
        if pin.commit is not None:
            check, behind = _branch_check(repository, pin.commit, branch)
            checks.append(check)
        tree = bench.commit(commit).tree
        found = None
        text = modules_text(bench, tree)
        if text is None:
            checks.append(Check("vendor", Verdict.SKIPPED, "nothing is vendored"))
        else:
            checks.append(_modules_check(text, pin))
            found = compare(bench, tree, pin) if pin.commit is not None else None
            checks.append(_vendor_check(found, pin))
    output = ""
    if make is not None:
        from haulout.backports.consumer_check import run_make  # noqa: PLC0415 - seldom wanted

        code, output = run_make(using, commit, make)
        verdict = Verdict.FAILED if code else Verdict.OK
        checks.append(Check("make", verdict, f"make {make} " + (f"failed with {code}" if code else "succeeded")))
    shown = branch.shown if branch else None
    return VerifyResult(
        f"{consumer}@{consumer_branch}", commit, wanted, pin, shown, tuple(checks), behind, found, output
    )


def _consumer_commit(using: Repository, name: str) -> str:
    try:
        return using.branch(name).tip
    except NotFoundError:
        return using.resolve(name)


def _modules(repository: Repository, bench: Bench) -> list[str]:
    """Return the modules of the library's main branch: the one at its top, and those in folders."""
    tree = bench.commit(repository.mainline().tip).tree
    found = []
    for path, entry in bench.files(tree):
        if path.rpartition("/")[2] == "go.mod" and not path.startswith(f"{history.VENDOR}/") and bench.has(entry.oid):
            declared = library.module(decode(bench.read(entry.oid)))
            if declared is not None:
                found.append(declared)
    # Where a partial clone holds no go.mod of the branch, what is checked out may tell.
    return sorted(found, key=len) or [library.name(repository, bench, repository.mainline().tip)]


def _entry(book: Path | None, module: str, consumer_branch: str) -> str | None:
    if book is None:
        return None
    short = consumer_branch.rpartition("/")[2] if "/" in consumer_branch else consumer_branch
    for kept in ledger.load(book).of(module):
        if kept.consumer_branch in {consumer_branch, short}:
            return kept.name
    return None


def _pin_checks(repository: Repository, pin: Pin) -> list[Check]:
    found = [Check("pin", Verdict.OK, f"{pin.module} {pin.required}")]
    if pin.replaced is not None:
        verdict = Verdict.FAILED if pin.local else Verdict.OK
        found.append(Check("replace", verdict, f"replaced by {pin.replaced}"))
    if pin.local:
        return found
    if pin.commit is None:
        verdict = Verdict.UNKNOWN if pin.version.commit or pin.fork else Verdict.FAILED
        what = f"commit {pin.version.commit}" if pin.version.commit else f"tag {pin.tag}"
        found.append(Check("commit", verdict, f"{what} is not in {repository.path}; fetch, or clone anew"))
        return found
    found.append(Check("commit", Verdict.OK, pin.commit))
    wrong = pin.wrong(repository)
    if wrong:
        found.append(Check("version", Verdict.FAILED, wrong))
    elif pin.version.commit is not None:
        found.append(Check("version", Verdict.OK, "date and base tag are the commit's"))
    return found


def _branch_check(repository: Repository, commit: str, branch: Branch | None) -> tuple[Check, tuple[Commit, ...]]:
    if branch is None:
        on = [one.shown for one in repository.branches() if repository.is_ancestor(commit, one.tip)]
        hint = f"; it is on {', '.join(on[:6])}" if on else "; it is on no branch"
        verdict = Verdict.SKIPPED if on else Verdict.FAILED
        return Check("branch", verdict, f"no branch was named, and the ledger has none{hint}"), ()
    if not repository.is_ancestor(commit, branch.tip):
        return Check("branch", Verdict.FAILED, f"{commit[:12]} is not on {branch.shown}"), ()
    behind = tuple(history.between(repository, f"{commit}..{branch.tip}"))
    lag = f"{len(behind)} commit{'s' if len(behind) != 1 else ''} behind its tip" if behind else "at its tip"
    return Check("branch", Verdict.OK, f"on {branch.shown}, {lag}"), behind


def _modules_check(text: str, pin: Pin) -> Check:
    from haulout.backports.gomod import vendored  # noqa: PLC0415

    listed = vendored(text).get(pin.module)
    if listed is None:
        return Check("modules", Verdict.FAILED, f"vendor/modules.txt does not list {pin.module}")
    version, replaced = listed
    if version != pin.required or replaced != pin.replaced:
        said = version + (f" => {replaced}" if replaced else "")
        return Check("modules", Verdict.FAILED, f"vendor/modules.txt says {said}, go.mod {pin.shown}")
    return Check("modules", Verdict.OK, f"vendor/modules.txt says {version} too")


def _vendor_check(found: Vendored | None, pin: Pin) -> Check:
    if found is None:
        why = "a local folder takes its place" if pin.local else "the pinned commit is not here"
        return Check("vendor", Verdict.UNKNOWN if not pin.local else Verdict.SKIPPED, f"not compared: {why}")
    if not found.files:
        return Check("vendor", Verdict.FAILED, f"no files in vendor/{pin.module}")
    if found.patched or found.extra:
        parts = [f"{len(found.patched)} patched in the tree"] if found.patched else []
        parts += [f"{len(found.extra)} not of the library"] if found.extra else []
        return Check("vendor", Verdict.FAILED, f"of {found.files} files, {' and '.join(parts)}")
    return Check("vendor", Verdict.OK, f"all {found.files} files are the library's at the pin")

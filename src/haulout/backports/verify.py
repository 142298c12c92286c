"""Check a consumer: what it pins of the library, and whether what it vendors is that. Offline, without Go."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from haulout.backports import history
from haulout.backports.git import Git, decode, environment
from haulout.backports.gomod import vendored
from haulout.backports.ledger import load_ledger, path_of
from haulout.backports.naming import library_name, modules_in
from haulout.backports.pin import Pin, Vendored, compare_vendored, find_pin, gomod_at, modules_text
from haulout.backports.repository import Branch, Repository, open_repository
from haulout.documents import Document
from haulout.errors import NotFoundError, UsageError
from haulout.local import STDOUT, nameless_file, private_folder, started, wait

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.backports.model import Commit, StrPath
    from haulout.backports.objects import ScratchObjects

_SECONDS: Final = 3600.0
_TARGET: Final = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")
_LONGEST: Final = 20_000
"""Bytes of output kept, from its end."""


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check(Document):
    """One check."""

    json_members = ("check=name", "verdict", "text")

    name: str
    """``pin``, ``replace``, ``commit``, ``version``, ``branch``, ``modules``, ``vendor`` or ``make``."""
    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class VerifyResult(Document):
    """What a consumer has of the library."""

    json_members = (
        "consumer",
        "consumer_commit",
        "good",
        "module",
        "pin",
        "branch",
        "behind",
        "checks",
        "vendored",
        "output",
    )

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
        """Whether no check failed or is unknown."""
        return not any(check.verdict in {Verdict.FAILED, Verdict.UNKNOWN} for check in self.checks)


def split_consumer(text: str) -> tuple[str, str]:
    """Split ``REPO@BRANCH`` at its last @.

    Raises:
        UsageError: there is no branch.
    """
    path, at, branch = text.rpartition("@")
    if not at or not path or not branch:
        raise UsageError(f"not a consumer: {text[:200]!r}", hint="write REPO@BRANCH, for example ../cri-o@release-1.27")
    return path, branch


def verify(
    lib: StrPath,
    consumer: StrPath,
    consumer_branch: str | None = None,
    *,
    branch: str | None = None,
    ledger: StrPath | None = None,
    module: str | None = None,
    make: str | None = None,
) -> VerifyResult:
    """Check what a consumer pins and vendors of the library.

    Args:
        lib: the library's clone.
        consumer: the consumer's clone; with its branch, ``REPO@BRANCH``, where that is not given apart.
        consumer_branch: its branch, or any commit.
        branch: the library's branch for it; by default the one in the ledger.
        ledger: the ledger.
        module: the library's Go module; by default the one its go.mod declares.
        make: the target of the consumer's own check, run in a throw-away clone.

    Raises:
        NotFoundError: there is no such clone, branch or go.mod, or it does not require the library.
    """
    if consumer_branch is None:
        consumer, consumer_branch = split_consumer(os.fspath(consumer))
    repository, using = open_repository(lib), open_repository(consumer)
    commit = _consumer_commit(using, consumer_branch)
    gomod = gomod_at(using, commit, consumer_branch)
    with repository.scratch_objects(using) as objects:
        modules = [module] if module else _modules(repository, objects)
        wanted = next((one for one in modules if gomod.required(one) is not None), None)
        if wanted is None:
            raise NotFoundError(
                f"{consumer} at {consumer_branch} does not require {', '.join(modules) or 'a module of this library'}",
                hint="name the module: --module PATH",
            )
        pin = find_pin(repository, gomod, wanted)
        name = branch or _branch_in_ledger(path_of(ledger), wanted, consumer_branch)
        own = repository.branch(name) if name else None
        checks = [*_pin_checks(repository, pin)]
        behind: tuple[Commit, ...] = ()
        if pin.commit is not None:
            check, behind = _branch_check(repository, pin.commit, own)
            checks.append(check)
        tree = objects.commit(commit).tree
        found = None
        text = modules_text(objects, tree)
        if text is None:
            checks.append(Check("vendor", Verdict.SKIPPED, "nothing is vendored"))
        else:
            checks.append(_modules_check(text, pin))
            found = compare_vendored(objects, tree, pin) if pin.commit is not None else None
            checks.append(_vendor_check(found, pin))
    output = ""
    if make is not None:
        code, output = _run_make(using, commit, make)
        verdict = Verdict.FAILED if code else Verdict.OK
        checks.append(Check("make", verdict, f"make {make} " + (f"failed with {code}" if code else "succeeded")))
    shown = own.shown if own else None
    return VerifyResult(
        f"{consumer}@{consumer_branch}", commit, wanted, pin, shown, tuple(checks), behind, found, output
    )


def _consumer_commit(using: Repository, name: str) -> str:
    try:
        return using.branch(name).tip
    except NotFoundError:
        return using.resolve(name)


def _modules(repository: Repository, objects: ScratchObjects) -> list[str]:
    """Return the modules of the library's main branch: the one at its top, and those in folders."""
    tip = repository.mainline().tip
    found = [declared for _, declared in modules_in(objects, objects.commit(tip).tree)]
    # Where a partial clone holds no go.mod of the branch, the one that is checked out may do.
    return sorted(found, key=len) or [library_name(repository, objects, tip)]


def _branch_in_ledger(ledger: Path | None, module: str, consumer_branch: str) -> str | None:
    if ledger is None:
        return None
    short = consumer_branch.rpartition("/")[2] if "/" in consumer_branch else consumer_branch
    for entry in load_ledger(ledger).of(module):
        if entry.consumer_branch in {consumer_branch, short}:
            return entry.name
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
        found.append(Check("commit", verdict, f"{what} is not in {repository.path}: fetch, or clone again"))
        return found
    found.append(Check("commit", Verdict.OK, pin.commit))
    wrong = pin.mismatch(repository)
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
        return Check("branch", verdict, f"no branch was given, and the ledger has none{hint}"), ()
    if not repository.is_ancestor(commit, branch.tip):
        return Check("branch", Verdict.FAILED, f"{commit[:12]} is not on {branch.shown}"), ()
    behind = tuple(history.between(repository, f"{commit}..{branch.tip}"))
    lag = f"{len(behind)} commit{'s' if len(behind) != 1 else ''} behind its tip" if behind else "at its tip"
    return Check("branch", Verdict.OK, f"on {branch.shown}, {lag}"), behind


def _modules_check(text: str, pin: Pin) -> Check:
    listed = vendored(text).get(pin.module)
    if listed is None:
        return Check("modules", Verdict.FAILED, f"vendor/modules.txt does not list {pin.module}")
    version, replaced = listed
    if version != pin.required or replaced != pin.replaced:
        other = version + (f" => {replaced}" if replaced else "")
        return Check("modules", Verdict.FAILED, f"vendor/modules.txt has {other}, go.mod has {pin.shown}")
    return Check("modules", Verdict.OK, f"vendor/modules.txt has {version} too")


def _vendor_check(found: Vendored | None, pin: Pin) -> Check:
    if found is None:
        why = "a local folder replaces it" if pin.local else "the pinned commit is not in this clone"
        return Check("vendor", Verdict.UNKNOWN if not pin.local else Verdict.SKIPPED, f"not compared: {why}")
    if not found.files:
        return Check("vendor", Verdict.FAILED, f"no files in vendor/{pin.module}")
    if found.patched or found.extra:
        parts = [f"{len(found.patched)} patched in the tree"] if found.patched else []
        parts += [f"{len(found.extra)} not from the library"] if found.extra else []
        return Check("vendor", Verdict.FAILED, f"of {found.files} files, {' and '.join(parts)}")
    return Check("vendor", Verdict.OK, f"all {found.files} files are the library's at the pin")


def _run_make(consumer: Repository, commit: str, target: str) -> tuple[int, str]:
    """Run ``make TARGET`` at a commit, in a throw-away clone; return its exit code and the end of what it printed.

    This runs the consumer's code, so it happens only where a person asks for it. The clone borrows the objects:
    nothing of the consumer's own is changed.

    Raises:
        UsageError: that cannot be a target.
        ToolError: make is not installed, or does not end.
    """
    if not _TARGET.fullmatch(target):
        raise UsageError(f"not a make target: {target[:80]!r}")
    with private_folder("haulout-check-") as made, nameless_file() as output:
        place = made / "consumer"
        git = Git(made, environment(os.environ) | {"GIT_ALLOW_PROTOCOL": "file"})
        git.run("clone", "--quiet", "--shared", "--no-checkout", "--", str(consumer.common), str(place))
        Git(place, git.variables).run("checkout", "--quiet", "--detach", commit)
        variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        hint = "install it: the package is called make"
        with started(
            ["make", target], folder=place, environment=variables, stdout=output, stderr=STDOUT, hint=hint
        ) as process:
            code = wait(process, seconds=_SECONDS)
        output.seek(max(0, output.seek(0, os.SEEK_END) - _LONGEST))
        return code, decode(output.read())
